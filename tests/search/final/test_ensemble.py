"""The ensemble from out-of-fold scores to predictions of other patches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from torch import nn

from data_utils.readers.patches import read_patches
from models._errors import ModelError
from search.errors import UsageError
from search.final import members
from search.final.ensemble import (
    above_limit,
    assemble,
    ensemble_logit,
    mean_logit,
    taken_by,
    why_no_ensemble,
    within_time,
)
from search.final.members import member_logits
from search.final.plan import ABOVE_LIMIT, decides_the_same
from search.final.race import Rows
from search.final.retraining import Retrained
from search.final.scored import ensemble_out_of_fold
from search.final.stored_ensemble import (
    ENSEMBLE_FILE,
    StoredEnsemble,
    StoredPart,
    ensemble_logits,
    ensemble_problems,
    load_ensemble,
)
from search.training.device import Compute
from search.training.device_patches import DevicePatches
from studies.errors import RecordError
from studies.final_models import CandidateResult, Ensemble, FinalModel, Fit, Part
from studies.records import AnalysisPlan, from_json, to_json
from studies.speeds import Layers, NetworkSpeed, Speeds
from studies.statistics.metrics import auc
from tests.search.final.test_members import stored

LABELS = np.tile([0, 1, 0, 0, 1], 60)
ROWS = Rows(LABELS, np.repeat(np.arange(60), 5).astype(str), np.repeat(np.arange(60) % 5, 5))


def retrained(model: str, logits: dict[str, np.ndarray], temperature: float) -> Retrained:
    fit = Fit(temperature, 0.4, None, None, "")
    found = tuple(
        CandidateResult(label, place, {}, 0.9, 2, (), auc(LABELS, each), 0.8, fit)
        for place, (label, each) in enumerate(logits.items())
    )
    chosen = max(found, key=lambda one: one.out_of_fold_auc).label
    return Retrained(FinalModel(model, found, chosen, temperature, 0.4, "", "random"), logits)


@pytest.fixture(scope="module")
def models() -> list[Retrained]:
    """Of two models, the second on ten times the scale; what the first one confuses, the other does not."""
    rng = np.random.default_rng(0)

    def scores(skill: float) -> np.ndarray:
        return skill * (2 * LABELS - 1) + rng.normal(0, 1.5, len(LABELS))

    cnn = retrained("cnn", {"best": scores(1.0), "default": scores(0.2)}, 1.1)
    return [cnn, retrained("vgg16", {"default": 10 * scores(1.1)}, 11.0)]


def speeds_of(**milliseconds: float) -> Speeds:
    networks = tuple(
        NetworkSpeed(*name.split("_"), "key", Layers(1, 1, each), Layers(0, 0, 0.0), "")
        for name, each in milliseconds.items()
    )
    return Speeds("here", 256, "fp32", networks)


def test_what_it_takes_is_bounded_in_all_members_and_views(models: list[Retrained]) -> None:
    speeds = speeds_of(cnn_best=0.1, cnn_default=0.1, vgg16_default=1.0)
    assert auc(LABELS, models[1].logits["default"]) > auc(LABELS, models[0].logits["best"])
    for most, parts, single in (  # 5 members, 8 views
        *((44.0, {"cnn", "vgg16"}, "vgg16"), (40.0, {"vgg16"}, "vgg16")),
        *((39.9, {"cnn"}, "cnn"), (8.0, {"cnn"}, "cnn")),
    ):
        within = within_time(speeds, 5, most)
        assert within(["cnn best", "vgg16 default"]) == (most >= 44)
        found = assemble(models, ROWS, within)
        assert found is not None
        assert {part.model for part in found.parts} == parts
        assert (found.single, found.alone_within) == (single, False)
        assert above_limit(models, found, taken_by(speeds, 5), most) == ""
        assert within([f"{part.model} {part.label}" for part in found.parts])
        assert all("vgg16" not in each for each in found.gain.chosen) or most >= 40
    assert assemble(models, ROWS, within_time(speeds, 5, 3.9)) is None


def test_what_is_final_is_within_the_limit_where_anything_is(models: list[Retrained]) -> None:
    of_chosen = assemble(models, ROWS, within_time(speeds_of(cnn_best=0.1, cnn_default=1, vgg16_default=1), 5, 5))
    assert of_chosen is not None
    assert [(part.model, part.label) for part in of_chosen.parts] == [("cnn", "best")]
    assert (of_chosen.single, of_chosen.gain.value, of_chosen.chosen) == ("cnn", 0, False)
    speeds = speeds_of(cnn_best=1, cnn_default=0.1, vgg16_default=1)
    of_other = assemble(models, ROWS, within_time(speeds, 5, 5))
    assert of_other is not None
    assert [(part.model, part.label) for part in of_other.parts] == [("cnn", "default")]
    assert of_other.gain.value < 0
    assert (of_other.single, of_other.alone_within, of_other.chosen) == ("vgg16", True, True)
    assert above_limit(models, of_other, taken_by(speeds, 5), 5) == ""
    assert from_json(Ensemble, to_json(of_other), "here") == of_other


def test_it_is_said_why_there_is_none_and_that_the_final_model_is_above_the_limit(models: list[Retrained]) -> None:
    taken = taken_by(speeds_of(cnn_best=0.1, cnn_default=0.09, vgg16_default=1.25), 5)
    assert (
        why_no_ensemble(models, ROWS, taken, 3) == "nothing is within 3 ms a patch: the fastest, cnn default, takes 3.6"
    )
    assert (
        why_no_ensemble(models, ROWS, taken, 4) == "the plan was frozen without one, elsewhere or by an earlier version"
    )
    assert why_no_ensemble(models, ROWS, taken_by(speeds_of(), 5), None) == why_no_ensemble(models, ROWS, taken, 4)
    assert why_no_ensemble(models[1:], ROWS, taken, None) == "there is nothing to choose from"
    two = replace(ROWS, fold=ROWS.fold % 2)
    assert why_no_ensemble(models, two, taken, 3) == "there are 2 folds, and one is chosen by 3 or more"
    above = "takes 50 ms a patch here, 47 more than the 3 of --max-ms-per-patch"
    assert above_limit(models, None, taken, 3) == f"the final model, vgg16 default, {above}"
    frozen = assemble(models, ROWS)
    assert frozen is not None
    assert above_limit(models, frozen, taken, 3).startswith("the final model, vgg16 default with cnn best, takes 5")
    assert above_limit(models, None, taken, 50) == ""
    plan = AnalysisPlan("idc", "f", "l", tuple(one.final for one in models), (), "p", ("p",), 100, 0, {})
    assert decides_the_same(plan, replace(plan, settings={ABOVE_LIMIT: above}))


def test_what_was_not_measured_takes_no_part(models: list[Retrained]) -> None:
    within = within_time(speeds_of(cnn_best=0.1, vgg16_default=1.0), 5, 100)
    assert within(["cnn best"])
    with pytest.raises(LookupError, match="not measured: cnn default"):
        assemble(models, ROWS, within)


def test_it_averages_unlike_models_on_one_scale_and_has_a_fit_of_its_own(models: list[Retrained]) -> None:
    found = assemble(models, ROWS)
    assert found is not None
    assert {(part.model, part.label) for part in found.parts} >= {("cnn", "best"), ("vgg16", "default")}
    assert {part.temperature for part in found.parts if part.model == "vgg16"} == {11.0}
    assert (found.single, found.chosen) == ("vgg16", True)
    assert found.gain.low is not None
    assert found.gain.low > 0
    logits = {(one.final.model, label): each for one in models for label, each in one.logits.items()}
    mean = mean_logit(found.parts, logits)
    assert auc(LABELS, mean) > max(auc(LABELS, each) for each in logits.values())
    called = expit(mean / found.fit.temperature) >= found.fit.threshold
    assert 0.3 < called.mean() < 0.5
    entries = {one.final.entry(label): each for one in models for label, each in one.logits.items()}
    np.testing.assert_array_equal(ensemble_logit(found, [one.final for one in models], entries), mean)


def test_its_scores_out_of_fold_are_kept_as_those_of_a_model(models: list[Retrained]) -> None:
    found = assemble(models, ROWS)
    assert found is not None
    patches = read_patches("synthetic:300")
    kept = ensemble_out_of_fold(patches, models, found)
    by_part = {(one.final.model, label): each for one in models for label, each in one.logits.items()}
    summed = sum(one.times * by_part[one.model, one.label] / one.temperature for one in found.parts)
    mean = summed / sum(one.times for one in found.parts)
    np.testing.assert_allclose(kept.probabilities["ensemble"], expit(mean / found.fit.temperature))
    assert kept.thresholds == {"ensemble": found.fit.threshold}
    assert kept.names.tolist() == patches.names.tolist()


def test_there_is_none_of_one_configuration_or_of_two_folds(models: list[Retrained]) -> None:
    assert assemble(models[1:], ROWS) is None
    assert assemble(models, replace(ROWS, fold=ROWS.fold % 2)) is None


def test_plans_with_and_without_one_are_read_back(models: list[Retrained]) -> None:
    plan = AnalysisPlan("idc", "f", "l", tuple(one.final for one in models), (), "p", ("p",), 100, 0, {})
    with_one = replace(plan, ensemble=assemble(models, ROWS))
    for one in (plan, with_one):
        assert from_json(AnalysisPlan, to_json(one), "here") == one
    before = to_json(plan).replace('"ensemble":null,', "")
    assert from_json(AnalysisPlan, before, "here") == plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An ensemble of the same three networks twice, under other temperatures."""
    (tmp_path / "vgg16").mkdir()
    one = stored(tmp_path / "vgg16", same=True)
    parts = (StoredPart(3, one), StoredPart(1, replace(one, members=one.members[:1], temperature=2.0)))
    (tmp_path / ENSEMBLE_FILE).write_text(to_json(StoredEnsemble("s", parts, 1.5, 0.4, "p")))
    return tmp_path


def test_it_predicts_by_the_weighted_mean_of_its_parts(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 50, 50, 3), dtype=np.uint8)
    ensemble = load_ensemble(folder)
    assert ensemble is not None
    told: list[tuple[int, int]] = []
    found = ensemble_logits(ensemble, folder, pixels, "cpu", lambda *done: told.append(done))
    assert found.shape == (3, 4)
    assert told[-1] == (4, 4)
    assert told == sorted(told)
    each = {
        (k, "best"): member_logits(part.stored, folder / "vgg16", pixels, "cpu", lambda *_: None).mean(axis=1)
        for k, part in enumerate(ensemble.parts)
    }
    parts = [Part(k, "best", part.times, part.stored.temperature) for k, part in enumerate(ensemble.parts)]  # type: ignore[arg-type]
    np.testing.assert_allclose(found.mean(axis=1), mean_logit(parts, each), rtol=1e-6)  # type: ignore[arg-type]


def test_the_same_frozen_layers_see_a_patch_once_wherever_their_parts_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fronts: list[object] = []

    class Counted(members.PrefixOutputs):
        def __init__(self, prefix: nn.Module, patches: DevicePatches, compute: Compute) -> None:
            fronts.append(prefix)
            super().__init__(prefix, patches, compute)

    monkeypatch.setattr(members, "PrefixOutputs", Counted)
    (folder / "vgg16" / "other").mkdir()
    other = stored(folder / "vgg16" / "other", same=True, frozen=4)
    moved = tuple((f"other/{file}", sha256) for file, sha256 in other.members)
    ensemble = load_ensemble(folder)
    assert ensemble is not None
    first, last = ensemble.parts
    apart = replace(ensemble, parts=(first, StoredPart(2, replace(other, members=moved)), last))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 50, 50, 3), dtype=np.uint8)
    found = ensemble_logits(apart, folder, pixels, "cpu", lambda *_: None)
    assert len(fronts) == 2
    alone = ensemble_logits(ensemble, folder, pixels, "cpu", lambda *_: None)
    np.testing.assert_array_equal(found[:, [0, 1, 2, 5]], alone)


def test_a_member_that_was_changed_is_named_once_for_each_part(folder: Path) -> None:
    assert ensemble_problems(folder) == []
    assert ensemble_problems(folder / "vgg16") == [], "there is none"
    with (folder / "vgg16" / "member_0.safetensors").open("ab") as file:
        file.write(b"!")
    first, second = ensemble_problems(folder)
    assert first == second
    assert "member_0.safetensors was changed or trained again" in first


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"temperature":1.5', '"temperature":0.0', "temperature is missing or out of range"),
        ('"times":3', '"times":0', "times is missing or out of range"),
        ('"threshold":0.4', '"threshold":1.4', "threshold is missing or out of range"),
        ('"model":"vgg16"', '"model":"../vgg16"', "model is missing or out of range"),
        ('"model":"vgg16"', '"model":"vgg61"', "There is no model 'vgg61'"),
    ],
)
def test_one_that_no_finalize_wrote_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / ENSEMBLE_FILE
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises((UsageError, ModelError), match=message):
        load_ensemble(folder)
    path.write_text("{}")
    with pytest.raises(RecordError, match="is not a readable StoredEnsemble"):
        load_ensemble(folder)


def test_a_record_of_it_says_whether_it_is_the_final_model(models: list[Retrained]) -> None:
    found = assemble(models, ROWS)
    assert found is not None
    worse: Ensemble = replace(found, gain=replace(found.gain, value=-0.001))
    assert not worse.chosen
