"""What a user sees while a search or a retraining runs: a live view, or plain lines where nobody watches."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from data_utils.command import worded
from search.training.jobs import EpochReport, Job

LOGGER = logging.getLogger("histotune")
_CALLED: ContextVar[bool | None] = ContextVar("called", default=None)
"""Whether progress is shown, where Python has called the work; None where a command does it."""
_COLOURS = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red", "LOST": "magenta", "RUNNING": "cyan"}


@dataclass(frozen=True)
class Standing:
    """How one study stands.

    Attributes:
        states: trials by state.
        wanted: finished trials in the end.
        best: objective of the best COMPLETE trial, with its number and parameters; None where there is none.
    """

    states: Mapping[str, int]
    wanted: int
    best: tuple[float, int, Mapping[str, object]] | None

    @property
    def finished(self) -> int:
        """COMPLETE, PRUNED and FAIL together."""
        return sum(self.states.get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))


@dataclass
class _Activity:
    """What one worker does."""

    job: Job
    began: float
    report: EpochReport | None = None
    best: tuple[float, int] = (float("-inf"), 0)  # score and epoch

    def note(self, report: EpochReport, objective: str) -> None:
        """Takes an epoch."""
        self.report = report
        value = report.scores.get(objective)
        if value is not None and value > self.best[0]:
            self.best = value, report.epoch


@dataclass
class Terminal:
    """Shows a run. ``standings`` is asked for whenever a trial has ended.

    Attributes:
        title: of the run.
        objective: name of the score that is shown.
        standings: study -> how it stands now.
    """

    title: str
    objective: str
    standings: Callable[[], dict[str, Standing]]
    console: Console = field(default_factory=lambda: screen())

    def __post_init__(self) -> None:
        self._running: dict[str, _Activity] = {}
        self._now = self.standings()
        self._began = time.monotonic()
        self._at_begin = self._finished()
        self._live: Live | None = None
        self._warned: set[str] = set()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the view within the block, as it was at the end of the block after it."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._view, console=self.console, refresh_per_second=2) as live:
            self._live = live
            yield
            self._now = self.standings()

    def begun(self, job: Job) -> None:
        """A job was handed out."""
        self._running[job.label] = _Activity(job, time.monotonic())
        LOGGER.info("%s begins, seed %d, %s", job.label, job.seed, _parameters(job.params))

    def epoch(self, job: Job, report: EpochReport, state: str) -> None:
        """A job reported; ``state`` is what it is in now."""
        activity = self._running.get(job.label)
        if activity is not None:
            activity.note(report, self.objective)
        for warning in report.warnings:
            self.warn(warning)
        if report.failure is None:
            LOGGER.debug("%s epoch %d: %s", job.label, report.epoch, _scores(report))
        if state != "RUNNING":
            self._running.pop(job.label, None)
            self._now = self.standings()
            self._say(job, report, state, activity)

    def warn(self, warning: str) -> None:
        """Shows a line beside the view; once, whoever says it first."""
        if warning not in self._warned:
            self._warned.add(warning)
            LOGGER.warning("%s", warning)
            say(self.console, warning)

    def _say(self, job: Job, report: EpochReport, state: str, activity: _Activity | None) -> None:
        line = f"{job.label} {state}{self._outcome(report)}{_best(activity)} ({self._counted()})"
        LOGGER.info("%s", line)
        if self._live is None:
            say(self.console, f"{datetime.now(UTC):%H:%M:%S} {line}")

    def _outcome(self, report: EpochReport) -> str:
        if report.failure is not None:
            return f": {report.failure}"
        value = report.scores.get(self.objective)
        score = "" if value is None else f", {self.objective} {value:.4f}"
        return f" after epoch {report.epoch}{score}"

    def _counted(self) -> str:
        return "; ".join(f"{name}: {study.finished} of {study.wanted}" for name, study in self._now.items())

    def _finished(self) -> int:
        return sum(study.finished for study in self._now.values())

    def _view(self) -> Group:
        return Group(Text(f"{self.title}   {self._clock()}", style="bold"), self._studies(), self._workers())

    def _clock(self) -> str:
        elapsed = time.monotonic() - self._began
        done = self._finished() - self._at_begin
        left = sum(max(0, study.wanted - study.finished) for study in self._now.values())
        remaining = f", about {_span(elapsed / done * left)} left" if done and left else ""
        return f"{_span(elapsed)} so far{remaining}"

    def _studies(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("study", "finished", "trials by state", f"best {self.objective}", "its parameters"):
            table.add_column(heading, style="dim" if heading == "its parameters" else None, overflow="fold")
        for name, study in self._now.items():
            best = study.best
            table.add_row(
                name,
                f"{study.finished}/{study.wanted}",
                _states(study.states),
                "" if best is None else f"{best[0]:.4f} (trial {best[1]})",
                "" if best is None else _parameters(best[2]),
            )
        return table

    def _workers(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("running", "epoch", self.objective, "seconds"):
            table.add_column(heading)
        for activity in list(self._running.values()):
            job, report = activity.job, activity.report
            value = report.scores.get(self.objective) if report is not None else None
            table.add_row(
                job.label,
                f"{report.epoch if report is not None else job.reported}/{job.last_epoch}",
                "" if value is None else f"{value:.4f}",
                f"{time.monotonic() - activity.began:.0f}",
            )
        return table


def screen(*, stderr: bool = False) -> Console:
    """Where a command shows what it does. Called from Python, that is standard output, or nowhere.

    In a notebook plain lines are shown: Rich would make a piece of HTML of each, and a live view needs widgets there.
    """
    progress = _CALLED.get()
    if progress is None:
        return Console(stderr=stderr)
    return Console(quiet=not progress, force_jupyter=False, force_terminal=progress and sys.stdout.isatty())


@contextmanager
def called(*, progress: bool) -> Iterator[None]:
    """Within the block the work is Python's, and shown on standard output or not at all."""
    before = _CALLED.set(progress)
    try:
        yield
    finally:
        _CALLED.reset(before)


def _best(activity: _Activity | None) -> str:
    """The best epoch of a job that was not its last, by which a trial is ranked; all are known where it began here."""
    if activity is None or activity.report is None or activity.job.reported or activity.report.failure is not None:
        return ""
    value, epoch = activity.best
    return f", best {value:.4f} after epoch {epoch}" if 0 < epoch < activity.report.epoch else ""


def say(console: Console, text: str) -> None:
    """Prints text as it is, but for its commands: no markup read in it, no line broken in the middle of a path."""
    console.print(Text(worded(text)), soft_wrap=True)


class _RunLog(logging.FileHandler):
    """The log file of a run."""


def log_to(folder: Path, command: str, level: str) -> Path:
    """Begins a log file of its own for this run; returns its path."""
    logging.raiseExceptions = False  # a full disk must not put a traceback for each line on the terminal
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{command}-{datetime.now(UTC):%Y%m%d-%H%M%S}.log"
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for before in [one for one in LOGGER.handlers if isinstance(one, _RunLog)]:
        LOGGER.removeHandler(before)
        before.close()
    LOGGER.addHandler(handler)  # beside those that a caller of search.api may have
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False
    return path


def _states(states: Mapping[str, int]) -> Text:
    parts = [
        Text(f"{count} {state}", style=_COLOURS.get(state, "")) for state, count in sorted(states.items()) if count
    ]
    return Text(", ").join(parts)


def _parameters(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in params.items())


def _scores(report: EpochReport) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in report.scores.items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
