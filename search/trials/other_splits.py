"""Other comparisons of the same database that hold this one's test patients, and what each knew of them.

Whoever tries one split after the other, each with a test of its own, opens each of them once; what was learned under
one name is carried on to the next all the same.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_utils.errors import DataError
from data_utils.readers.patchset import Strings
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, digests_by_part
from search.comparison import Comparison
from search.errors import UsageError
from search.trials.seals import PARTS, known_parts


@dataclass(frozen=True)
class Overlap:
    """What another comparison has of this one's test.

    Attributes:
        study: name of the other.
        unit: "patients" where both are of the very same data, else "patches".
        parts: train, validation and test of the other -> how many of the units lie there; those with none are left
            out. None where it is not known which patches the other holds.
        finished: trials that ended there, so that something was learned.
        opened: whether its own test split was opened.
    """

    study: str
    unit: str
    parts: Mapping[str, int] | None
    finished: int
    opened: bool

    @property
    def chosen_by(self) -> int:
        """Units by which trials were trained or chosen there."""
        parts = self.parts or {}
        return parts.get("train", 0) + parts.get("validation", 0)

    def __str__(self) -> str:
        if self.parts is None:
            return f"which patches {self.study} holds is on record nowhere, so that test {self.unit} may be among them"
        where = ", ".join(f"{count} in {part}" for part, count in self.parts.items())
        trials = "1 trial" if self.finished == 1 else f"{self.finished} trials"
        knew = f"{trials} ended there{', and its test split was opened' if self.opened else ''}"
        return f"{sum(self.parts.values())} of the test {self.unit} are in {self.study} ({where}; {knew})"


@dataclass(frozen=True, eq=False)
class _Division:
    """A lock, and part -> its patches by the sha256 of their pixels, as far as they are known."""

    lock: SplitLock
    patches: Mapping[str, Strings]


def overlaps(comparison: Comparison) -> list[Overlap]:
    """Every other comparison that holds, or may hold, test patients of this one in any part, in the order of names."""
    lock = comparison.stored_lock()
    if lock is None:
        return []
    mine = _Division(lock, known_parts(comparison, lock))
    others = (name for name in comparison.ledger.locked() if name != comparison.name)
    found = [_overlap(mine, comparison.beside(name)) for name in others]
    return [one for one in found if one is not None and one.parts != {}]


def check_warm_start(comparison: Comparison, name: str | None, prepared: Prepared) -> None:
    """Refuses configurations that were chosen by patients who are test patients now.

    Args:
        comparison: that is searched.
        name: of the comparison whose best configurations are asked for; None of none.
        prepared: the data of this one, whose split may not be locked yet.

    Raises:
        UsageError: its training or validation patients meet the test patients of this one, or may do so.
    """
    if name is None:
        return
    mine = _Division(prepared.lock, digests_by_part(prepared.sealed.parent))
    overlap = _overlap(mine, comparison.beside(name))
    if overlap is None:
        return
    if overlap.parts is None:
        raise UsageError(
            f"--warm-start {name}: {overlap}: run its search.launch again, with its patches and settings, which writes "
            "them down, or leave --warm-start out"
        )
    if overlap.chosen_by:
        raise UsageError(
            f"--warm-start {name}: the configurations of {name} were trained or chosen by {overlap.chosen_by} "
            f"{overlap.unit} of the test of {comparison.name}, which would be no first look then; give the split of "
            f"{name} (--split, --split-seed, --split-file), or leave --warm-start out"
        )


def _overlap(mine: _Division, other: Comparison) -> Overlap | None:
    """What another comparison has of this one's test; None where its lock cannot be read, as its own commands say."""
    text = other.ledger.lock(other.name)
    try:
        lock = None if text is None else SplitLock.from_json(text, f"the lock of {other.name} in the database")
    except DataError:
        return None
    if lock is None:
        return None
    unit, parts = _met(mine, _Division(lock, known_parts(other, lock)))
    return Overlap(
        study=other.name,
        unit=unit,
        parts=parts,
        finished=sum(other.finished(model) for model in other.models()),
        opened=other.ledger.was_opened(other.name),
    )


def _met(mine: _Division, theirs: _Division) -> tuple[str, Mapping[str, int] | None]:
    """A unit, and part of the other -> how many of this one's test lie there; None where that cannot be known.

    Of the very same data, patients are counted by their ids. Of others, patches by their pixels: the same patches may
    have other ids or none, and patients of other data may be numbered alike.
    """
    if mine.lock.fingerprint == theirs.lock.fingerprint and mine.lock.by == "patient":
        tested = [unit for unit, part in mine.lock.assignment.items() if part == "test"]
        counts: Counter[str] = Counter(
            theirs.lock.assignment[unit] for unit in tested if unit in theirs.lock.assignment
        )
        return "patients", {part: counts[part] for part in PARTS if part in counts}
    if "test" not in mine.patches or set(PARTS) - set(theirs.patches):
        return "patches", None
    met = {part: int(np.isin(mine.patches["test"], theirs.patches[part]).sum()) for part in PARTS}
    return "patches", {part: count for part, count in met.items() if count}
