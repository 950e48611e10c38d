"""A copy of the packages with one more model in it, and commands run in that copy as a user would run them.

The extra model is small, so that a whole search takes seconds, and does inside a worker what a test wants to see
done there: fail, hang, look around.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forks import Forked, Forks

ROOT = Path(__file__).resolve().parent.parent
FORKS = Forks()
Process = subprocess.Popen[str] | Forked
PACKAGES = ("search", "models", "data_utils", "studies")

TINY = '''"""One convolution: the smallest model that learns something."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from models._spec import Recipe

DEFAULT = {"learning_rate": 0.01, "batch_size": 64}


@dataclass(frozen=True)
class TinyConfig:
    recipe: Recipe


def suggest(trial):
    return TinyConfig(
        Recipe(
            optimizer="adamw",
            learning_rate=trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True),
            weight_decay=0.0,
            batch_size=trial.suggest_categorical("batch_size", [32, 64]),
            schedule="constant",
            warmup=0.0,
            label_smoothing=0.0,
            class_weighting=False,
            stain_jitter=0.0,
        )
    )


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=2)
        self.second = nn.Linear(8, 1)
        self.pause = float(os.environ.get("TINY_PAUSE", "0"))

    def forward(self, images):
        if self.pause:
            time.sleep(self.pause)
        return self.second(self.first(images).relu().mean(dim=(2, 3)))[:, 0]


def build(config, weights):
    probe = os.environ.get("TINY_PROBE")
    if probe:
        exec(Path(probe).read_text(), {})
    return Tiny()
'''


@dataclass
class Tree:
    """The copy, and where its commands leave their results.

    Attributes:
        folder: of the packages.
        runs: of the results.
        storage: URL of the database; None for the one in ``runs``.
        environment: of every command, beside that of the tests.
        finalists: that a finalization retrains of each model, beside the default one, where it does not say so itself;
            None for as many as it takes by itself.
        draws: of patients for the bands of its curves, likewise.
        fresh: whether each command is an interpreter of its own, as a user starts it; else a fork of one that has
            imported the libraries (``tests/forks.py``), and so are its workers (``tests/forked_workers.py``).
    """

    folder: Path
    runs: Path
    storage: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    finalists: int | None = 1
    draws: int | None = 200
    fresh: bool = False

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line of ``search.<name>`` on this tree's results, with one worker unless it says how many."""
        storage = [] if self.storage is None else ["--storage", self.storage]
        if name in ("launch", "finalize") and "--workers" not in arguments:
            arguments = (*arguments, "--workers", "1")  # each is 8 seconds of CPU until it trains
        told = "--config" in arguments  # by a file
        if name == "finalize" and "--finalists" not in arguments and self.finalists is not None and not told:
            arguments = (*arguments, "--finalists", str(self.finalists))
        if name == "finalize" and "--draws" not in arguments and self.draws is not None and not told:
            arguments = (*arguments, "--draws", str(self.draws))
        common = [] if name in ("predict", "heatmap", "export", "move") else ["--runs", str(self.runs), *storage]
        return [sys.executable, "-m", f"search.{name}", *arguments, *common]

    def run(
        self, name: str, *arguments: str, expect: int = 0, seconds: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        command, environment = self.command(name, *arguments), self.environ()
        if self.fresh:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
        else:
            done = FORKS.run(command, folder=self.folder, environment=environment, seconds=seconds)
        assert done.returncode == expect, f"{name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, name: str, *arguments: str) -> Process:
        """Starts a command, to be watched and ended by the test."""
        if not self.fresh:
            return FORKS.start(self.command(name, *arguments), folder=self.folder, environment=self.environ())
        return subprocess.Popen(
            self.command(name, *arguments),
            cwd=self.folder,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def status(self, study: str) -> dict[str, Any]:
        """What search.status says of one study."""
        told = json.loads(self.run("status", "--json").stdout)
        return next(entry for entry in told if entry["study"] == study)

    def environ(self) -> dict[str, str]:
        """Of every command."""
        return {**os.environ, "PYTHONPATH": str(self.folder), **self.environment}


def copy_tree(folder: Path, runs: Path) -> Tree:
    """A copy of the packages with ``models/tiny.py`` in it; what Python has compiled of them already comes along."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    (folder / "models" / "tiny.py").write_text(TINY)
    return Tree(folder, runs)


def wait_until(condition: Callable[[], bool], seconds: float = 240, what: str = "it") -> None:
    """Waits for a condition, looking several times a second."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)


def stored_values(database: Path) -> dict[int, list[int]]:
    """Trial number -> steps with an intermediate value, read past Optuna."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "select t.number, v.step from trials t join trial_intermediate_values v using (trial_id) order by 1, 2"
        ).fetchall()
    connection.close()
    steps: dict[int, list[int]] = {}
    for number, step in rows:
        steps.setdefault(number, []).append(step)
    return steps


def epochs_stored(tree: Tree) -> int:
    """Intermediate values in the database so far."""
    database = tree.runs / "studies.db"
    if not database.exists():
        return 0
    try:
        return sum(len(steps) for steps in stored_values(database).values())
    except sqlite3.OperationalError:
        return 0  # its tables are being made at this moment


def end(process: Process, number: int = signal.SIGKILL) -> str:
    """Sends a signal, waits for the end, and gives back what the process printed."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    return output
