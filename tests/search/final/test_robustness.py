"""Scores under small changes: each patch by the member that did not learn from its patient, kept and read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from final_models import stored

from data_utils.quality.disturbances import DISTURBANCES
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import PatchSet
from search.final.members import StoredModel, one_view, place_members
from search.final.robustness import MOST, keep_robustness, spread_over_patients
from studies.errors import RecordError
from studies.findings.robustness import ROBUSTNESS_FILE, find_robustness, load_disturbed
from tests.studies import made_up


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredModel, Path]:
    folder = tmp_path_factory.mktemp("model")
    return stored(folder, "cnn", {"width": 16, "depth": 1}), folder


@pytest.fixture(scope="module")
def development() -> PatchSet:
    return read_patches("synthetic:60")


def shas(model: StoredModel) -> list[str]:
    return [sha256 for _, sha256 in model.members]


def test_each_patch_is_scored_by_the_member_of_its_fold_under_every_change(
    model: tuple[StoredModel, Path], development: PatchSet
) -> None:
    final, folder = model
    fold = (np.arange(len(development)) % 2).astype(np.int64)
    keep_robustness(final, folder, development, fold, "cpu")
    found = load_disturbed(shas(final), folder)
    assert found is not None
    assert found.changes == tuple(DISTURBANCES)
    assert development.patients is not None
    rows = spread_over_patients(development.patients)
    pixels = np.array(development.pixels[rows])
    networks = place_members(final, folder, "cpu")
    for number, network in enumerate(networks):
        own = fold[rows] == number
        assert found.logits[0][own] == pytest.approx(one_view(final, network, pixels[own], "cpu"), abs=1e-5)
        changed = DISTURBANCES["eosin + 20 %"](pixels)[own]
        place = 1 + found.changes.index("eosin + 20 %")
        assert found.logits[place][own] == pytest.approx(one_view(final, network, changed, "cpu"), abs=1e-5)
    assert found.seconds > 0
    before = (folder / ROBUSTNESS_FILE).stat().st_mtime_ns
    keep_robustness(final, folder, development, fold, "cpu")
    assert (folder / ROBUSTNESS_FILE).stat().st_mtime_ns == before, "it is made once"
    assert load_disturbed(["another"], folder) is None
    (folder / ROBUSTNESS_FILE).write_bytes(b"no archive")
    with pytest.raises(RecordError, match=r"robustness\.npz cannot be read"):
        load_disturbed(shas(final), folder)


def test_patients_give_as_equally_many_patches_as_they_can() -> None:
    patients = np.array(["a"] * 500 + ["b"] * 30 + ["c"] * 90)
    rows = spread_over_patients(patients)
    assert len(rows) == len(set(rows.tolist())) == MOST
    counts = dict(zip(*np.unique(patients[rows], return_counts=True), strict=True))
    assert counts == {"a": 35, "b": 30, "c": 35}


def test_what_a_change_does_is_told_in_auc_and_in_calls_that_flip(tmp_path: Path) -> None:
    data = made_up.report_data(tmp_path, trials=4, patients=24, draws=100)
    found = find_robustness(data)["cnn"]
    disturbed = data.disturbed["cnn"]
    calls = 1 / (1 + np.exp(-disturbed.logits / 1.2)) >= 0.33
    for number, one in enumerate(found.moved, start=1):
        assert one.flipped.value == pytest.approx(np.mean(calls[0] != calls[number]))
    light, heavy = found.moved
    assert heavy.auc.high is not None
    assert heavy.auc.high < 0
    assert light.auc.low is not None
    assert light.auc.high is not None
    assert light.auc.low < 0.01
    assert light.auc.high > -0.01
    assert find_robustness(replace(data, disturbed={})) == {}
