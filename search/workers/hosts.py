"""Failures by host: one on which nothing ever goes well gets no more jobs, and its jobs go to others.

A failure on a host that has done nothing yet says little of the job. The job goes back, and its failure is its own
where another host has it too.
"""

from collections import defaultdict
from collections.abc import Callable

from search.training.jobs import EpochReport
from search.training.loop import TrainingDivergedError
from search.workers.deadline import OutOfTimeError

IN_A_ROW = 3
"""After so many failures in a row, and nothing done before, a host is barred."""
_OF_THE_JOB = (OutOfTimeError.__name__, TrainingDivergedError.__name__)


class Hosts:
    """What jobs came to on each host, by its name."""

    def __init__(self, others: Callable[[str], bool], tell: Callable[[str], None]) -> None:
        """``others`` says whether any host but this one holds workers; ``tell`` shows the user a line."""
        self._others = others
        self._tell = tell
        self._done: set[str] = set()
        self._row: defaultdict[str, list[str]] = defaultdict(list)
        self._failed_on: defaultdict[str, set[str]] = defaultdict(set)
        self.barred: dict[str, str] = {}
        """Host -> why."""

    def reported(self, host: str, label: str, report: EpochReport) -> bool:
        """Takes an epoch's report; whether it is the job's own, else the job is to be tried elsewhere."""
        if report.failure is None:
            self._done.add(host)
            return True
        if report.keeps_value or report.no_room or report.failure.startswith(_OF_THE_JOB):
            return True
        return self.failed(host, label, report.failure)

    def failed(self, host: str, label: str, reason: str) -> bool:
        """Takes a failure, or a death; whether it is the job's own, else the job is to be tried elsewhere."""
        if host in self.barred:
            return False
        if not host or host in self._done or not self._others(host):
            return True
        self._row[host].append(reason)
        self._failed_on[label].add(host)
        if len(self._row[host]) >= IN_A_ROW:
            self._bar(host)
            return False
        return len(self._failed_on[label]) > 1

    def _bar(self, host: str) -> None:
        reasons = "; ".join(dict.fromkeys(self._row[host]))
        self.barred[host] = reasons
        self._tell(
            f"host {host} is barred: {IN_A_ROW} jobs in a row failed there and none was done ({reasons}). They go to "
            "others; mend it, and the next launch takes it again"
        )
