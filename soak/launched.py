"""One launch of the search as a process: what it has reached, by its log, and its end, by force or by itself."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from search.workers._ray import NICENESS

ROOT = Path(__file__).resolve().parent.parent
STUDY, MODEL = "soak", "cnn"
_SEARCH = ("--model", MODEL, "--data", "synthetic:300", "--study", STUDY, "--epochs", "3", "--workers", "2")
_WORKERS = ("TrialWorker", "ResourceTrainable")
_LOOK_SECONDS = 0.05
_REAP_SECONDS = 30.0
_LONGEST_SECONDS = 3600.0


class EndedError(Exception):
    """The launch ended by itself while something was waited for."""


def workers_of(driver: int) -> list[psutil.Process]:
    """Its workers: they call themselves ray::TrialWorker as they begin, ray::ResourceTrainable.train in an epoch."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(driver).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(name in part for part in child.cmdline() for name in _WORKERS):
                    found.append(child)
    return found


class LaunchedSearch:
    """A running ``search.launch`` with all its processes."""

    def __init__(self, process: subprocess.Popen[bytes], logs: Path, trials: int) -> None:
        self._process = process
        self._logs = logs
        self._trials = trials
        self._before = set(logs.glob("*.log"))

    def until_training(self) -> None:
        """Waits until a trial was handed out."""
        self._until(lambda: " begins, " in self._log())

    def until_finished(self) -> None:
        """Waits until the last trial has ended; then the driver is about to end as well."""
        self._until(lambda: f"{STUDY}-{MODEL}: {self._trials} of {self._trials})" in self._log())

    def let_run(self, seconds: float) -> None:
        """Waits.

        Raises:
            EndedError: it ended before.
        """
        until = time.monotonic() + seconds
        self._until(lambda: time.monotonic() >= until)

    def kill_worker(self, number: int) -> None:
        """Waits for processes that train, and kills one of them; ``number`` picks it."""
        self._until(lambda: bool(workers_of(self._process.pid)))
        found = workers_of(self._process.pid)
        if found:
            with suppress(psutil.NoSuchProcess):
                found[number % len(found)].kill()

    def kill(self) -> int:
        """Kills the driver; returns how many of its processes did not end with it and had to be killed as well."""
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            _, left = psutil.wait_procs(family, timeout=_REAP_SECONDS)
            for one in left:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            return len(left)
        return 0

    def end(self) -> int:
        """Waits for its end; the exit code, -9 where it was killed."""
        return self._process.wait(_LONGEST_SECONDS)

    def _log(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in set(self._logs.glob("*.log")) - self._before)

    def _until(self, condition: Callable[[], bool]) -> None:
        patience = time.monotonic() + _LONGEST_SECONDS
        while not condition():
            if self._process.poll() is not None or time.monotonic() > patience:
                raise EndedError
            time.sleep(_LOOK_SECONDS)


@contextmanager
def launched(folder: Path, url: str, trials: int, scratch: Path) -> Iterator[LaunchedSearch]:
    """The search, started now; whatever is left of it at the end of the block is ended.

    Args:
        folder: of its results, and of ``output.log`` with what it prints.
        url: of the database; handed over in the environment.
        trials: in the end.
        scratch: for temporary files of it and of Ray; a short path, as Ray puts sockets into it.
    """
    runs = folder / "runs"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HISTOTUNE_STORAGE": url,
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
        NICENESS: "0",  # else workers starve on a busy machine, and nothing is left to kill
        "TMPDIR": str(scratch),
        "RAY_TMPDIR": str(scratch),
    }
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "search.launch", *_SEARCH, "--trials", str(trials), "--runs", str(runs)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is ours to answer
        )
        search = LaunchedSearch(process, runs / STUDY / "logs", trials)
        try:
            yield search
        finally:
            search.kill()
