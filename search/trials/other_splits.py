"""Other comparisons of the same database that hold this one's test patients, and what each knew of them.

Whoever tries one split after the other, each with a test of its own, opens each of them once; what was learned under
one name is carried on to the next all the same.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from data_utils.errors import DataError
from data_utils.split.lock import SplitLock
from search.comparison import Comparison
from search.errors import UsageError


@dataclass(frozen=True)
class Overlap:
    """What another comparison has of this one's test.

    Attributes:
        study: name of the other.
        unit: "patients", or "patches" where patients are unknown.
        parts: train, validation and test of the other -> how many of the units lie there; those with none are left out.
        finished: trials that ended there, so that something was learned.
        opened: whether its own test split was opened.
    """

    study: str
    unit: str
    parts: Mapping[str, int]
    finished: int
    opened: bool

    @property
    def chosen_by(self) -> int:
        """Units by which trials were trained or chosen there."""
        return self.parts.get("train", 0) + self.parts.get("validation", 0)

    def __str__(self) -> str:
        where = ", ".join(f"{count} in {part}" for part, count in self.parts.items())
        trials = "1 trial" if self.finished == 1 else f"{self.finished} trials"
        knew = f"{trials} ended there{', and its test split was opened' if self.opened else ''}"
        return f"{sum(self.parts.values())} of the test {self.unit} are in {self.study} ({where}; {knew})"


def overlaps(comparison: Comparison) -> list[Overlap]:
    """Every other comparison that holds one of this one's test patients in any part, in the order of names.

    They are known by their ids, and by the sha256 of their pixels where patients are unknown. Two sets whose patients
    are numbered alike without being the same would be named here too: better than one that is not.
    """
    lock = comparison.stored_lock()
    if lock is None:
        return []
    found = []
    for name in comparison.ledger.locked():
        if name != comparison.name:
            other = Comparison(name, comparison.folder.parent / name, comparison.storage, comparison.ledger)
            parts = _parts(lock, other)
            found += [_overlap(other, lock, parts)] if parts else []
    return found


def check_warm_start(comparison: Comparison, name: str | None, lock: SplitLock) -> None:
    """Refuses configurations that were chosen by patients who are test patients now.

    Args:
        comparison: that is searched.
        name: of the comparison whose best configurations are asked for; None of none.
        lock: the split of this one.

    Raises:
        UsageError: its training or validation patients meet the test patients of this one.
    """
    if name is None:
        return
    other = Comparison(name, comparison.folder.parent / name, comparison.storage, comparison.ledger)
    overlap = _overlap(other, lock, _parts(lock, other))
    if overlap.chosen_by:
        raise UsageError(
            f"--warm-start {name}: the configurations of {name} were trained or chosen by {overlap.chosen_by} "
            f"{overlap.unit} of the test of {comparison.name}, which would be no first look then; give the split of "
            f"{name} (--split, --split-seed, --split-file), or leave --warm-start out"
        )


def _parts(lock: SplitLock, other: Comparison) -> dict[str, int]:
    """Part of the other comparison -> how many of this lock's test units lie there."""
    text = other.ledger.lock(other.name)
    if text is None:
        return {}
    try:
        theirs = SplitLock.from_json(text, f"the lock of {other.name} in the database")
    except DataError:  # its own commands say so
        return {}
    if theirs.by != lock.by:
        return {}
    tested = [unit for unit, part in lock.assignment.items() if part == "test"]
    counts = Counter(theirs.assignment[unit] for unit in tested if unit in theirs.assignment)
    return {part: counts[part] for part in ("train", "validation", "test") if part in counts}


def _overlap(other: Comparison, lock: SplitLock, parts: Mapping[str, int]) -> Overlap:
    return Overlap(
        study=other.name,
        unit="patients" if lock.by == "patient" else "patches",
        parts=parts,
        finished=sum(other.finished(model) for model in other.models()),
        opened=other.ledger.was_opened(other.name),
    )
