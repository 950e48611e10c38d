"""The score that looks at neighbours, from out-of-fold scores to other patches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from data_utils.readers.patchset import PatchSet
from search.errors import UsageError
from search.final.ensemble import assemble
from search.final.neighbours import (
    NEIGHBOURS_FILE,
    load_neighbours,
    neighbours_logit,
    publish_neighbours,
    surround,
    why_none,
)
from search.final.race import Rows
from search.final.retraining import Retrained
from studies.final_models import CandidateResult, FinalModel, Fit, Neighbours
from studies.records import AnalysisPlan, from_json, to_json
from studies.statistics.metrics import auc

PATIENTS, SIDE = 12, 10


def slides(*, every: int = 1) -> PatchSet:
    """12 patients of 10 x 10 patches, a block of IDC in each; or every so many of them."""
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = [(abs(x - k % 7 - 1) < 3) & (abs(y - k % 5 - 2) < 3) for k in range(PATIENTS)]
    count = PATIENTS * SIDE * SIDE
    whole = PatchSet(
        pixels=np.zeros((count, 32, 32, 3), np.uint8),
        labels=np.concatenate([each.ravel() for each in inside]).astype(np.int64),
        patients=np.repeat([f"p{k}" for k in range(PATIENTS)], SIDE * SIDE),
        names=np.arange(count).astype(str),
        x=np.tile(1 + 50 * x.ravel(), PATIENTS),
        y=np.tile(1 + 50 * y.ravel(), PATIENTS),
        source="made up",
        synthetic=True,
        found=count,
        exclusions=(),
    )
    return whole.take(np.random.default_rng(0).permutation(count)[::every])


def scored(model: str, logits: np.ndarray, temperature: float, labels: np.ndarray) -> Retrained:
    fit = Fit(temperature, 0.4, None, None, "")
    one = CandidateResult("best", 0, {}, 0.9, 2, (), auc(labels, logits), 0.8, fit)
    return Retrained(FinalModel(model, (one,), "best", temperature, 0.4, "", "random"), {"best": logits})


def made(patches: PatchSet) -> tuple[Retrained, Rows]:
    """A model whose scores are right up to much noise, in four folds of whole patients."""
    labels = np.asarray(patches.labels)
    noisy = 1.2 * (2 * labels - 1) + np.random.default_rng(1).normal(0, 2, len(labels))
    place = np.char.lstrip(patches.patients, "p").astype(np.int64)
    return scored("cnn", noisy, 1.5, labels), Rows(labels, np.asarray(patches.patients), place % 4)


@pytest.fixture(scope="module")
def found() -> Neighbours:
    patches = slides()
    one, rows = made(patches)
    found = surround([one], rows, patches, None)
    assert found is not None
    return found


def test_it_gains_on_noisy_scores_of_tissue_that_hangs_together(found: Neighbours) -> None:
    patches = slides()
    one, rows = made(patches)
    alone = one.logits["best"]
    assert (found.of, found.temperature) == ("cnn", 1.5)
    assert found.around > found.own > 0
    assert found.usual == pytest.approx((64 * 8 + 32 * 5 + 4 * 3) / 100)
    assert found.step == 50
    score = neighbours_logit(found, rows.patients, patches.x, patches.y, alone)
    assert found.gain.low is not None
    assert 0 < found.gain.low < auc(rows.labels, score) - auc(rows.labels, alone)
    called = expit(score / found.fit.temperature) >= found.fit.threshold
    assert (called == rows.labels).mean() > 0.85


def test_no_patient_has_a_part_in_the_weights_that_it_is_judged_by(found: Neighbours) -> None:
    """With the labels of one fold turned round, all others are judged by the same weights as before, and no better."""
    patches = slides()
    one, rows = made(patches)
    turned = replace(rows, labels=np.where(rows.fold == 0, 1 - rows.labels, rows.labels))
    other = surround([one], turned, patches, None)
    assert other is not None
    inside = rows.fold == 0
    scores = one.logits["best"][inside]
    assert auc(turned.labels[inside], scores) < 0.5, "what is right of the others is wrong of these"
    assert other.gain.value < found.gain.value - 0.05, "the others teach to trust them, and they lose by it"


def test_it_is_made_of_the_ensemble_where_that_was_chosen(found: Neighbours) -> None:
    patches = slides()
    one, rows = made(patches)
    noise = np.random.default_rng(2).normal(0, 2, len(rows.labels))
    second = scored("vgg16", 10 * (1.2 * (2 * rows.labels - 1) + noise), 15.0, rows.labels)
    both = [one, second]
    ensemble = assemble(both, rows)
    assert ensemble is not None
    assert ensemble.chosen
    of_both = surround(both, rows, patches, ensemble)
    assert of_both is not None
    assert (of_both.of, of_both.temperature) == ("ensemble", ensemble.fit.temperature)
    lost = replace(ensemble, gain=replace(ensemble.gain, value=-0.1))
    alone = surround(both, rows, patches, lost)
    assert alone is not None
    assert alone.of == max(both, key=lambda each: auc(rows.labels, each.logits["best"])).final.model
    for within in ("cnn", "vgg16"):  # a limit leaves one of them
        of_one = surround(both, rows, patches, replace(lost, single=within))
        assert of_one is not None
        assert of_one.of == within


def test_it_is_left_out_where_few_have_neighbours_and_the_reason_is_told() -> None:
    sparse = slides(every=8)
    assert "neighbours of 8 in the mean, and at least 2 are needed" in why_none(sparse)
    one, rows = made(sparse)
    assert surround([one], rows, sparse, None) is None
    nowhere = np.full(len(sparse), -1)
    assert why_none(replace(sparse, x=nowhere, y=nowhere)) == "the place of no patch on its slide is known"
    assert "patients are unknown" in why_none(replace(sparse, patients=None))
    assert why_none(slides()) == ""


def test_a_plan_with_it_is_read_back_and_so_is_one_from_before(found: Neighbours) -> None:
    plan = AnalysisPlan("idc", "f", "l", (), (), "p", ("p",), 100, 0, {})
    with_it = replace(plan, neighbours=found)
    assert from_json(AnalysisPlan, to_json(with_it), "here") == with_it
    assert from_json(AnalysisPlan, to_json(plan).replace('"neighbours":null,', ""), "here") == plan


def test_it_lies_beside_what_it_is_made_of_and_belongs_to_that_plan_alone(found: Neighbours, tmp_path: Path) -> None:
    (tmp_path / "cnn").mkdir()
    publish_neighbours(tmp_path, "idc", "d1", found)
    assert load_neighbours(tmp_path / "cnn", "d1") == found
    with pytest.raises(UsageError, match="plan_digest is another or out of range"):
        load_neighbours(tmp_path / "cnn", "d2")
    path = tmp_path / "cnn" / NEIGHBOURS_FILE
    path.write_text(path.read_text().replace(f'"temperature":{found.temperature}', '"temperature":-1.0'))
    with pytest.raises(UsageError, match="temperature is another or out of range"):
        load_neighbours(tmp_path / "cnn", "d1")
    publish_neighbours(tmp_path, "idc", "d3", replace(found, of="ensemble"))
    assert load_neighbours(tmp_path, "d3").of == "ensemble"
    with pytest.raises(UsageError, match=f"holds no {NEIGHBOURS_FILE}"):
        load_neighbours(tmp_path / "cnn", "d3")
    publish_neighbours(tmp_path, "idc", "d4", None)
    assert not (tmp_path / NEIGHBOURS_FILE).exists()


def test_a_patch_that_lies_alone_is_scored_by_its_own_logit(found: Neighbours) -> None:
    for x in ([1], [1, 151]):  # the second of them is no neighbour
        y, logits = np.full(len(x), 51), np.full(len(x), logit(0.7) * found.temperature)
        score = neighbours_logit(found, np.full(len(x), "p"), np.array(x), y, logits)
        assert score == pytest.approx(found.intercept + (found.own + found.around) * logit(0.7))
