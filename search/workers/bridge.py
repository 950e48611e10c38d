"""Optuna on one side, Ray Tune on the other (unused arguments are Tune's).

Whoever decides implements ``Work``. Tune asks it for jobs, places them on warm workers, brings their reports back and
starts a job again whose worker died. All decisions fall in ``Work``, in the driver's one thread: the database has one
writer, and workers hold no credentials.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.training.jobs import EpochReport, Job, WorkerContext
from search.workers._ray import (
    SYNC_WARNING,
    forgive,
    left_by_dead_drivers,
    start_workers_directly,
    waits_for_worker,
    what_ended,
    worker_of,
)
from search.workers.deaths import DEATHS_FORGIVEN, Deaths
from search.workers.lent import Lent
from search.workers.post import delivering
from search.workers.probe import Proofs, Question, asked_by_ray
from search.workers.room import Room, take_back, untold
from search.workers.seats import Place, Seats
from search.workers.silence import Silence
from studies.records import HostLent

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no result files: the database has every value
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the commands handle signals themselves
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Tune's own state is never restored (DESIGN.md)
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
    SYNC_WARNING: "0",
}

_LOGGER = logging.getLogger("histotune")
_MOST = 4096
"""Jobs at a time, where the room on the nodes alone decides."""


class Work(Protocol):
    """Who decides what is run next and when a job ends."""

    def next_job(self) -> Job | None:
        """The next job, None when there is none to hand out now."""
        ...

    def report(self, job: Job, report: EpochReport) -> bool:
        """Takes an epoch's report; True when the job ends with it."""
        ...

    def worker_lost(self, job: Job, report: EpochReport) -> None:
        """Takes note of a job whose worker died more often than is forgiven; the report has the reason alone."""
        ...

    def give_back(self, job: Job, why: str) -> None:
        """Takes a job back that its worker could not begin with; ``next_job`` hands it out again."""
        ...

    def hosts(self, lent: Sequence[HostLent]) -> None:
        """Takes note of the hosts that may have workers, as often as that changes."""
        ...

    def tick(self) -> None:
        """Called several times a second; raises to end the run at once."""
        ...


class _Stateless:
    """Tune pickles what it was given, for a restore that never comes; a study must not go with it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Abort(BaseException):
    """Leaves Tune's loop with what was raised in ``Work``; Tune would swallow an Exception."""


class _WorkSearcher(_Stateless, Searcher):
    def __init__(
        self,
        work: Work,
        context: WorkerContext,
        room: Room,
        seats: Seats,
        resources: dict[str, float],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        self.place = Place(resources, seats.kept_away_from)
        self.room = room
        self.seats = seats
        self.silence = Silence()
        self.problem: BaseException | None = None
        self.deaths = Deaths()
        self.given_back = 0
        self._given_back: Counter[str] = Counter()  # as Tune gave them up
        self._excused: set[str] = set()  # whose worker's last death says nothing of their job
        self._lent = Lent(lambda: seats.lent(resources), work.hosts)
        self._work = work
        self._context = context
        self._tell = tell

    def guarded(self, call: Callable[[], Any]) -> Any:
        """Calls into ``Work``; what it raises ends the run at the next tick, not inside Tune."""
        if self.problem is not None:
            return None
        try:
            return call()
        except BaseException as problem:  # noqa: BLE001 - carried out of Tune and raised again in run_work
            self.problem = problem
            return None

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        self.guarded(self._work.tick)  # a driver that lost its node asks for nothing more
        if self.guarded(lambda: self.room.is_full(len(self.jobs))):
            return None  # asked again; a job that waits for a worker would be shown as running
        job = self.guarded(self._work.next_job)
        if job is None:
            return cast("dict[str, Any]", Searcher.FINISHED)  # a word that Tune knows, in spite of its annotation
        self.jobs[trial_id] = job
        self.room.asked(trial_id)
        return {"job": job, "context": self._context}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: ARG002
        job = self.jobs.pop(trial_id, None)
        self.room.ended(trial_id)
        self.silence.ended(trial_id)
        self.seats.left(trial_id)
        excused = trial_id in self._excused
        self._excused.discard(trial_id)
        if job is not None and error:
            self._worker_lost(job, excused)

    def _worker_lost(self, job: Job, excused: bool) -> None:
        """Tune gives a job up, forgiven deaths or not, where the worker dies that it waits for, be it new or warm."""
        forgiven = self.deaths.of(job.label) <= DEATHS_FORGIVEN
        if forgiven and (excused or self._given_back[job.label] < DEATHS_FORGIVEN):
            self._given_back[job.label] += not excused
            self.give_back(job, "its worker died")
        else:
            self.guarded(lambda: self._work.worker_lost(job, self.deaths.report(job.label)))

    def give_back(self, job: Job, why: str) -> None:
        """It is handed out again."""
        self.given_back += 1
        self.guarded(lambda: self._work.give_back(job, why))

    def reported(self, trial_id: str, report: EpochReport) -> bool:
        """Takes an epoch's report; True where the job ends with it, or is to be tried on another host."""
        job, host = self.jobs[trial_id], self.seats.host(trial_id)
        self.silence.spoke(trial_id)
        self.seats.reached(job.label, report.epoch)
        if self.seats.hosts.reported(host, job.label, report):
            return bool(self.guarded(lambda: self._work.report(job, report)))
        self.seats.left(trial_id)  # which ends by itself
        self._leave_if_barred(host)
        self.give_back(job, f"failed on {host}, and goes to another ({report.failure})")
        return True

    def died(self, trial_id: str, error: str) -> None:
        """Takes note of the death of a job's worker, unless it says nothing of the job."""
        label, seat = self.jobs[trial_id].label, self.seats.left(trial_id)
        self.silence.ended(trial_id)
        self._excused.discard(trial_id)
        excuse = "" if seat is None else self.seats.excused(label, seat)
        last_words = error.strip().rpartition("\n")[2].strip()
        _LOGGER.info("%s: its worker %s died%s: %s", label, seat or "without a place", excuse, last_words)
        if excuse:
            self._excused.add(trial_id)
            return
        host = "" if seat is None else seat.host
        by_memory = self.deaths.note(label, error, seat)
        if not by_memory and not self.seats.hosts.failed(host, label, "its worker died"):
            self._leave_if_barred(host)

    def _leave_if_barred(self, host: str) -> None:
        if host in self.seats.hosts.barred:
            self.deaths.forget(host)
            self.seats.leave(host)

    def placed(self, trial_id: str, worker: Any) -> None:
        """A job has a worker, new or warm."""
        if trial_id in self.jobs:
            self.room.placed(trial_id)
            self.silence.placed(trial_id, self.jobs[trial_id].model)
            self.deaths.watch(self.seats.taken(trial_id, worker))

    def look(self) -> None:
        """Tells of jobs that wait for a worker, and of the hosts; ends workers that say nothing any more."""
        self.room.look()
        self._lent.look()
        for trial_id, seconds, longest in self.silence.look():
            who = f"{self.jobs[trial_id].label} on {self.seats.host(trial_id)}"
            self._tell(
                f"{who} has said nothing for {seconds:.0f} s, where an epoch took {longest:.0f} s at most: it is "
                "handed out again"
            )
            self.seats.end(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the state of a search is in its database."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see save."""


class _WorkScheduler(_Stateless, FIFOScheduler):
    def __init__(self, searcher: _WorkSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """A new trial, or one that is tried again: what is left of its job's tries, whatever Tune has counted."""
        trial.placement_group_factory = self._searcher.place
        deaths = self._searcher.deaths.of(self._searcher.jobs[trial.trial_id].label)
        forgive(trial, DEATHS_FORGIVEN - deaths)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        ends = self._searcher.reported(trial.trial_id, result["report"])
        return str(TrialScheduler.STOP if ends else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        if not waits_for_worker(trial):  # a trial that waits for its worker is told of one death twice
            self._searcher.died(trial.trial_id, what_ended(trial))


class _Placed(_Stateless, Callback):
    def __init__(self, searcher: _WorkSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._searcher.guarded(lambda: self._searcher.placed(trial.trial_id, worker_of(trial)))


class _WorkStopper(_Stateless, Stopper):
    def __init__(self, searcher: _WorkSearcher, work: Work) -> None:
        self._searcher = searcher
        self._work = work

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        self._searcher.guarded(self._work.tick)
        self._searcher.guarded(self._searcher.look)
        if self._searcher.problem is not None:
            raise _Abort
        return False


def run_work(
    work: Work,
    context: WorkerContext,
    *,
    trainable: type[tune.Trainable],
    workers: int | None,
    resources: dict[str, float],
    scratch: Path,
    tell: Callable[[str], None],
    staffed: Callable[[int, int], None] = untold,
    results: Path | None = None,
) -> None:
    """Runs jobs until ``work`` has none left to hand out and all that it handed out have ended.

    Args:
        work: decides.
        context: goes to every worker with each job.
        trainable: the class of the workers.
        workers: most jobs at a time; None for as many as the nodes hold.
        resources: of one worker, as Tune names them ("cpu", "gpu").
        scratch: an empty folder for what Tune wants to write.
        tell: shows the user a line, where workers wait for room.
        staffed: is told how many jobs have a worker and how many wait for one, whenever that changes.
        results: folder of the comparison, on a Ray of which other nodes may not have it; None on one of its own.

    Raises:
        UsageError: no node holds such a worker, or runs the same program; or this one does not see the folder.
        BaseException: whatever ``work`` raised, once Tune's loop has been left.
    """
    os.environ.update(_QUIET)
    start_workers_directly()
    proofs = None if results is None else Proofs(Question.of(context), tell, asked_by_ray)
    if proofs is not None:
        proofs.wait(work.tick)
        take_back(left_by_dead_drivers(), tell)
    seats = Seats(proofs, tell)
    room = Room(resources, workers, tell, nodes=seats.nodes, own=results is None, staffed=staffed)
    room.check()
    with delivering(context, results) as delivered:
        searcher = _WorkSearcher(work, delivered, room, seats, resources, tell)
        left = -1
        while searcher.given_back > left:  # Tune asks for no more once it was told that there is none
            left = searcher.given_back
            _fit(searcher, work, trainable, workers, resources, scratch / str(left))
            if searcher.problem is not None:
                raise searcher.problem


def _fit(
    searcher: _WorkSearcher,
    work: Work,
    trainable: type[tune.Trainable],
    workers: int | None,
    resources: dict[str, float],
    scratch: Path,
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_WorkScheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=workers or _MOST,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            stop=_WorkStopper(searcher, work),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
            progress_reporter=tune.CLIReporter(),  # says nothing; that of a notebook shows an empty piece of HTML
            callbacks=[_Placed(searcher)],
        ),
    )
    with suppress(_Abort):
        tuner.fit()
