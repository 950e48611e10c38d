"""Near copies of a patch in two patients are counted before the lock, and left out where that is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_utils.readers.patches import read_patches
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, prepare

PAIRS = 24
COMMON: dict[str, Any] = {"name": "near", "fractions": (60, 20, 20), "seed": 0, "lists": None}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up patches, 24 of which lie once more in another patient: turned, and one level off in a corner."""
    folder = tmp_path_factory.mktemp("near")
    made = read_patches("synthetic:300")
    rows = np.arange(PAIRS)
    copies = np.rot90(made.pixels[rows], axes=(1, 2)).copy()
    copies[:, 0, 0, 0] ^= 1
    assert made.labels is not None
    assert made.patients is not None
    everybody = np.unique(made.patients)
    others = [everybody[(np.flatnonzero(everybody == made.patients[row])[0] + 7) % len(everybody)] for row in rows]
    np.save(folder / "X.npy", np.concatenate([made.pixels, copies]))
    np.save(folder / "Y.npy", np.concatenate([made.labels, made.labels[rows]]))
    np.save(folder / "patients.npy", np.concatenate([made.patients, others]))
    return folder


def prepared(planted: Path, tmp_path: Path, exclude: tuple[str, ...] = ()) -> Prepared:
    return prepare(str(planted), tmp_path / "data", lock=None, exclude=exclude, **COMMON)


def test_pairs_in_two_patients_and_across_the_seal_are_counted(planted: Path, tmp_path: Path) -> None:
    found = prepared(planted, tmp_path)
    read = read_patches(str(planted))
    assert read.patients is not None
    test = [found.lock.assignment[patient] == "test" for patient in read.patients.tolist()]
    straddling = [row for row in range(PAIRS) if test[row] != test[300 + row]]
    assert straddling, "else nothing is tried"
    assert found.lock.near == (PAIRS, len(straddling))
    assert f"near copies: {PAIRS} pairs of patches are nearly equal" in found.notes[-1]
    assert f"{len(straddling)} test patches have such a copy in development" in found.notes[-1]
    assert SplitLock.from_json(found.lock.to_json(), "lock.json") == found.lock


def test_none_is_left_where_the_rule_is_on(planted: Path, tmp_path: Path) -> None:
    found = prepared(planted, tmp_path, exclude=("near_duplicate",))
    assert found.lock.near == (0, 0)
    assert found.notes == ()
    assert ("near duplicate", PAIRS) in found.exclusions


def test_patches_of_unknown_patients_keep_their_copies_beside_them(planted: Path, tmp_path: Path) -> None:
    for name in ("X", "Y"):
        np.save(tmp_path / f"{name}.npy", np.load(planted / f"{name}.npy"))
    assert prepared(tmp_path, tmp_path).lock.near is None


def test_shares_that_whole_patients_do_not_give_are_told(tmp_path: Path) -> None:
    asked = {**COMMON, "fractions": (98, 1, 1)}
    found = prepare("synthetic:60", tmp_path / "data", lock=None, exclude=(), **asked)
    assert found.notes == ("split: 98/1/1 % was asked for, 83/8/8 % is there, as 12 patients are 10/1/1",)
    again = prepare("synthetic:60", tmp_path / "data", lock=found.lock, exclude=(), **asked)
    assert again.notes == found.notes
    assert prepare("synthetic:300", tmp_path / "other", lock=None, exclude=(), **COMMON).notes == ()
