"""Several searches that share the workers: whose trial is next, who is told, and when all of it ends."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from optuna.trial import TrialState

from search.errors import SearchFailed
from search.training.jobs import EpochReport, Job
from search.trials.failures import Failures
from search.trials.study_search import FINISHED, RUNNING, Outlook, StudySearch
from studies.records import HostLent

_ENDED = {state.name for state in FINISHED}


class Watcher(Protocol):
    """Is told what happens, to show it."""

    def begun(self, job: Job) -> None:
        """A trial was handed out."""
        ...

    def epoch(self, job: Job, report: EpochReport, state: str) -> None:
        """A trial reported, or goes back to be handed out again; ``state`` is what it is in now."""
        ...


def order_of(outlooks: Sequence[Outlook], workers: int) -> list[int]:
    """Which study is asked for a trial first, second ...: places in ``outlooks``.

    The one that is furthest behind its goal. But where long trials come last, one worker is busy with the last of them
    while the others have nothing to do: the study with the longest trials goes first from the moment at which the work
    that is left of the others would be just enough to keep the other workers busy meanwhile.
    """
    places = sorted(range(len(outlooks)), key=lambda place: outlooks[place].progress)
    known = [place for place in places if outlooks[place].seconds is not None and outlooks[place].left]
    if len(known) < 2:
        return places
    longest = max(known, key=lambda place: outlooks[place].seconds or 0.0)
    others = sum(outlooks[place].left * (outlooks[place].seconds or 0.0) for place in known if place != longest)
    if others <= (workers - 1) * (outlooks[longest].seconds or 0.0):
        places.remove(longest)
        places.insert(0, longest)
    return places


class Searches:
    """Several studies that share the workers; the ``Work`` of the bridge."""

    def __init__(
        self,
        searches: Sequence[StudySearch],
        *,
        until: float | None,
        watcher: Watcher,
        check: Callable[[], None],
    ) -> None:
        """``until`` in monotonic seconds, None for no limit; ``check`` raises where a signal has come."""
        self.only_measures = False  # hands out one trial of each study that has no measured memory yet
        self.workers = 1  # that share the trials
        self._searches = {search.model.name: search for search in searches}
        self._until = until
        self._watcher = watcher
        self._check = check
        self._failures = Failures()

    def next_job(self) -> Job | None:
        """A trial of the study that is furthest behind its goal; near the end, of the one with the longest trials."""
        for search in self._in_order():
            if self.only_measures and not search.unmeasured():
                continue
            job = search.next_job(self._watcher.epoch)
            if job is not None:
                self._watcher.begun(job)
                return job
        return None

    def _in_order(self) -> list[StudySearch]:
        searches = list(self._searches.values())
        if len(searches) == 1:
            return searches
        outlooks = [search.outlook() for search in searches]
        # A search that may be cut off at any moment gives each study as much of its time as it can.
        workers = self.workers if self._until is None else 1
        return [searches[place] for place in order_of(outlooks, workers)]

    def report(self, job: Job, report: EpochReport) -> bool:
        """Passes an epoch on to the job's study; True when the trial ends with it."""
        state = self._searches[job.model].report(job, report)
        self._passed_on(job, report, state)
        return state != RUNNING

    def _passed_on(self, job: Job, report: EpochReport, state: str) -> None:
        self._watcher.epoch(job, report, state)
        if state in _ENDED:
            try:
                self._ended(job, report, state)
            except SearchFailed as failed:
                more = "" if self.unfinished() else " with more --trials, as all that were asked for have ended"
                raise SearchFailed(f"{failed}, then run the same command again{more}") from None

    def worker_lost(self, job: Job, report: EpochReport) -> None:
        """Passes a death on to the job's study."""
        self._passed_on(job, report, self._searches[job.model].worker_lost(job, report))

    def give_back(self, job: Job, why: str) -> None:
        """Passes a job back to its study."""
        self._watcher.epoch(
            job, EpochReport(0, {}, float("nan"), failure=why), self._searches[job.model].give_back(job)
        )

    def hosts(self, lent: Sequence[HostLent]) -> None:
        """Has them stored, once for all studies: they belong to the launch."""
        next(iter(self._searches.values())).keep_hosts(lent)

    def _ended(self, job: Job, report: EpochReport, state: str) -> None:
        """Counts a failure; where a study never went well, also what did not fit, which is none in a row."""
        search = self._searches[job.model]
        study, failed = search.study.study_name, state == TrialState.FAIL.name
        if report.failure is not None:
            self._failures.in_vain(study, job.number, search.failures() if failed else search.misfits())
        self._failures.ended(study, str(report.attributes.get("worker", "")), report.failure if failed else None)

    def tick(self) -> None:
        """Ends the run on a signal or at its time limit."""
        self._check()
        if self._until is not None and time.monotonic() > self._until:
            raise TimeLimitReached

    def release(self) -> None:
        """Puts all that is still in hand back to WAITING."""
        for search in self._searches.values():
            search.release()

    def anything_to_do(self) -> bool:
        """Whether a trial could be handed out now; trials of dead launches are taken back first."""
        return any(search.anything_to_do() for search in self._searches.values())

    def peak_memory(self) -> int | None:
        """Bytes of the largest trial so far; None where a study that lacks trials has none that was measured."""
        peaks = {search: search.peak_memory() for search in self._searches.values()}
        if any(peak is None and search.outlook().progress < 1 for search, peak in peaks.items()):
            return None
        return max((peak for peak in peaks.values() if peak is not None), default=None)

    def unfinished(self) -> bool:
        """Whether any study has fewer finished trials than wanted, for example because another launch has the rest."""
        return any(search.counts().finished < search.wanted for search in self._searches.values())


class TimeLimitReached(BaseException):
    """The search has used the time that it was given."""
