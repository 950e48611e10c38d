"""A network of a benchmark, trained as a worker trains it, without the worker; two at a time where there are many."""

import multiprocessing
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks._launch import weights, weights_option
from data_utils.colour.augment import VIEWS
from data_utils.split.prepare import DevelopmentSet
from models._registry import load_model
from models._spec import ParamValue
from search.command.extents import assignments
from search.errors import UsageError
from search.training.device import Compute, choose_precision, layout_on, set_up
from search.training.device_patches import DevicePatches
from search.training.features import Features
from search.training.jobs import FeatureStore
from search.training.loop import Rows, Training
from search.training.scores import validation_scores
from search.trials.space import within

DEVICE = "cpu"
FOLDS = 5
BATCH = 64
MOST_KEPT = 100 * 2**30  # bytes of frozen layers' outputs
Run = TypeVar("Run")


def read_parameters(text: str, more: Sequence[str] = (), model: str = "cnn") -> dict[str, ParamValue]:
    """From ``width=16,residual=True``.

    Args:
        text: values of parameters of the model, by name.
        more: names of whole numbers from 1 on that are no parameters of it, and may stand among them.
        model: of a file in models/.

    Raises:
        ValueError: it is not of this form, or the model has no such parameter or allows no such value; the message
            says what was found, and what was expected.
    """
    found: dict[str, ParamValue] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name in found:
            raise ValueError(f"{name} is given twice; give it once")
        found |= {name: _count(part, value)} if name in more else _parameter(part, model)
    return found


def _count(part: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{part}: a whole number from 1 on was expected")
    return int(value)


def _parameter(part: str, model: str) -> dict[str, ParamValue]:
    """The name with the value that ``--set`` would fix it to."""
    try:
        extents = [replace(one, model=model, where="no such way:") for one in assignments([model])(part)]
        if [len(one.values) for one in extents] != [1]:
            raise ValueError(f"{part}: one value was expected")
        default = within(load_model(model), extents).default
        return {one.parameter: default[one.parameter] for one in extents}
    except (ArgumentTypeError, UsageError) as error:
        raise ValueError(str(error)) from None


def begin(
    development: DevelopmentSet,
    rows: Rows,
    params: Mapping[str, ParamValue],
    *,
    epochs: int,
    seed: int,
    precision: str,
    window: float = 0.0,
    model: str = "cnn",
) -> Training:
    """A network before its first epoch, on one thread.

    Args:
        development: all patches, with labels.
        rows: (n,) those to train on.
        params: what is different from the default configuration.
        epochs: length of the schedule.
        seed: of weights, order, views, jitter and dropout.
        precision: as ``--precision`` takes it.
        window: as of ``Training.begin``.
        model: of a file in models/; a pretrained one begins with its weights, where they are at hand.
    """
    set_up(DEVICE, threads=1)
    found = load_model(model)
    assert development.labels is not None
    return Training.begin(
        found,
        found.configuration({**found.default, **params}),
        weights() if found.pretrained else None,
        DevicePatches.load(development.pixels, development.labels, DEVICE),
        rows,
        epochs=epochs,
        seed=seed,
        compute=Compute(DEVICE, choose_precision(precision, DEVICE), layout_on(DEVICE, found)),
        window=window,
    )


@contextmanager
def keeping(training: Training, model: str, params: Mapping[str, ParamValue], folder: Path) -> Iterator[Training]:
    """With the outputs of its frozen layers, where it has such, kept for every network that has the same ones.

    Those that it learns from are computed before it trains, so that no network's training pays for another's.

    Args:
        training: before its first epoch.
        model: as of ``begin``.
        params: as of ``begin``.
        folder: of what is kept; of these patches alone.

    Raises:
        RuntimeError: they found no room.
    """
    found = load_model(model)
    name = found.prefix_name(found.configuration({**found.default, **params}))
    if name is None or weights_option() == "none":  # random layers are others in each network
        yield training
        return
    training.features = features = open_kept(training, (model, name), folder)
    try:
        if training.learns_on_features:
            for view in range(VIEWS):
                for rows in training.rows.split(BATCH):
                    features.outputs(rows, torch.full_like(rows, view))
        yield training
    finally:
        features.close()


def open_kept(training: Training, key: tuple[str, ...], folder: Path) -> Features:
    """The outputs of a network's frozen layers that are kept in a folder; ``key`` as of ``Features.open``.

    Raises:
        RuntimeError: they found no room.
    """
    prefix = training.network.get_submodule("prefix")
    features = Features.open(FeatureStore(folder, MOST_KEPT), key, prefix, training.patches, training.compute)
    if features is None:
        raise RuntimeError(f"outputs of frozen layers found no room below {folder}; free some disk")
    return features


def rows_of(development: DevelopmentSet, part: str) -> Rows:
    """(n,) rows of "train" or "validation"."""
    return np.flatnonzero(development.part == part)


def left_out(development: DevelopmentSet, rows: Rows, number: int) -> tuple[Rows, Rows]:
    """Of these rows, those without a fold of their patients, and those of it; after the last fold comes the first."""
    assert development.labels is not None
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    parts = list(folds.split(rows, development.labels[rows], development.patients[rows]))
    learn, score = parts[number % FOLDS]
    return rows[learn], rows[score]


def auc(development: DevelopmentSet, rows: Rows, logits: np.ndarray) -> float:
    """That of these patches; their logits (n, views) are averaged over the views."""
    assert development.labels is not None
    return validation_scores(development.labels[rows], logits.mean(axis=1))["auc"]


def two_at_a_time(trained: Callable[..., Run], jobs: Sequence[tuple[Any, ...]], console: Console) -> list[Run]:
    """What each job ends in, in their order, with a bar of how far it is; in a log, with a line every ten networks."""
    done: list[Run] = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = pool.map(trained, *zip(*jobs, strict=True))
        for run in track(runs, "networks", len(jobs), console=console):
            done.append(run)
            if not console.is_terminal and len(done) % 10 == 0:
                console.print(f"{len(done)} of {len(jobs)} networks")
    return done
