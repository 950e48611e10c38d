"""Which patches stand for a group."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data_utils.quality._near import symmetries
from data_utils.quality.exploration import find_repetitions, measure
from data_utils.quality.sheets import OF_A_CLASS, OF_A_KIND, choose_sheets, png, suspicious_sheets
from data_utils.quality.suspects import Suspects
from data_utils.readers.patches import PatchSet, read_patches


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:120")


def sheets(patches: PatchSet) -> dict[str, list[int]]:
    measures = measure(patches.pixels)
    chosen = choose_sheets(patches, measures, find_repetitions(patches, measures.near_white), 0)
    return {name: rows.tolist() for name, rows in chosen.items()}


def test_clean_patches_have_a_sheet_for_each_class_and_no_other(made: PatchSet) -> None:
    found = sheets(made)
    assert set(found) == {"idc", "not_idc"}
    assert {len(set(rows)) for rows in found.values()} == {OF_A_CLASS}
    assert set(made.labels[found["idc"]]) == {1}
    assert set(made.labels[found["not_idc"]]) == {0}


def test_each_fault_has_its_sheet_with_the_members_of_a_group_beside_each_other(made: PatchSet) -> None:
    glass, ink = (np.full((1, 50, 50, 3), level, np.uint8) for level in (240, 10))
    more = [made.pixels[[7]], symmetries(made.pixels[[20]])[3], made.pixels[[7]], made.pixels[[9]], glass, ink]
    patches = made.take(np.concatenate([np.arange(120), [7, 20, 7, 9, 0, 0]]))
    labels = patches.labels.copy()
    labels[123] ^= 1  # the copy of 9
    patches = replace(patches, pixels=np.concatenate([made.pixels, *more]), labels=labels)
    found = sheets(patches)
    assert found["near_white"] == [124]
    assert found["near_black"] == [125]
    assert sorted(found["blurred"]) == [124, 125]
    assert found["contradicting"] == [9, 123]
    assert sorted(found["exact_duplicates"]) == [7, 9, 120, 122, 123]
    assert sorted(found["exact_duplicates"].index(row) for row in (9, 123)) in ([0, 1], [3, 4])
    assert found["near_duplicates"] == [20, 121]


def test_many_copies_of_one_picture_do_not_fill_a_sheet(made: PatchSet) -> None:
    patches = made.take(np.concatenate([np.arange(120), np.repeat([3, 5], 30)]))
    rows = sheets(patches)["exact_duplicates"]
    assert len(rows) <= OF_A_KIND
    assert {patches.digests[row] for row in rows} == {made.digests[3], made.digests[5]}


def test_doubted_labels_are_shown_by_class_the_most_doubtful_first() -> None:
    labels = np.array([0, 1, 1, 0, 1, 0])
    modelled = np.array([5, 4, 2, 1])
    suspects = Suspects(order=np.array([2, 0, 1, 3]), doubted=np.array([True, False, True, True]))
    found = suspicious_sheets(labels, modelled, suspects)
    assert {name: rows.tolist() for name, rows in found.items()} == {"doubted_idc": [2, 1], "doubted_not_idc": [5]}


def test_a_picture_is_the_patch(made: PatchSet) -> None:
    with Image.open(io.BytesIO(png(made.pixels[3]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), made.pixels[3])
