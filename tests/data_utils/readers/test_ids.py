"""Patient ids as people write them: the same patient is one patient, and nobody is nobody."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_utils.errors import FormatError
from data_utils.quality.cleaning import clean
from data_utils.readers.ids import read_ids, without_names
from data_utils.readers.patches import PatchSet, read_patches
from data_utils.split.draw import draw_lock, parts
from data_utils.split.split_file import read_lists

COUNT = 200


def written(folder: Path, ids: object) -> Path:
    """Arrays of 200 made-up patches with these ids."""
    made = read_patches(f"synthetic:{COUNT}")
    np.save(folder / "X.npy", made.pixels)
    np.save(folder / "Y.npy", made.labels)
    np.save(folder / "patients.npy", np.array(ids))
    return folder


def read(folder: Path, ids: object) -> PatchSet:
    return read_patches(str(written(folder, ids)))


def test_a_blank_at_one_end_makes_no_other_patient(tmp_path: Path) -> None:
    patches = read(tmp_path, [("p%d" if i % 3 else " p%d") % (i % 20) for i in range(COUNT)])
    assert patches.patients is not None
    assert patches.patients.tolist() == [f"p{i % 20}" for i in range(COUNT)]
    assert patches.notes == (
        f"{tmp_path}/patients.npy: 20 of 20 patients were written in several ways (blanks at the ends, forms of "
        "Unicode); each counts as one",
    )
    part = parts(draw_lock(patches, "ids", (60, 20, 20), 0), patches)
    owners = {patient: set(part[patches.patients == patient].tolist()) for patient in np.unique(patches.patients)}
    assert all(len(of_one) == 1 for of_one in owners.values())


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r\n", "\u00a0", "\u3000"])
def test_every_kind_of_blank_at_the_ends_is_none(tmp_path: Path, blank: str) -> None:
    patches = read(tmp_path, [f"p{i % 20}{blank}" for i in range(COUNT)])
    assert patches.patients is not None
    assert sorted(set(patches.patients.tolist())) == sorted(f"p{i}" for i in range(20))


@pytest.mark.parametrize("sign", ["\ufeff", "\u200b", "\u00ad", "\u200d"])
def test_signs_that_nobody_sees_make_no_other_patient(tmp_path: Path, sign: str) -> None:
    patches = read(tmp_path, [(sign if i % 40 < 20 else "") + f"p{i % 20}" for i in range(COUNT)])
    assert patches.patients is not None
    assert len(set(patches.patients.tolist())) == 20


def test_forms_of_unicode_are_one_patient(tmp_path: Path) -> None:
    composed, taken_apart = "Mu\u0308ller", "M\u00fcller"
    patches = read(tmp_path, [(composed if i % 40 < 20 else taken_apart) + str(i % 20) for i in range(COUNT)])
    assert patches.patients is not None
    assert len(set(patches.patients.tolist())) == 20


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "-1", "", "  ", "null", "NA", "<NA>", "unknown"])
def test_a_word_for_nobody_is_no_patient(tmp_path: Path, word: str) -> None:
    patches = read(tmp_path, [word if i < 100 else f"p{i % 20}" for i in range(COUNT)])
    assert patches.patients is not None
    assert (patches.patients == "").sum() == 100
    with pytest.raises(FormatError, match="100 ids that are empty or mean unknown among 200 patches"):
        clean(patches)
    assert len(clean(patches, exclude=["no_patient"])) == 100


@pytest.mark.parametrize(
    "missing",
    [np.where(np.arange(COUNT) < 100, np.nan, np.arange(COUNT) % 20), np.where(np.arange(COUNT) < 100, -1, 7)],
)
def test_a_number_for_nobody_is_no_patient(tmp_path: Path, missing: np.ndarray) -> None:
    patches = read(tmp_path, missing)
    assert patches.patients is not None
    assert (patches.patients == "").tolist() == [True] * 100 + [False] * 100
    assert "100 ids mean that the patient is unknown (-1)" in patches.notes[0]
    assert patches.patients[150] == str(int(missing[150]))  # no 10.0


def test_numbers_that_their_type_cannot_hold_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="float32 values that are not whole"):
        read(tmp_path, np.float32(16777217) + np.arange(COUNT, dtype=np.float32))


def test_ids_that_all_mean_nobody_are_no_ids(tmp_path: Path) -> None:
    assert read(tmp_path, ["nan"] * COUNT).patients is None


def test_names_of_files_are_no_patients(tmp_path: Path) -> None:
    names = [f"slide_{i}.png" for i in range(COUNT)]
    patches = read(tmp_path, names)
    assert patches.patients is None
    assert patches.notes == (
        f"{tmp_path}/patients.npy: 200 of 200 ids have one patch only, so they name patches, not patients: patients "
        "count as unknown",
    )
    assert draw_lock(patches, "ids", (60, 20, 20), 0).by == "duplicate group"
    alone = read_patches(str(tmp_path), labelled=False)  # nothing is split there: each is whom it says
    assert alone.patients is not None
    assert alone.patients.tolist() == names


def test_names_are_told_from_patients_at_nine_tenths() -> None:
    def ids(single: int, double: int) -> np.ndarray:
        return np.array([f"s{i}" for i in range(single)] + [f"d{i}" for i in range(double)] * 2)

    assert without_names(ids(90, 10), "ids")[0] is None
    kept, notes = without_names(ids(89, 11), "ids")
    assert kept is not None
    assert notes == ()


def test_a_few_patients_with_most_of_the_patches_are_patients() -> None:
    ids = np.array([f"s{i}" for i in range(54)] + [f"d{i}" for i in range(6)] * 15)
    kept, notes = without_names(ids, "ids")
    assert kept is ids
    assert notes == ()


def test_ids_that_differ_in_case_alone_are_refused_by_name(tmp_path: Path) -> None:
    ids = [f"{'P' if i % 40 < 20 else 'p'}{i % 20}" for i in range(COUNT)]
    with pytest.raises(FormatError, match=re.escape("forms of signs alone (P0/p0, P1/p1, P10/p10, P11/p11")):
        read(tmp_path, ids)


@pytest.mark.parametrize(
    ("one", "other"),
    [("7", "7.0"), ("7", "007"), ("case 7", "case  7"), ("case 7", "case\u00a07"), ("p7", "p\uff17"), ("0", "0.0")],
)
def test_ids_of_which_a_slip_or_a_table_makes_two_are_refused_by_name(tmp_path: Path, one: str, other: str) -> None:
    """Else half of a patient's patches could lie in the test split."""
    ids = [(one if i < 20 else other) if i % 20 == 0 else f"x{i % 20}" for i in range(COUNT)]
    with pytest.raises(FormatError, match=re.escape(f"alone ({'/'.join(sorted((one, other)))})")):
        read(tmp_path, ids)


def test_ids_that_differ_in_their_numbers_are_others(tmp_path: Path) -> None:
    ids = [("1.5", "15", "150", "1-5", "1_5", "p1", "p01", "v1.0", "v1")[i % 9] for i in range(COUNT)]
    patches = read(tmp_path, ids)
    assert patches.patients is not None
    assert patches.patients.tolist() == ids


def test_bytes_are_ids_of_utf8(tmp_path: Path) -> None:
    patches = read(tmp_path, [f"M\u00fcller{i % 20}".encode() for i in range(COUNT)])
    assert patches.patients is not None
    assert patches.patients[21] == "M\u00fcller1"
    with pytest.raises(FormatError, match=r"no UTF-8.*save it as np.char.decode\(patients, 'latin-1'\)"):
        read(tmp_path, [b"M\xfcller"] * COUNT)


def test_a_control_character_inside_of_an_id_is_refused() -> None:
    with pytest.raises(FormatError, match=r"1 ids with characters that are no printable text \(first: a\\x1b\[2K\)"):
        read_ids(np.array(["a\x1b[2K", "b"]), "ids")


def test_lists_of_a_split_are_read_by_the_same_rule(tmp_path: Path) -> None:
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps({"train": [" a", 1], "val": ["b\u0308 "], "test": ["c\n"]}), encoding="utf-8")
    assert read_lists(str(lists), "train").parts == {
        "a": "train", "1": "train", "b\u0308": "validation", "c": "test"
    }  # fmt: skip
    lists.write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["nan"]}), encoding="utf-8")
    with pytest.raises(FormatError, match="the list test is no list of ids"):
        read_lists(str(lists), "train")
