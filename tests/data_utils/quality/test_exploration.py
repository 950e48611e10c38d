"""Measures, repetitions, samples and the map."""

from dataclasses import fields, replace

import numpy as np
import pytest

from data_utils.quality import exploration
from data_utils.quality import measures as quality
from data_utils.quality._near import symmetries
from data_utils.quality.exploration import (
    Measures,
    contradicting,
    find_repetitions,
    flat_map,
    inexact,
    measure,
    rows_to_model,
    some,
    together,
)
from data_utils.readers.patches import PatchSet, read_patches


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:120")


def with_rows(patches: PatchSet, pixels: np.ndarray, like: list[int]) -> PatchSet:
    """More rows, with the labels and patients of the rows ``like``."""
    more = patches.take(np.concatenate([np.arange(len(patches)), like]))
    return replace(more, pixels=np.concatenate([patches.pixels, pixels]))


def test_measures_are_those_of_quality_and_colour_in_whatever_pieces(
    made: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploration, "_AT_ONCE", 50)
    calls: list[tuple[int, int]] = []
    found = measure(made.pixels, lambda done, of: calls.append((done, of)))
    assert calls == [(50, 120), (100, 120), (120, 120)]
    assert {len(getattr(found, field.name)) for field in fields(Measures)} == {120}
    np.testing.assert_array_equal(found.sharpness, quality.sharpness(made.pixels))
    np.testing.assert_array_equal(found.eosin, quality.stain_density(made.pixels)[1])
    np.testing.assert_array_equal(found.blue, made.pixels[..., 2].mean(axis=(1, 2)))
    np.testing.assert_array_equal(found.near_white, quality.near_white(made.pixels))


def test_equal_turned_and_slightly_changed_patches_are_told_apart_from_others(made: PatchSet) -> None:
    exact, turned = made.pixels[[7]], symmetries(made.pixels[[20]])[5]
    changed = np.clip(made.pixels[[30]].astype(np.int16) + 1, 0, 255).astype(np.uint8)
    patches = with_rows(made, np.concatenate([exact, turned, changed]), [7, 20, 30])
    found = find_repetitions(patches, quality.near_white(patches.pixels))
    assert found.exact[7] == found.exact[120]
    assert len(set(found.exact)) == 122
    assert [found.near[row] == found.near[copy] for row, copy in ((7, 120), (20, 121), (30, 122))] == [True] * 3
    assert len(set(found.near)) == 120
    assert np.flatnonzero(inexact(found)).tolist() == [20, 30, 121, 122]


def test_glass_repeats_only_what_has_its_very_pixels_in_a_view(made: PatchSet) -> None:
    glass = np.random.default_rng(0).integers(235, 245, (3, 50, 50, 3)).astype(np.uint8)
    patches = with_rows(made, np.concatenate([glass, symmetries(glass[[1]])[3]]), [0, 1, 2, 3])
    found = find_repetitions(patches, quality.near_white(patches.pixels))
    assert found.near[121] == found.near[123]
    assert len(set(found.near)) == 123


def test_one_of_each_picture_is_modelled_and_none_that_contradicts_itself(made: PatchSet) -> None:
    patches = with_rows(made, made.pixels[[7, 20]], [7, 20])
    labels = patches.labels.copy()
    labels[-1] ^= 1
    patches = replace(patches, labels=labels)
    exact = find_repetitions(patches, np.zeros(122, bool)).exact
    assert np.flatnonzero(contradicting(exact, labels)).tolist() == [20, 121]
    rows = rows_to_model(patches, exact)
    assert sorted(set(range(122)) - set(rows.tolist())) == [20, 120, 121]


def test_a_sample_is_drawn_only_from_more_than_was_asked_for() -> None:
    rows = np.arange(100, 200)
    assert some(rows, 100, 0) is rows
    drawn = some(rows, 10, 3)
    assert len(set(drawn.tolist())) == 10
    assert set(drawn.tolist()) <= set(rows.tolist())
    assert drawn.tolist() == sorted(drawn.tolist()) == some(rows, 10, 3).tolist()


def test_patients_stay_together_or_else_groups_of_near_duplicates(made: PatchSet) -> None:
    near = np.arange(120) // 2
    by_patient = together(made, near)
    assert all(len(set(made.patients[by_patient == unit])) == 1 for unit in set(by_patient))
    assert together(replace(made, patients=None), near).tolist() == near.tolist()


def test_the_map_keeps_neighbours_together_and_is_drawn_the_same_again() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 40)
    features = rng.normal(0, 1, (120, 20)) + 8 * rng.normal(0, 1, (3, 20))[group]
    places = flat_map(features, 0)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(120)
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.95
    np.testing.assert_array_equal(places, flat_map(features, 0))
