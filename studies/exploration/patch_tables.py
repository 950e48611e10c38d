"""Tables of single patches that an exploration found worth a look; figures without a plot, each with a CSV file."""

from collections.abc import Iterator

import numpy as np

from studies.exploration.explored import FLAGS, Doubts, Explored
from studies.figures.style import Cell, Figure, Table
from studies.statistics.resampling import Ints

_ABOUT = ("Patch", "Patient", "Label")
Row = tuple[Cell, ...]


def patch_tables(explored: Explored) -> list[Figure]:
    """Repetitions, patches that show little, labels in doubt."""
    tables = [
        _table("data-duplicates", "Patches that repeat each other", ("Kind", "Group", *_ABOUT), _repeated(explored)),
        _table("data-flagged", "Patches that show little", ("Kind", *_ABOUT), _flagged(explored)),
    ]
    if explored.doubts is not None:
        columns = ("Rank", *_ABOUT, "Probability of IDC", "In doubt")
        ranked = _ranked(explored, explored.doubts)
        tables.append(_table("data-suspects", "Labels, the most doubtful first", columns, ranked))
    return tables


def _table(key: str, title: str, columns: tuple[str, ...], rows: Iterator[Row]) -> Figure:
    return Figure(key=key, title=title, alt="", note="", plots=(), table=Table(columns, tuple(rows)))


def _about(explored: Explored, row: int) -> Row:
    return str(explored.names[row]), str(explored.patients[row]) or None, int(explored.labels[row])


def _repeated(explored: Explored) -> Iterator[Row]:
    """Groups of equal pixels, then groups of distinct pictures that are near each other."""
    pictures = np.unique(explored.exact, return_index=True)[1]
    everyone = np.arange(len(explored.labels))
    for kind, groups, rows in (("exact", explored.exact, everyone), ("near", explored.near, pictures)):
        for row in _in_groups(groups, rows):
            yield kind, int(groups[row]), *_about(explored, int(row))


def _in_groups(groups: Ints, rows: Ints) -> Ints:
    """Those of the rows that share a group, group after group."""
    sizes = np.bincount(groups[rows], minlength=groups.max() + 1)
    shared = rows[sizes[groups[rows]] > 1]
    return shared[np.argsort(groups[shared], kind="stable")]


def _flagged(explored: Explored) -> Iterator[Row]:
    for name, title in FLAGS.items():
        for row in np.flatnonzero(explored.flags[name]):
            yield title, *_about(explored, int(row))


def _ranked(explored: Explored, doubts: Doubts) -> Iterator[Row]:
    """All labels in doubt, and as many again, as no count of them is exact."""
    shown = doubts.order[: max(1, 2 * int(doubts.doubted.sum()))]
    for rank, place in enumerate(shown.tolist(), 1):
        about = _about(explored, int(explored.modelled[place]))
        yield rank, *about, float(doubts.probabilities[place]), bool(doubts.doubted[place])
