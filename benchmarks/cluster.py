"""One driver: CPU and memory that a trial takes of it, and trials a second, with 4, 16 and 64 at a time.

What workers do is left out: their epochs take no time, and scores are made up. *Deciding* is all of the driver but Ray:
a configuration is asked for, each epoch is written down and judged by the pruner, the trial ends and is shown. *The
loop* is the driver as it is, with Ray, Tune and as many logical workers on this machine. The space is that of cnn,
trials have up to 12 epochs, and sampler and pruner are the default, so most end after 3.

The peer is plain Optuna, asked and told in one thread, with the same sampler, pruner, space, scores and database, and
as many trials at a time. CPU is that of the driver's process, all threads; memory what it holds resident, at the end
over that after the first tenth.

    python -m benchmarks.cluster [--full]
"""

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
import psutil
from rich.console import Console

from benchmarks._at_once import AtOnce, report_of
from benchmarks._launch import scratch_folder
from benchmarks._report import Result, main
from models._registry import load_model
from search.command.last_words import LastWords
from search.command.settings import WorkerSettings
from search.command.terminal import Terminal
from search.comparison import define
from search.training.jobs import EpochReport, Job, WorkerContext
from search.trials.closing import standing
from search.trials.launches import Presence
from search.trials.side_by_side import Searches
from search.trials.study_search import StudySearch
from search.workers.bridge import run_work
from search.workers.cluster import RaySession
from soak.databases import KINDS, database
from studies.ledger.ledger import Ledger
from studies.storage.space import SharedSpace
from studies.storage.studies import (
    create_or_resume,
    make_pruner,
    make_sampler,
    open_storage,
    quiet_optuna,
)

AT_A_TIME = (4, 16, 64)
TRIALS, FULL_TRIALS = 300, 2000
EPOCHS = 12
MIB = 2**20


@dataclass(frozen=True)
class Mark:
    """The driver as a trial ends: seconds of a clock, seconds of CPU, and bytes that it holds."""

    seconds: float
    cpu: float
    memory: int

    @classmethod
    def now(cls) -> "Mark":
        """As it is now."""
        return cls(time.perf_counter(), time.process_time(), psutil.Process().memory_info().rss)


class Marks:
    """Shows a search as a launch does, to nobody, and marks each end of a trial."""

    def __init__(self, search: StudySearch) -> None:
        standings = {search.study.study_name: search}
        self.ends: list[Mark] = []
        self._terminal = Terminal(
            title="bench",
            objective="auc",
            standings=lambda: {name: standing(one) for name, one in standings.items()},
            console=Console(quiet=True),
        )

    def begun(self, job: Job) -> None:
        """A trial was handed out."""
        self._terminal.begun(job)

    def epoch(self, job: Job, report: EpochReport, state: str) -> None:
        """A trial reported."""
        self._terminal.epoch(job, report, state)
        if state != "RUNNING":
            self.ends.append(Mark.now())


@dataclass(frozen=True)
class Cost:
    """What trials took of a driver.

    Attributes:
        cpu: seconds of CPU a trial.
        last: the same of the last tenth of them.
        pace: trials a second.
        growth: MiB of memory a thousand trials.
    """

    cpu: float
    last: float
    pace: float
    growth: float

    @classmethod
    def of(cls, ends: Sequence[Mark], at_a_time: int) -> "Cost":
        """From the end of the first ``at_a_time`` trials, by when all workers are there, to that of the last."""
        first, tenth, late, last = (ends[place] for place in (at_a_time, len(ends) // 10, -len(ends) // 10, -1))
        tail = len(ends) // 10 - 1
        return cls(
            (last.cpu - first.cpu) / (len(ends) - at_a_time - 1),
            (last.cpu - late.cpu) / max(1, tail),
            (len(ends) - at_a_time - 1) / (last.seconds - first.seconds),
            (last.memory - tenth.memory) / MIB / (0.9 * len(ends)) * 1000,
        )

    def __str__(self) -> str:
        return (
            f"{1000 * self.cpu:.1f} ms of CPU a trial, {1000 * self.last:.1f} in the last tenth, {self.pace:.1f} a "
            f"second, {self.growth:.1f} MiB a thousand trials"
        )


def measure(full: bool) -> list[Result]:
    """Deciding, on either database and beside Optuna; then the loop."""
    trials = FULL_TRIALS if full else TRIALS
    print(f"{trials} trials each; of Optuna {TRIALS}", flush=True)
    decided = {kind: {many: _measured(deciding, kind, many, trials) for many in AT_A_TIME} for kind in KINDS}
    peer = _measured(plain_optuna, KINDS[0], AT_A_TIME[-1], TRIALS)
    ours = decided[KINDS[0]][AT_A_TIME[-1]] if not full else _measured(deciding, KINDS[0], AT_A_TIME[-1], TRIALS)
    kinds = KINDS if full else KINDS[:1]
    looped = {kind: {many: _measured(loop, kind, many, trials) for many in AT_A_TIME} for kind in kinds}
    return [
        *(_deciding(kind, found) for kind, found in decided.items()),
        Result("deciding against Optuna", peer.cpu / ours.cpu, 2, detail=f"{peer.cpu:.3f} and {ours.cpu:.3f} s of CPU"),
        *(_looping(kind, found) for kind, found in looped.items()),
        _memory(looped[KINDS[0]], trials),
    ]


def _deciding(kind: str, found: dict[int, Cost]) -> Result:
    told = ", ".join(f"{1000 * cost.cpu:.0f} ms with {many}" for many, cost in found.items())
    most = found[AT_A_TIME[-1]]
    detail = f"CPU a trial: {told} at a time; {1000 * most.last:.0f} ms in the last tenth"
    return Result(f"deciding, {kind}", most.cpu, 0.04, unit="s", at_least=False, detail=detail)


def _looping(kind: str, found: dict[int, Cost]) -> Result:
    told = ", ".join(f"{cost.pace:.1f} with {many}" for many, cost in found.items())
    cpu = ", ".join(f"{1000 * cost.cpu:.0f}" for cost in found.values())
    detail = f"{told} workers; CPU a trial {cpu} ms"
    return Result(f"trials of one driver, {kind}", found[AT_A_TIME[-1]].pace, 10, unit="a second", detail=detail)


def _memory(found: dict[int, Cost], trials: int) -> Result:
    told = ", ".join(f"{cost.growth:.0f} with {many}" for many, cost in found.items())
    worst = max(cost.growth for cost in found.values())
    detail = f"{told} workers, over {trials} trials"
    return Result("memory of a thousand trials", worst, 20, unit="MiB", at_least=False, detail=detail)


def _measured(call: Callable[[str, int, int], list[Mark]], kind: str, at_a_time: int, trials: int) -> Cost:
    """In a process of its own, whose memory is nothing else's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        cost = Cost.of(pool.submit(call, kind, at_a_time, trials).result(), at_a_time)
    print(f"  {call.__name__}, {kind}, {at_a_time} at a time: {cost}, load {os.getloadavg()[0]:.2f}", flush=True)
    return cost


@contextmanager
def searching(kind: str, trials: int, folder: Path) -> Iterator[StudySearch]:
    """The study of one launch, as ``search.trials.course`` makes it."""
    model, space = load_model("cnn"), SharedSpace()
    terms = {"objective": "auc", "precision": "fp32", "layout": "contiguous", "threads": 1, "pruner": "sha"}
    definition = define(model, None, lock_digest="0" * 64, epochs=EPOCHS, **terms)
    with database(kind, folder) as url, quiet_optuna():
        storage = open_storage(url)
        ledger = Ledger(storage.engine)
        with Presence(ledger, "bench") as presence:
            yield StudySearch(
                create_or_resume(
                    storage, "bench-cnn", definition, sampler=make_sampler("tpe", 0), pruner=make_pruner("sha", EPOCHS)
                ),
                model,
                storage=storage,
                ledger=ledger,
                presence=presence,
                make_sampler=lambda seed: make_sampler("tpe", seed, space),
                wanted=trials,
                epochs=EPOCHS,
                objective="auc",
                seed=0,
                checkpoints=folder / "checkpoints",
            )
        storage.engine.dispose()


def deciding(kind: str, at_a_time: int, trials: int) -> list[Mark]:
    """The ends of trials that no worker runs, each reporting in turn."""
    with scratch_folder() as folder, searching(kind, trials, folder) as search:
        marks = Marks(search)
        work = Searches([search], until=None, watcher=marks, check=lambda: None)
        running: deque[tuple[Job, int]] = deque()
        asking = True
        while asking or running:
            while asking and len(running) < at_a_time:
                asking = (asked := work.next_job()) is not None  # who was told that there is none asks no more
                running += [(asked, 1)] if asked is not None else []
            job, epoch = running.popleft()
            work.tick()
            if not work.report(job, report_of(job, epoch)):
                running.append((job, epoch + 1))
    return marks.ends


def plain_optuna(kind: str, at_a_time: int, trials: int) -> list[Mark]:
    """The same by Optuna alone."""
    model, ends = load_model("cnn"), list[Mark]()
    with scratch_folder() as folder, database(kind, folder) as url, quiet_optuna():
        full = url.replace("postgresql://", "postgresql+psycopg://")
        sampler, pruner = make_sampler("tpe", 0), make_pruner("sha", EPOCHS)
        study = optuna.create_study(storage=full, sampler=sampler, pruner=pruner, direction="maximize")
        running: deque[tuple[optuna.Trial, int]] = deque()
        begun = 0
        while len(ends) < trials:
            while len(running) < at_a_time and begun < trials:
                running.append((study.ask(), 1))
                model.suggest(running[-1][0])
                begun += 1
            trial, epoch = running.popleft()
            if _ended(study, trial, epoch, folder):
                ends.append(Mark.now())
            else:
                running.append((trial, epoch + 1))
    return ends


def _ended(study: optuna.Study, trial: optuna.Trial, epoch: int, folder: Path) -> bool:
    """Whether a trial of plain Optuna ends with this epoch."""
    job = Job("", "cnn", trial.number, {}, 7919 * trial.number, EPOCHS, EPOCHS, folder)
    value = report_of(job, epoch).scores["auc"]
    trial.report(value, epoch)
    if epoch == EPOCHS:
        study.tell(trial, value)
        return True
    if trial.should_prune():
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return True
    return False


def loop(kind: str, at_a_time: int, trials: int) -> list[Mark]:
    """The ends of trials of a driver with so many logical workers."""
    with scratch_folder() as folder, searching(kind, trials, folder) as search:
        marks = Marks(search)
        settings = WorkerSettings(workers=at_a_time, cpus_per_worker=1.0)
        with LastWords("python -m benchmarks.cluster", folder / "log") as words, RaySession(settings, words) as ray:
            ray.ready()
            run_work(
                Searches([search], until=None, watcher=marks, check=ray.check),
                _nothing(folder),
                trainable=AtOnce,
                workers=at_a_time,
                resources={"cpu": 1.0},
                scratch=folder / "tune",
                tell=partial(print, "   "),
            )
    return marks.ends


def _nothing(folder: Path) -> WorkerContext:
    """What workers are given that look at nothing."""
    return WorkerContext(folder, "cpu", "fp32", 1, {"cnn": "contiguous"}, "auc", {"cnn": None})


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
