"""Patches on their grid: its step, and who is whose neighbour."""

import numpy as np
import pytest

from studies.statistics.grid import Grid, around, step_of


def field(height: int, width: int, step: int, at: int = 1) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    return at + step * x.ravel(), at + step * y.ravel()


def test_a_patch_has_the_mean_of_those_around_it_on_its_own_slide_alone() -> None:
    x, y = field(3, 4, 50)
    scores = np.arange(12.0)
    slides = np.array(["a"] * 12 + ["b"])
    means, counts = around(slides, np.append(x, 1), np.append(y, 51), np.append(scores, 99.0))
    assert counts.reshape(-1)[:12].reshape(3, 4).tolist() == [[3, 5, 5, 3], [5, 8, 8, 5], [3, 5, 5, 3]]
    assert means[0] == pytest.approx(np.mean([1, 4, 5]))
    assert means[5] == pytest.approx(np.mean([0, 1, 2, 4, 6, 8, 9, 10]))
    assert (means[12], counts[12]) == (99.0, 0)


def test_patches_of_unknown_place_or_patient_are_nobodys_neighbours() -> None:
    x, y = field(2, 2, 50)
    means, counts = around(np.array(["a", "a", "a", ""]), np.where(x == 51, x, x), y, np.arange(4.0))
    assert counts.tolist() == [2, 2, 2, 0]
    x[0] = -1
    means, counts = around(np.full(4, "a"), x, y, np.arange(4.0))
    assert counts.tolist() == [0, 2, 2, 2]
    assert means[1] == pytest.approx(2.5)


def test_two_patches_in_one_place_are_one_neighbour() -> None:
    x, y = np.array([0, 50, 50, 100]), np.zeros(4, dtype=np.int64)
    means, counts = around(np.full(4, "a"), x, y, np.array([0.0, 2.0, 4.0, 9.0]))
    assert counts.tolist() == [1, 2, 2, 1]
    assert means.tolist() == [3.0, 4.5, 4.5, 3.0]


@pytest.mark.parametrize("step", [1, 50, 224])
def test_the_step_is_found_of_sparse_patches_and_of_grids_that_are_shifted(step: int) -> None:
    rng = np.random.default_rng(0)
    x, y = field(30, 40, step)
    slides = np.repeat(["a", "b"], 1200)
    x, y = np.append(x, x + 7), np.append(y, y + 11)
    assert step_of(slides, x, y) == step
    few = rng.permutation(2400)[:60]
    assert step_of(slides[few], x[few], y[few]) == step
    second = np.append(slides, "a"), np.append(x, x[3] + 13), np.append(y, y[3])
    assert step_of(*second) == step, "one that lies askew changes nothing"


def test_few_patches_of_a_known_grid_are_neighbours_by_its_step() -> None:
    x, y = np.array([1, 151, 201]), np.ones(3, dtype=np.int64)
    assert around(np.full(2, "a"), x[:2], y[:2], np.arange(2.0))[1].tolist() == [1, 1], "three places apart"
    assert around(np.full(2, "a"), x[:2], y[:2], np.arange(2.0), 50)[1].tolist() == [0, 0]
    assert around(np.full(3, "a"), x, y, np.arange(3.0), 50)[1].tolist() == [0, 1, 1]
    assert around(np.full(3, "a"), 2 * x, y, np.arange(3.0), 224)[1].tolist() == [0, 1, 1], "another unit"


def test_there_is_no_step_of_patches_that_lie_alone() -> None:
    assert step_of(np.array(["a", "b"]), np.array([1, 51]), np.array([1, 51])) is None


def test_a_place_is_the_nearest_of_the_grid() -> None:
    grid = Grid.of(np.array([1001, 1052, 1199]), np.array([51, 1, 1]), 50)
    assert grid.columns.tolist() == [0, 1, 4]
    assert grid.rows.tolist() == [1, 0, 0]
    assert (grid.height, grid.width) == (2, 5)
