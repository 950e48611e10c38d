"""Patches of a slide on the grid that they were cut on, by their coordinates alone: its step, and who lies where."""

from collections import Counter
from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt

from studies.statistics.resampling import Floats, Ints

Names = npt.NDArray[np.str_]
Bools = npt.NDArray[np.bool_]

MOST = 8
"""Neighbours of a place."""
_AGREEING = 0.9  # share of the distances that are multiples of the step: a slide may hold several grids
_COMMONEST = 30  # distances that a step is sought among
_AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


@dataclass(frozen=True, eq=False)
class Grid:
    """Places of the patches of one slide.

    Attributes:
        rows: (N,) from 0 at the top.
        columns: (N,) from 0 on the left.
        height: rows that the slide spans.
        width: columns that it spans.
    """

    rows: Ints
    columns: Ints
    height: int
    width: int

    @classmethod
    def of(cls, x: Ints, y: Ints, step: int) -> "Grid":
        """Of one slide's patches, (N,) coordinates each, N at least 1."""
        rows, columns = _places(y, step), _places(x, step)
        return cls(rows, columns, int(rows.max()) + 1, int(columns.max()) + 1)


def _places(at: Ints, step: int) -> Ints:
    places: Ints = (at - at.min() + step // 2) // step
    return places


def are_placed(slides: Names, x: Ints, y: Ints) -> Bools:
    """(N,) whether it is known on which slide a patch lies, and where."""
    placed: Bools = (slides != "") & (x >= 0) & (y >= 0)
    return placed


def step_of(slides: Names, x: Ints, y: Ints) -> int | None:
    """The step of the grid, in the unit of the coordinates; None where they have none.

    It is the largest number that nearly all distances between one row (or column) and the next are multiples of.

    Args:
        slides: (N,) on which slide each patch lies.
        x: (N,) from the left.
        y: (N,) from the top.
    """
    apart: Counter[int] = Counter()
    for slide in by_slide(slides):
        for at in (x[slide], y[slide]):
            apart.update(np.diff(np.unique(at)).tolist())
    known = [distance for distance, _ in apart.most_common(_COMMONEST)]
    fitting = [
        step
        for step in {gcd(one, other) for one in known for other in known}
        if sum(count for distance, count in apart.items() if distance % step == 0) >= _AGREEING * apart.total()
    ]
    return max(fitting, default=None)


def by_slide(slides: Names) -> list[Ints]:
    """Rows of each slide, in the order of their names."""
    order = np.argsort(slides, kind="stable")
    _, begin = np.unique(slides[order], return_index=True)
    return np.split(order, begin[1:])


def around(slides: Names, x: Ints, y: Ints, scores: Floats, usual: int | None = None) -> tuple[Floats, Ints]:
    """What is said of the places around each patch: the mean score of its up to 8 neighbours, and how many there are.

    Args:
        slides: (N,) on which slide each patch lies, "" where that is unknown.
        x: (N,) from the left, -1 where unknown.
        y: (N,) from the top, likewise.
        scores: (N,).
        usual: step of the grid that is meant, where that is known. Few patches of it show a multiple alone: two that
            lie three places apart would be each other's neighbours.

    Returns:
        (N,) means, its own score of a patch without neighbours, and (N,) counts.
    """
    means, counts = scores.astype(np.float64), np.zeros(len(scores), dtype=np.int64)
    placed = np.flatnonzero(are_placed(slides, x, y))
    step = step_of(slides[placed], x[placed], y[placed]) if len(placed) else None
    if step is None:
        return means, counts
    if usual is not None and step % usual == 0:
        step = usual
    for slide in by_slide(slides[placed]):
        rows = placed[slide]
        means[rows], counts[rows] = _around(Grid.of(x[rows], y[rows], step), scores[rows])
    return means, counts


def _around(grid: Grid, scores: Floats) -> tuple[Floats, Ints]:
    """The same of one slide; several patches in one place count as one of their mean score."""
    keys = (grid.rows + 1) * (grid.width + 2) + grid.columns + 1
    places, unit, patches = np.unique(keys, return_inverse=True, return_counts=True)
    here = np.bincount(unit, scores) / patches
    total, count = np.zeros(len(places)), np.zeros(len(places), dtype=np.int64)
    for down, right in _AROUND:
        wanted = places + down * (grid.width + 2) + right
        found = np.searchsorted(places, wanted).clip(0, len(places) - 1)
        there = places[found] == wanted
        total += np.where(there, here[found], 0.0)
        count += there
    mean = np.where(count > 0, total / np.maximum(count, 1), here)
    return np.where(count[unit] > 0, mean[unit], scores), count[unit]
