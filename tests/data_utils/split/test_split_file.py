"""A published split in place of a drawn one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_utils.errors import DataError, FormatError, LabelError, LockMismatchError, NotFoundError, TooFewPatientsError
from data_utils.readers.patches import PatchSet, fingerprint, read_patches
from data_utils.split.draw import folds
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, load_development, prepare
from data_utils.split.split_file import PatientLists, Unlisted, read_lists

IDS = [f"S{number:04d}" for number in range(1, 25)]  # of synthetic:120
LISTS = {"train": IDS[:12], "val": IDS[12:16], "test": IDS[16:20]}  # S0021 to S0024 are in none


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:120")


def written(path: Path, content: object) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def as_folder(folder: Path, lists: dict[str, list[str]]) -> str:
    """The form in which Janowczyk & Madabhushi published theirs."""
    folder.mkdir()
    for key, ids in lists.items():
        (folder / f"cases_{key}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return str(folder)


def prepared_in(
    folder: Path, lists: PatientLists | None, lock: SplitLock | None = None, source: str = "synthetic:120"
) -> Prepared:
    return prepare(source, folder / "cache", name="first", fractions=(70, 15, 15), seed=0, lock=lock, lists=lists)


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    one = read_lists(written(tmp_path / "lists.json", LISTS), "error")
    other = read_lists(as_folder(tmp_path / "lists", {key: ids[::-1] for key, ids in LISTS.items()}), "error")
    assert (
        one.parts
        == other.parts
        == dict(
            [*((patient, "train") for patient in IDS[:12]), *((patient, "validation") for patient in IDS[12:16])],
            **dict.fromkeys(IDS[16:20], "test"),
        )
    )
    assert one.digest == other.digest
    moved = {**LISTS, "val": IDS[12:15], "test": IDS[15:20]}
    assert read_lists(written(tmp_path / "moved.json", moved), "error").digest != one.digest


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    lists = read_lists(written(tmp_path / "l.json", {"train": [10253], "val": ["9173 "], "test": [8863]}), "error")
    assert lists.parts == {"10253": "train", "9173": "validation", "8863": "test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**LISTS, "val": IDS[11:16]}, r"1 patients are in two lists \(first: S0012, in train and validation\)"),
        ({**LISTS, "test": []}, "the list test is empty"),
        ({**LISTS, "test": "S0017"}, "the list test is no list of ids"),
        ({**LISTS, "test": [1.5]}, "the list test is no list of ids"),
        ({"train": IDS, "test": []}, r"holds train, test; expected a JSON file"),
        ([IDS], "holds a list; expected a JSON file"),
        ("train: 1", "is not JSON"),
    ],
)
def test_what_is_no_split_is_refused_in_one_line(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(FormatError, match=message) as raised:
        read_lists(written(tmp_path / "lists.json", content), "error")
    assert "\n" not in str(raised.value)


def test_a_missing_file_of_the_three_is_named(tmp_path: Path) -> None:
    source = as_folder(tmp_path / "lists", LISTS)
    (tmp_path / "lists" / "cases_val.txt").unlink()
    with pytest.raises(NotFoundError, match=r"holds no cases_val.txt; expected"):
        read_lists(source, "error")


def test_listed_patients_are_in_their_parts_and_the_lock_says_where_from(made: PatchSet, tmp_path: Path) -> None:
    lists = read_lists(written(tmp_path / "lists.json", LISTS), "train")
    prepared = prepared_in(tmp_path, lists)
    part = prepared.lock.assignment
    assert {patient: part[patient] for patient in IDS[:20]} == dict(lists.parts)
    assert {part[patient] for patient in IDS[20:]} == {"train"}
    assert prepared.fingerprint == fingerprint(made)
    assert (prepared.lock.fractions, prepared.lock.seed) == ((66, 17, 17), 0)
    assert prepared.lock.published is not None
    assert prepared.lock.published.digest == lists.digest
    again = SplitLock.from_json(prepared.lock.to_json(), "lock.json")
    assert (again, again.digest) == (prepared.lock, prepared.lock.digest)
    assert folds(again, load_development(prepared.development)).max() == 4


def test_unlisted_patients_stay_out_by_choice_and_are_counted(made: PatchSet, tmp_path: Path) -> None:
    lists = read_lists(written(tmp_path / "lists.json", LISTS), "exclude")
    prepared = prepared_in(tmp_path, lists)
    assert made.patients is not None
    out = int(np.isin(made.patients, IDS[20:]).sum())
    assert prepared.exclusions == (("patient in no list of the split file", out),)
    assert set(prepared.lock.assignment) == set(IDS[:20])
    assert prepared.fingerprint == fingerprint(made.take(~np.isin(made.patients, IDS[20:])))
    assert sum(patches for _, _, patches, _ in prepared.parts) == 120 - out
    # as search.finalize reads again: by the lock alone
    again = prepare(
        "synthetic:120", tmp_path / "cache", name="first", fractions=prepared.lock.fractions, seed=0,
        lock=prepared.lock, lists=prepared.lock.lists, rehash=True,
    )  # fmt: skip
    assert again == prepared


@pytest.mark.parametrize("kept", ["train", "exclude"])
def test_a_changed_file_or_choice_is_refused_and_a_moved_one_is_not(tmp_path: Path, kept: Unlisted) -> None:
    first = prepared_in(tmp_path, read_lists(written(tmp_path / "lists.json", LISTS), kept))
    moved = read_lists(as_folder(tmp_path / "elsewhere", LISTS), kept)
    assert prepared_in(tmp_path, moved, first.lock) == first
    changed = {**LISTS, "val": IDS[12:15], "test": IDS[15:20]}
    other = read_lists(written(tmp_path / "lists.json", changed), kept)
    with pytest.raises(LockMismatchError, match=r"split file sha256 \w{12} .*\(locked: sha256 \w{12} .*--study NEW"):
        prepared_in(tmp_path, other, first.lock)
    with pytest.raises(LockMismatchError, match=r"unlisted patients: error \(locked: "):
        prepared_in(tmp_path, replace(moved, unlisted="error"), first.lock)
    with pytest.raises(LockMismatchError, match=r"split file none \(locked: sha256"):
        prepared_in(tmp_path, None, first.lock)
    drawn = prepared_in(tmp_path / "drawn", None)
    with pytest.raises(LockMismatchError, match=r"split file sha256 .* \(locked: none\)"):
        prepared_in(tmp_path / "drawn", moved, drawn.lock)


@pytest.mark.parametrize(
    ("lists", "unlisted", "kind", "message"),
    [
        (LISTS, "error", FormatError, r"does not name 4 of 24 patients .*\(first: S0021\); .*--unlisted train"),
        ({**LISTS, "val": [*IDS[12:16], "9999"]}, "train", FormatError, r"names 1 patients of whom .* \(first: 9999\)"),
        (
            {"train": IDS[:3], "val": IDS[3:6], "test": IDS[6:9]},
            "exclude",
            TooFewPatientsError,
            "has 9 patients; expected at least 10",
        ),
    ],
)
def test_lists_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, lists: dict[str, list[str]], unlisted: Unlisted, kind: type[DataError], message: str
) -> None:
    read = read_lists(written(tmp_path / "lists.json", lists), unlisted)
    with pytest.raises(kind, match=message) as raised:
        prepared_in(tmp_path, read)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "cache").exists()


def test_a_part_without_idc_is_refused(made: PatchSet, tmp_path: Path) -> None:
    assert made.labels is not None
    assert made.patients is not None
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "X.npy", made.pixels)
    np.save(folder / "Y.npy", np.where(np.isin(made.patients, IDS[12:16]), 0, made.labels))
    np.save(folder / "patients.npy", made.patients)
    lists = read_lists(written(tmp_path / "lists.json", LISTS), "train")
    with pytest.raises(LabelError, match="no patch with IDC is in validation"):
        prepared_in(tmp_path, lists, source=str(folder))
    (folder / "patients.npy").unlink()
    with pytest.raises(FormatError, match=r"names patients, but .* has no patient ids; .*data_utils.match"):
        prepared_in(tmp_path, lists, source=str(folder))
