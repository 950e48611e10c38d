"""A final model on patches that come piece by piece, and when it leaves one open."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from final_models import stored

from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import PatchSet
from search.applied.abstaining import Abstaining
from search.applied.scorer import Scorer
from search.comparison import OUT_OF_FOLD
from search.errors import UsageError
from search.final.likeness import keep_likeness, load_likeness, save_likeness
from search.final.members import StoredModel
from search.final.scored import scored
from search.final.stored_ensemble import StoredEnsemble, StoredPart
from studies.errors import RecordError
from studies.findings.predictions import save_predictions

PATCHES = read_patches("synthetic:130:2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredModel, Path]:
    """A final model, and its scores out of fold: sure of most patches, and mostly right."""
    folder = tmp_path_factory.mktemp("scorer")
    assert PATCHES.labels is not None
    logits = (2 * PATCHES.labels - 1) * 1.5 + np.random.default_rng(0).normal(0, 1.5, len(PATCHES))
    found = scored(PATCHES, {"cnn": logits}, temperatures={}, thresholds={"cnn": 0.5}, members={})
    save_predictions(found, folder / OUT_OF_FOLD)
    return stored(folder, "cnn", {"depth": 1, "width": 16}), folder


def test_pieces_make_no_difference(model: tuple[StoredModel, Path]) -> None:
    at_once, piece_by_piece = Scorer(*model, "cpu"), Scorer(*model, "cpu")
    whole = at_once.columns(PATCHES)
    parts = [piece_by_piece.columns(PATCHES.take(np.arange(first, min(first + 64, 130)))) for first in (0, 64, 128)]
    assert {name: [cell for part in parts for cell in part[name]] for name in whole} == whole
    assert list(at_once.told()) == list(piece_by_piece.told())
    assert len({*whole["probability"]}) == 130


def test_swapped_channels_are_named(model: tuple[StoredModel, Path], tmp_path: Path) -> None:
    assert PATCHES.patients is not None
    network, folder = model
    weights = tmp_path / "model"
    shutil.copytree(folder, weights)
    fold = np.unique(PATCHES.patients, return_inverse=True)[1] % 2
    keep_likeness(network, weights, PATCHES, fold, "cpu")

    def told(patches: PatchSet) -> list[str]:
        scorer = Scorer(network, weights, "cpu")
        for first in (0, 64):
            scorer.columns(patches.take(np.arange(first, min(first + 64, len(patches)))))
        return list(scorer.told())

    patches, patients = told(PATCHES)
    assert patches.endswith("(1% each is usual)")
    assert patients.startswith("0 of 26 patients, each taken as a whole, are unlike the development patients (up to 3%")
    swapped = replace(PATCHES, pixels=np.ascontiguousarray(PATCHES.pixels[..., ::-1]))
    patches, patients = told(swapped)
    assert patches.endswith("; 100% are as blue as if red and blue were swapped: see that they are read as RGB")
    assert patients.startswith("26 of 26 patients, each taken as a whole, are unlike the development patients, ")
    assert "colour 100.0%" in patients
    _, together = told(replace(swapped, patients=None))
    assert together.startswith("taken together they are unlike the development patients: by colour")
    assert len(told(replace(PATCHES, patients=None))) == 1
    some = replace(swapped, patients=np.where(np.arange(len(PATCHES)) % 2, "", PATCHES.patients))
    count = len(np.unique(PATCHES.patients[::2]))
    assert told(some)[1].startswith(f"{count} of {count} patients, ")  # patches of nobody are no patient
    assert told(some)[1].endswith(f"; {len(PATCHES) // 2 - 1} patches are of nobody)")
    few = replace(PATCHES, pixels=np.concatenate([swapped.pixels[:20], PATCHES.pixels[20:]]))
    assert "as blue as if" in told(few)[0]  # one patient in six is enough


def test_a_model_of_a_version_that_judged_no_wholes_says_so(model: tuple[StoredModel, Path], tmp_path: Path) -> None:
    network, folder = model
    weights = tmp_path / "model"
    shutil.copytree(folder, weights)
    keep_likeness(network, weights, PATCHES, np.arange(len(PATCHES)) % 2, "cpu")
    found = load_likeness(network, weights)
    assert found is not None
    save_likeness(replace(found, low=found.low[:5], high=found.high[:5], wholes=None), weights)
    scorer = Scorer(network, weights, "cpu")
    scorer.columns(PATCHES)
    assert list(scorer.told())[1].startswith("patients are not judged as wholes: this ")


def test_patches_are_left_open_as_the_promise_takes_it(model: tuple[StoredModel, Path]) -> None:
    said, left_open = [], []
    for rate in (0.05, 0.1, 0.45):
        scorer = Scorer(*model, "cpu", Abstaining.at(rate, *model))
        found = scorer.columns(PATCHES)
        for probability, one, call in zip(found["probability"], found["set"], found["predicted"], strict=True):
            assert call == (None if one == "0 1" else int(str(one)))
            assert one != ("0" if float(str(probability)) > 0.5 else "1")
        left_open.append(found["predicted"].count(None))
        said.append(list(scorer.told())[-1])
    assert left_open == sorted(left_open, reverse=True)
    assert 0 < left_open[1] < left_open[0] < len(PATCHES)
    assert left_open[2] == 0
    assert f"--abstain 0.1: {left_open[1]} of 130 patches are left open" in said[1]
    assert "of at least 0.9 (" in said[1]


def test_an_ensemble_leaves_patches_open_by_its_own_scores(model: tuple[StoredModel, Path], tmp_path: Path) -> None:
    stored_model, folder = model
    ensemble = StoredEnsemble("s", (StoredPart(2, stored_model),), 0.5, 0.3, "p")
    with pytest.raises(
        UsageError, match=r"no scores of its ensemble out of fold.*search\.finalize --study s adds them"
    ):
        Abstaining.at(0.1, ensemble, tmp_path)
    assert PATCHES.labels is not None
    assert PATCHES.patients is not None
    logits = (2 * PATCHES.labels - 1) * 2.0 + np.random.default_rng(1).normal(0, 1.5, len(PATCHES))
    found = scored(PATCHES, {"ensemble": logits}, temperatures={}, thresholds={"ensemble": 0.3}, members={})
    save_predictions(found, tmp_path / OUT_OF_FOLD)
    (tmp_path / "cnn").symlink_to(folder)
    abstaining = Abstaining.at(0.1, ensemble, tmp_path)
    wrong = np.abs(PATCHES.labels - found.probabilities["ensemble"])
    beyond = [np.mean(wrong[PATCHES.patients == one] > abstaining.error) for one in np.unique(PATCHES.patients)]
    assert (sum(beyond) + 1) / (len(beyond) + 1) <= 0.1 + 1e-9, "with the new patient, who may be wrong throughout"
    assert abstaining.error in wrong
    said = Scorer(ensemble, tmp_path, "cpu", abstaining).columns(PATCHES)
    assert {*said["set"]} <= {"0", "1", "0 1"}


def test_too_few_patients_for_a_promise_are_told(model: tuple[StoredModel, Path], tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"has 26 development patients; expected 99 of them or a rate of 0\.037 or more"
    ):
        Abstaining.at(0.01, *model)
    without = read_patches("synthetic:60")
    assert without.labels is not None
    nameless = scored(without, {"cnn": 1.0 * without.labels}, temperatures={}, thresholds={"cnn": 0.5}, members={})
    nameless.patients[:] = ""
    save_predictions(nameless, tmp_path / OUT_OF_FOLD)
    with pytest.raises(UsageError, match="does not know its development patients; expected 9 of them: leave it out"):
        Abstaining.at(0.1, model[0], tmp_path)
    with pytest.raises(RecordError, match=r"predictions\.npz cannot be read"):
        Abstaining.at(0.1, model[0], tmp_path / "none")
