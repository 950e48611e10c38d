"""Where the benchmarks get patches, and how they run our command and the peers': as a user would, timed."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from data_utils.errors import DataError
from data_utils.split.prepare import Prepared, prepare
from models._registry import load_model
from models._weights import Weights, vgg16_weights
from search.workers._ray import NICENESS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("search", "models", "data_utils", "studies")
LARGE = "idc_patches.zip"  # of the shared folder: patches with patients, more than those of ``patches``
WEIGHTS_FILE = "vgg16_imagenet_features.safetensors"
SETTINGS = ("HISTOTUNE_", "TUNE_", "OMP_")  # beginnings of variables that no benchmark takes over
STUDY = "bench"
WORKERS = 2  # of our command, one core each
FIXED: Mapping[str, Mapping[str, Any]] = {
    "cnn": {},
    "vgg16": {"input_size": 50},
}  # larger inputs take up to 4 x as long
SPLIT, SPLIT_SEED = (70, 15, 15), 0  # the defaults of search.launch

EMPTY = '''"""A network that computes nothing, with the search space of cnn: its epochs are nearly empty."""

import torch
from models import cnn
from torch import nn

DEFAULT, suggest = cnn.DEFAULT, cnn.suggest


class Empty(nn.Module):
    def __init__(self):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return self.logit.expand(len(images))


def build(config, weights):
    return Empty()
'''


@dataclass(frozen=True)
class Source:
    """Patches to search on.

    Attributes:
        data: what --data takes.
        words: what they are, for people.
    """

    data: str
    words: str


def shared() -> Path:
    """Folder of real patches and weights, which may not be there."""
    return Path(os.environ.get("HISTOTUNE_SHARED", ROOT.parent / "shared"))


def patches(count: int | None, folder: Path) -> Source:
    """Real patches where there are any, else made-up ones.

    Args:
        count: how many, of whole patients drawn at random up to the last one; None for all (5,547 if made up).
        folder: a new one, where a part of the real patches is written.
    """
    real = shared() / "data"
    if not (real / "X.npy").is_file():
        made_up = f"synthetic:{count or 5547}"
        return Source(made_up, f"{made_up} (no real patches: $HISTOTUNE_SHARED is not there)")
    if count is None:
        return Source(str(real), "all real patches")
    _write_part(real, count, folder)
    return Source(str(folder), f"{count} real patches")


def chosen_patches(data: str | None, folder: Path) -> Source:
    """What a user of a benchmark names, else the large set of real patches, else as ``patches``.

    Args:
        data: what --data takes; None for no choice.
        folder: as of ``patches``.
    """
    real = shared() / "data" / LARGE
    if data is None and not real.is_file():
        return patches(None, folder)
    return Source(data or str(real), data or LARGE)


def _write_part(real: Path, count: int, folder: Path) -> None:
    patients = np.load(real / "patients.npy", allow_pickle=False)
    rng = np.random.default_rng(0)
    order = rng.permutation(np.unique(patients))
    rows = np.concatenate([np.flatnonzero(patients == patient) for patient in order])[:count]
    folder.mkdir(parents=True)
    for name in ("X", "Y", "patients"):
        column = np.load(real / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        np.save(folder / f"{name}.npy", column[rows], allow_pickle=False)


@contextmanager
def refusing(parser: argparse.ArgumentParser) -> Iterator[None]:
    """What is wrong with data, in the one line that a command has for it; exit code 2."""
    try:
        yield
    except DataError as error:
        parser.error(str(error))


def prepared(source: Source, folder: Path) -> Prepared:
    """The same cleaning and the same split as ``search.launch`` makes of a source, for the peers to train on."""
    return prepare(source.data, folder, name=STUDY, fractions=SPLIT, seed=SPLIT_SEED, lock=None)


def weights() -> Weights | None:
    """ImageNet weights of vgg16, random ones (None) where they are not at hand."""
    return vgg16_weights(weights_option(), os.environ)


def weights_option() -> str:
    """What --vgg16-weights takes; no benchmark downloads anything."""
    path = shared() / "weights" / WEIGHTS_FILE
    return str(path) if path.is_file() else "none"


def configurations(model: str, count: int, **fixed: Any) -> list[dict[str, Any]]:
    """The default configuration of a model and ``count - 1`` random ones of its space, always the same.

    Args:
        model: of a file in models/.
        count: how many in all.
        fixed: parameters that have the same value in all of them.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = load_model(model)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = [dict(found.default) | fixed]
    while len(chosen) < count:
        trial = study.ask()
        found.suggest(trial)
        chosen.append(dict(trial.params) | fixed)
    return chosen


def write_configurations(path: Path, model: str, count: int) -> Path:
    """A file for ``--enqueue``, and for the peers' ``--first``: ``configurations`` of a model, vgg16 at 50 pixels."""
    path.write_text(json.dumps(configurations(model, count, **FIXED[model])), encoding="utf-8")
    return path


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="histotune-bench-") as folder:
        yield Path(folder)


def copy_with_empty_model(folder: Path) -> Path:
    """A copy of the packages with ``models/empty.py`` in it, which is no model of ours."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "models" / "empty.py").write_text(EMPTY, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Command:
    """A command line, and where it runs."""

    module: str
    arguments: tuple[str, ...]
    folder: Path = ROOT

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Starts it; what it prints goes to ``log``."""
        line = [sys.executable, "-m", self.module, *self.arguments]
        with log.open("wb") as out:
            return subprocess.Popen(line, cwd=self.folder, env=self._environ(), stdout=out, stderr=subprocess.STDOUT)

    def seconds(self, log: Path) -> float:
        """Runs it to its end; seconds from start to exit.

        Raises:
            RuntimeError: it failed; with the end of what it printed.
        """
        began = time.perf_counter()
        code = self.start(log).wait()
        seconds = time.perf_counter() - began
        if code:
            raise RuntimeError(f"python -m {self.module} ended with {code}:\n{log.read_text(errors='replace')[-3000:]}")
        return seconds

    def _environ(self) -> dict[str, str]:
        """What is set here, without settings of a developer that would change either side."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        # Ray's workers would give way to whatever else runs, ours and the peers' alike.
        return {**mine, "PYTHONPATH": str(self.folder), NICENESS: "0", "RAY_USAGE_STATS_ENABLED": "0"}


def launch(model: str, source: Source, runs: Path, *more: str, folder: Path = ROOT) -> Command:
    """``search.launch`` with two workers of one core each."""
    fixed = ("--workers", str(WORKERS), "--cpus-per-worker", "1", "--device", "cpu", "--study", STUDY)
    weights = () if model in ("cnn", "empty") else ("--vgg16-weights", weights_option())
    return Command("search.launch", ("--model", model, *fixed, *weights, *place(source, runs), *more), folder)


def place(source: Source, runs: Path) -> tuple[str, ...]:
    """Flags for the patches, and for where results go."""
    return ("--data", source.data, "--runs", str(runs), "--storage", f"sqlite:///{runs}/studies.db")


def stored_trials(runs: Path, model: str) -> list[FrozenTrial]:
    """The trials that a launch left in its database."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=f"{STUDY}-{model}", storage=f"sqlite:///{runs}/studies.db")
    return study.get_trials(deepcopy=False)


@dataclass(frozen=True)
class Curve:
    """One trial of a peer: when (seconds since the epoch of Unix) it reported which validation AUC."""

    times: tuple[float, ...]
    aucs: tuple[float, ...]


def read_curves(out: Path) -> list[Curve]:
    """What a peer wrote with --out."""
    entries = json.loads(out.read_text(encoding="utf-8"))
    return [Curve(tuple(entry["times"]), tuple(entry["aucs"])) for entry in entries]


def write_curves(out: Path, curves: Sequence[Curve]) -> None:
    """What ``read_curves`` reads."""
    entries = [{"times": curve.times, "aucs": curve.aucs} for curve in curves]
    out.write_text(json.dumps(entries), encoding="utf-8")


def pace(ends: Sequence[float]) -> float:
    """Seconds a trial, from the end of the first to the end of the last: without the start of anything."""
    if len(ends) < 2:
        raise ValueError(f"a pace needs at least 2 trials, not {len(ends)}")
    return (max(ends) - min(ends)) / (len(ends) - 1)


def first_batch(trials: Sequence[FrozenTrial]) -> float:
    """When the first of these finished trials began to train; seconds since the epoch of Unix."""
    costs = [trial.user_attrs["cost"] for trial in trials]
    worked = [cost["training"] + cost["evaluation"] for cost in costs]
    return min(trial.datetime_complete.timestamp() - seconds for trial, seconds in zip(trials, worked, strict=True))


def ends(trials: Sequence[FrozenTrial]) -> list[float]:
    """When finished trials ended, in order; seconds."""
    return sorted(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete is not None)
