"""Failures in a row: the mark of a broken worker, machine or model, not of a poor configuration."""

from collections import Counter
from collections.abc import Iterable, Mapping

from search.errors import SearchFailed
from search.training.jobs import IN_A_ROW
from search.workers.deadline import OutOfTimeError


class Failures:
    """Counts the trials of a launch that failed in a row, for each worker and for each study.

    A worker ends itself before its next job once it has ``IN_A_ROW`` failures behind it (``search.workers.worker``). A
    second one in that state means that replacing does not help, and so do twice as many failures of a study on any
    workers: either ends the search instead of burning its budget. Where no trial of a study ever ended otherwise,
    nothing says that its model can be trained at all: then the first ``IN_A_ROW`` end the search.
    """

    def __init__(self) -> None:
        self._in_a_row: dict[str, list[str]] = {}
        self._in_vain: dict[str, set[int]] = {}  # study -> its trials of this launch that failed or did not fit
        self._replaced: list[str] = []

    def in_vain(self, study: str, number: int, ever: Mapping[int, str]) -> None:
        """Takes note of a trial that failed or did not fit.

        The first ones of a study end the search; where its user has mended something and begun anew, as many more.

        Args:
            study: its study.
            number: its own.
            ever: why each trial of the study failed, by number and whoever had it; of one that did not fit, why each of
                the first did not; none where one went well.

        Raises:
            SearchFailed: no trial of the study ever went well; says why, and to mend it.
        """
        self._in_vain.setdefault(study, set()).add(number)
        of_this_launch = self._in_vain[study] & ever.keys()
        if number in ever and (len(ever) == IN_A_ROW or len(of_this_launch) >= IN_A_ROW):
            raise SearchFailed(_diagnosis(f"study {study}: all {len(ever)} trials failed", ever.values()))

    def ended(self, study: str, worker: str, failure: str | None) -> None:
        """Takes note of a trial that has ended.

        Args:
            study: its study.
            worker: host and process that had it; "" where they died.
            failure: why it failed; None where it did not.

        Raises:
            SearchFailed: failures go on although a worker was replaced; says how often which, and to mend it.
        """
        for who in (study, worker):
            self._count(who, failure)
        if worker and len(self._in_a_row[worker]) == IN_A_ROW:
            self._replaced.append(worker)
        if len(self._replaced) > 1:
            reasons = [reason for one in self._replaced for reason in self._in_a_row[one]]
            raise SearchFailed(
                _diagnosis(f"workers {' and '.join(self._replaced)} each failed {IN_A_ROW} trials in a row", reasons)
            )
        if len(self._in_a_row[study]) == 2 * IN_A_ROW:
            raise SearchFailed(
                _diagnosis(f"study {study} failed {2 * IN_A_ROW} trials in a row", self._in_a_row[study])
            )

    def _count(self, who: str, failure: str | None) -> None:
        before = self._in_a_row.setdefault(who, [])
        self._in_a_row[who] = [] if failure is None else [*before, failure]


def _diagnosis(what: str, reasons: Iterable[str]) -> str:
    counted = Counter(reasons)
    why = "; ".join(f"{count} x {reason}" for reason, count in counted.most_common())
    return f"{what}: {why}. What was found before is kept; mend this ({_way_out(counted)})"


def _way_out(counted: Mapping[str, int]) -> str:
    """What leads out of most of the reasons."""
    ways: Counter[str] = Counter()
    for reason, count in counted.items():
        ways[next((way for sign, way in _WAYS.items() if sign in reason), _BROKEN)] += count
    return ways.most_common(1)[0][0]


_BROKEN = "a full disk, a GPU in trouble, a model that cannot train"
_MORE_MEMORY = "more memory, fewer --workers, a space of smaller batches or networks"
_WAYS = {
    OutOfTimeError.__name__: "a longer --trial-timeout, smaller networks",
    "--max-ms-per-patch": "a larger --max-ms-per-patch, a space of smaller networks",
    "MemoryError": _MORE_MEMORY,
    "can't allocate memory": _MORE_MEMORY,
    "memory ran out": _MORE_MEMORY,
}
"""What a reason has in it -> what leads out of it."""
