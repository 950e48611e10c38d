"""The soak of one database: launches by the plan, kills, and at the end what the database says."""

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from search.trials.launches import is_alive
from search.workers.bridge import DEATHS_FORGIVEN
from soak.databases import database
from soak.launched import MODEL, STUDY, EndedError, LaunchedSearch, launched
from soak.plan import END, START_UP, TRAINING, WHOLE, Launch, draw
from studies.files import write_whole
from studies.ledger import invariants
from studies.storage.studies import open_storage, quiet_optuna

_MORE = {START_UP: 4, TRAINING: 8, END: 2, WHOLE: 4}
"""Trials that a launch has still to do at least, so that it does not end before it is killed."""
_ATTEMPTS = 5

Say = Callable[[str], None]


@dataclass
class Standing:
    """How far a soak has come; kept in a file, so that it can go on.

    Attributes:
        done: launches of the plan that are behind it.
        drivers: kills of drivers by phase.
        workers: kills of workers.
        may_fail: trials that these kills may have failed: a trial does whose worker dies three times in one launch.
        launches: starts of the command.
        wanted: trials asked for so far; it only grows.
        left_behind: processes that did not end with their driver.
        seconds: that it took.
        problems: whatever went wrong on the way.
    """

    done: int = 0
    drivers: dict[str, int] = field(default_factory=dict)
    workers: int = 0
    may_fail: int = 0
    launches: int = 0
    wanted: int = 0
    left_behind: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Soak:
    """One database under fire."""

    def __init__(self, kind: str, folder: Path, plan: list[Launch], say: Say) -> None:
        """Goes on where an earlier soak in ``folder`` was cut off."""
        self._kind = kind
        self._folder = folder
        self._plan = plan
        self._say = say
        self._file = folder / "standing.json"
        self.standing = Standing(**json.loads(self._file.read_text())) if self._file.exists() else Standing()

    def run(self) -> str:
        """Runs the plan to its end; one line of figures. What went wrong is in ``standing.problems``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="soak-"))
        try:
            with database(self._kind, self._folder) as url:
                for launch in self._plan[self.standing.done :]:
                    self._launch(launch, url, scratch)
                states, broken = look(url, self.standing.wanted, self.standing.may_fail)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.standing.problems += broken
        return self._figures(states)

    def _launch(self, launch: Launch, url: str, scratch: Path) -> None:
        """One entry of the plan; again, with more to do and a shorter delay, where it ended before it was killed."""
        for attempt in range(_ATTEMPTS):
            began = time.monotonic()
            more = _MORE[launch.phase] * 2**attempt
            self.standing.wanted = max(self.standing.wanted, finished(url) + more)
            self.standing.launches += 1
            self._keep()  # before the kill: the number that was asked for must be known after a cut
            delay = launch.delay / 2**attempt
            with launched(self._folder, url, self.standing.wanted, scratch) as search:
                code = self._fire(search, launch, delay)
            self.standing.seconds += time.monotonic() - began
            if self._is_done(launch, delay, code):
                self.standing.done += 1
                self._keep()
                return
        self._problem(f"the search ended {_ATTEMPTS} times before it could be killed in its phase {launch.phase}")

    def _fire(self, search: LaunchedSearch, launch: Launch, delay: float) -> int:
        """Kills what the plan says, the driver so many seconds into its phase; the driver's exit code."""
        before = self.standing.workers
        try:
            if launch.phase != START_UP:
                search.until_training()
            for delay in launch.workers:
                search.let_run(delay)
                search.kill_worker(self.standing.workers)
                self.standing.workers += 1
            if launch.phase == END:
                search.until_finished()
            if launch.phase != WHOLE:
                search.let_run(delay)
                self.standing.left_behind += search.kill()
        except EndedError:
            pass
        self.standing.may_fail += (self.standing.workers - before) // (DEATHS_FORGIVEN + 1)
        return search.end()

    def _is_done(self, launch: Launch, delay: float, code: int) -> bool:
        """Takes note of how a launch ended."""
        killed = code == -9
        if killed:
            self.standing.drivers[launch.phase] = self.standing.drivers.get(launch.phase, 0) + 1
        elif code != 0:
            printed = (self._folder / "output.log").read_text(encoding="utf-8", errors="replace")
            self._problem(f"a launch ended by itself with exit code {code}: {printed[-1000:]}")
        how = f"driver killed, {launch.phase} +{delay:.1f} s" if killed else f"ended with exit code {code}"
        self._say(f"{self._kind}: {self._progress()}: {how}")
        return killed or launch.phase == WHOLE

    def _progress(self) -> str:
        now, all_workers = self.standing, sum(len(launch.workers) for launch in self._plan)
        drivers = f"{sum(now.drivers.values())} of {len(self._plan) - 1} drivers"
        return f"{drivers}, {now.workers} of {all_workers} workers, {now.wanted} trials asked for"

    def _problem(self, problem: str) -> None:
        self.standing.problems.append(problem)
        self._say(f"{self._kind}: PROBLEM: {problem}")

    def _keep(self) -> None:
        write_whole(self._file, json.dumps(asdict(self.standing)))

    def _figures(self, states: Counter[str]) -> str:
        now = self.standing
        phases = ", ".join(f"{count} {phase}" for phase, count in sorted(now.drivers.items()))
        trials = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return (
            f"{self._kind}: {sum(now.drivers.values())} driver kills ({phases}), {now.workers} worker kills, "
            f"{now.launches} launches, {sum(states.values())} trials of {now.wanted} ({trials}), "
            f"{now.left_behind} processes left behind, {len(now.problems)} problems, {now.seconds / 60:.0f} min"
        )


def soak(kind: str, folder: Path, *, seed: int, drivers: int, workers: int, say: Say) -> tuple[str, list[str]]:
    """The soak of one database; one line of figures, and all problems."""
    one = Soak(kind, folder, draw(seed, drivers, workers), say)
    return one.run(), one.standing.problems


def finished(url: str) -> int:
    """Trials that have ended, by the database; 0 where there is no study yet."""
    return sum(trial.state.is_finished() for trial in _trials(url))


def look(url: str, wanted: int, may_fail: int) -> tuple[Counter[str], list[str]]:
    """Trials by state, and everything that is not as promised, from the database alone.

    Args:
        url: of the database.
        wanted: trials that were asked for.
        may_fail: trials whose failure is explained by what was killed.
    """
    states = Counter(trial.state.name for trial in _trials(url))
    storage = open_storage(url)
    problems = invariants.broken(storage, is_alive)
    storage.engine.dispose()
    ended = sum(states[state.name] for state in TrialState if state.is_finished())
    if ended != wanted:
        problems.append(f"{ended} trials have ended, {wanted} were asked for")
    if states["FAIL"] > may_fail:
        problems.append(f"{states['FAIL']} trials are FAIL, the kills explain {may_fail}")
    problems += [f"{states[state]} trials are {state}" for state in ("RUNNING", "WAITING") if states[state]]
    return states, problems


def _trials(url: str) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(url)
    try:
        with quiet_optuna():
            name = f"{STUDY}-{MODEL}"
            if name not in optuna.get_all_study_names(storage):
                return []
            return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    finally:
        storage.engine.dispose()
