"""The ensemble's control: which networks it takes, and what it says of the search."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from search.errors import UsageError
from search.final.candidates import DEFAULT, Candidate
from search.final.control import (
    chosen_in_folds,
    conclude_control,
    control_candidates,
    control_logit,
    frozen_control,
    further_candidates,
)
from search.final.ensemble import assemble, named_logits
from search.final.member_files import member_folder, member_job
from search.final.plan import digest_of, members_of
from studies.final_models import Ensemble, MemberResult
from studies.records import AnalysisPlan, from_json, to_json
from studies.statistics.ensembles import combined, on_one_scale
from studies.statistics.metrics import auc
from tests.search.final.test_ensemble import LABELS, ROWS, retrained

Floats = np.ndarray


def finalist(model: str, label: str) -> Candidate:
    return Candidate(model, label, 0, {"width": 16}, 0.9, 4, 4, f"key of {model} {label}")


WANTED = {"cnn": [finalist("cnn", "best"), finalist("cnn", DEFAULT)], "vgg16": [finalist("vgg16", DEFAULT)]}


def scores(skill: float, seed: int) -> Floats:
    return skill * (2 * LABELS - 1) + np.random.default_rng(seed).normal(0, 1.5, len(LABELS))


MODELS = [
    retrained("cnn", {"best": scores(1.2, 0), DEFAULT: scores(0.3, 1)}, 1.1),
    retrained("vgg16", {DEFAULT: 10 * scores(1.1, 2)}, 11.0),
]
CHOSEN = chosen_in_folds(MODELS, ROWS)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    found = assemble(MODELS, ROWS)
    assert found is not None
    return found


def every_candidate(ensemble: Ensemble) -> list[Candidate]:
    return [*control_candidates(ensemble, WANTED), *further_candidates(ensemble, CHOSEN, WANTED)]


def store(folder: Path, candidate: Candidate, logits: Floats) -> None:
    """Members that say just this, each of its own patients."""
    place = member_folder(folder, candidate)
    place.mkdir(parents=True)
    for fold in range(ROWS.folds):
        rows = np.flatnonzero(ROWS.fold == fold)
        np.savez(place / f"member_{fold}.npz", rows=rows, logits=np.repeat(logits[rows, None], 8, axis=1))
        (place / f"member_{fold}.safetensors").write_bytes(b"")
        (place / f"member_{fold}.json").write_text(
            to_json(MemberResult(fold, fold, 4, 60.0, 0.9, f"{candidate.label}{fold}"))
        )


def test_it_takes_the_default_configuration_for_each_part_with_seeds_of_its_own(ensemble: Ensemble) -> None:
    found = control_candidates(ensemble, WANTED)
    assert [one.model for one in found] == [part.model for part in ensemble.parts]
    assert [one.label for one in found] == [f"control-{k + 1}" for k in range(len(found))]
    jobs = [
        member_job(one, 0, folds=5, folder=Path(), lock_digest="a" * 64)
        for one in (*found, *(each for each in WANTED["cnn"] + WANTED["vgg16"] if each.label == DEFAULT))
    ]
    assert len({job.seed for job in jobs}) == len({job.out for job in jobs}) == len(jobs)
    assert found == control_candidates(ensemble, WANTED), "the same ones when a finalization is taken up"
    with pytest.raises(UsageError, match="--control: the default configuration of cnn has no trial with a value"):
        control_candidates(ensemble, {**WANTED, "cnn": WANTED["cnn"][:1]})


def test_a_fold_whose_ensemble_averages_more_or_other_models_has_as_many_defaults_of_these(
    ensemble: Ensemble, tmp_path: Path
) -> None:
    of_cnn = replace(ensemble, parts=ensemble.parts[:1])
    assert of_cnn.parts[0].model == "cnn"
    chosen = [
        {"cnn best": 1},
        {"cnn best": 2, "vgg16 default": 2, "cnn default": 1},
        {"vgg16 default": 3},
        {"cnn default": 1, "cnn best": 1},
        {"cnn best": 4, "vgg16 default": 1},
    ]
    candidates = control_candidates(of_cnn, WANTED)
    further = further_candidates(of_cnn, chosen, WANTED)
    assert [(one.model, one.label) for one in further] == [("cnn", "control-2"), ("vgg16", "control-3")]
    candidates += further
    said = {one.label: scores(0.4, 20 + k) for k, one in enumerate(candidates)}
    for one in candidates:
        store(tmp_path, one, said[one.label])
    found = conclude_control(of_cnn, candidates, chosen, tmp_path, rows=ROWS, retrained=MODELS)
    assert [(part.model, part.times) for part in found.trained] == [("cnn", 1), ("cnn", 0), ("vgg16", 0)]
    averaged = [
        {"control-1": 1},
        {"control-1": 2, "control-3": 2, "control-2": 1},
        {"control-3": 3},
        {"control-1": 1, "control-2": 1},
        {"control-1": 4, "control-3": 1},
    ]
    assert found.averaged == (
        "1 x cnn control-1",
        "2 x cnn control-1, 2 x vgg16 control-3, 1 x cnn control-2",
        "3 x vgg16 control-3",
        "1 x cnn control-1, 1 x cnn control-2",
        "4 x cnn control-1, 1 x vgg16 control-3",
    )
    logits = named_logits(MODELS)
    gaps = []
    for fold, (ours, theirs) in enumerate(zip(chosen, averaged, strict=True)):
        inside, outside = fold == ROWS.fold, fold != ROWS.fold
        means = (
            combined(on_one_scale(LABELS, each, outside), counts)[inside]
            for each, counts in ((logits, ours), (said, theirs))
        )
        one, other = (roc_auc_score(LABELS[inside], mean) for mean in means)
        gaps.append(one - other)
    assert found.gain.value == pytest.approx(np.mean(gaps), abs=1e-12)


@pytest.mark.parametrize(("skill", "paid"), [(0.3, True), (1.6, False)])
def test_the_search_has_paid_where_the_ensemble_is_better_than_it(
    ensemble: Ensemble, tmp_path: Path, skill: float, paid: bool
) -> None:
    candidates = every_candidate(ensemble)
    said = {
        one.label: (3.0 if one.model == "vgg16" else 1.0) * scores(skill, 7 + k) for k, one in enumerate(candidates)
    }
    for one in candidates:
        store(tmp_path, one, said[one.label])
    found = conclude_control(ensemble, candidates, CHOSEN, tmp_path, rows=ROWS, retrained=MODELS)
    assert found.gain.low is not None
    assert found.gain.high is not None
    assert (found.gain.low > 0) if paid else (found.gain.high < 0)
    assert found.gain.patients == 60
    assert [(part.model, part.times) for part in found.parts] == [(part.model, part.times) for part in ensemble.parts]
    mean = control_logit(found.parts, said)
    by_hand = np.average(
        [said[part.retrained.label] / part.temperature for part in found.parts],
        axis=0,
        weights=[part.times for part in found.parts],
    )
    np.testing.assert_allclose(mean, by_hand)
    assert auc(LABELS, mean) > max(auc(LABELS, each) for each in said.values())
    whole = replace(ensemble, control=found)
    assert frozen_control(whole, found.parts)
    assert not frozen_control(ensemble, found.parts)


def test_a_plan_with_one_is_read_back_and_knows_its_members_but_not_their_seconds(
    ensemble: Ensemble, tmp_path: Path
) -> None:
    candidates = every_candidate(ensemble)
    for k, one in enumerate(candidates):
        store(tmp_path, one, scores(0.5, k))
    control = conclude_control(ensemble, candidates, CHOSEN, tmp_path, rows=ROWS, retrained=MODELS)
    models = tuple(one.final for one in MODELS)
    plan = AnalysisPlan(
        "idc", "f", "l", models, (), "p", ("p",), 100, 0, {}, ensemble=replace(ensemble, control=control)
    )
    assert from_json(AnalysisPlan, to_json(plan), "here") == plan
    assert len(members_of(plan)) == 5 * len(candidates)
    text = to_json(plan)
    assert '"seconds":60.0' in text
    slower = from_json(AnalysisPlan, text.replace('"seconds":60.0', '"seconds":90.0'), "here")
    assert digest_of(slower) == digest_of(plan)
    other = from_json(AnalysisPlan, text.replace('"sha256":"control-10"', '"sha256":"other"'), "here")
    assert digest_of(other) != digest_of(plan)
