"""Training: patches a second of our loop against the peers', one thread each, and the validation AUC of both.

The default network and recipe of cnn, the same patches, split, batch size, views and jitter; ours in the precision
and memory layout that a search would choose here, the peer in fp32. The two take turns, an epoch each, in a process of
their own, so that what a worker sets for its process is not the peer's. Patches a second are of training alone, the
median over all epochs of all seeds. The AUC, of the last epoch, must agree: means over three seeds no further apart
than the seeds of either side are.

    python -m benchmarks.training [--full]
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks import peer_training
from benchmarks._launch import patches, prepared, scratch_folder
from benchmarks._networks import DEVICE, auc, begin, rows_of
from benchmarks._report import Result, main
from data_utils.split.prepare import load_development
from models._registry import load_model
from search.training.device import has_bf16
from search.training.loop import evaluate, train

SEEDS = 3
PATCHES, EPOCHS = 2000, 4
FULL_PATCHES, FULL_EPOCHS = None, 12


@dataclass(frozen=True)
class Epoch:
    """One epoch: patches a second of its training, and the validation AUC after it."""

    pace: float
    auc: float


def measure(full: bool) -> list[Result]:
    """Trains both sides on every seed, in turn."""
    epochs = FULL_EPOCHS if full else EPOCHS
    with scratch_folder() as folder:
        source = patches(FULL_PATCHES if full else PATCHES, folder / "patches")
        print(f"{source.words}, cnn's default configuration, {epochs} epochs, {SEEDS} seeds, one thread", flush=True)
        development = prepared(source, folder / "prepared").development
        runs = [alternate(development, seed, epochs) for seed in range(SEEDS)]
    return [result([run[0] for run in runs], [run[1] for run in runs])]


def result(ours: list[list[Epoch]], theirs: list[list[Epoch]]) -> Result:
    """The figure of the table; one list of epochs a seed."""
    ours_pace, their_pace = (median(epoch.pace for run in side for epoch in run) for side in (ours, theirs))
    ours_aucs, their_aucs = ([run[-1].auc for run in side] for side in (ours, theirs))
    detail = (
        f"ours {ours_pace:.0f} patches a second, peer {their_pace:.0f}, "
        f"medians of {sum(map(len, ours))} epochs; AUC {_told(ours_aucs)} and {_told(their_aucs)}"
    )
    wanted = 2.5 if has_bf16(DEVICE) else 1.2
    return Result("training", ours_pace / their_pace, wanted, detail=detail, sound=same_auc(ours_aucs, their_aucs))


def same_auc(ours: list[float], theirs: list[float]) -> bool:
    """Whether the means are no further apart than the seeds of either side."""
    return abs(mean(ours) - mean(theirs)) <= max(max(side) - min(side) for side in (ours, theirs))


def alternate(development: Path, seed: int, epochs: int) -> tuple[list[Epoch], list[Epoch]]:
    """One seed of both sides, an epoch in turn."""
    with _Side(our_epochs, development, seed, epochs) as ours, _Side(peer_epochs, development, seed, epochs) as theirs:
        pairs = [(ours.next_epoch(), theirs.next_epoch()) for _ in range(epochs)]
    print(f"  seed {seed}: ours {pairs[-1][0].pace:.0f} patches a second, peer {pairs[-1][1].pace:.0f}", flush=True)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


class _Side:
    """Epochs of one side, each trained when it is asked for, in a process of its own."""

    def __init__(self, side: Callable[[Path, int, int], Iterator[Epoch]], *run: Any) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (side, *run))

    def __enter__(self) -> "_Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def next_epoch(self) -> Epoch:
        return self._pool.submit(_next_epoch).result()


_epochs: Iterator[Epoch]  # of the process of a side


def _begin(side: Callable[[Path, int, int], Iterator[Epoch]], development: Path, seed: int, epochs: int) -> None:
    global _epochs
    _epochs = side(development, seed, epochs)


def _next_epoch() -> Epoch:
    return next(_epochs)


def our_epochs(development: Path, seed: int, epochs: int) -> Iterator[Epoch]:
    """What a worker does with a trial, without the worker."""
    loaded = load_development(development)
    learn, score = (rows_of(loaded, part) for part in ("train", "validation"))
    running = begin(loaded, learn, {}, epochs=epochs, seed=seed, precision="auto")
    for scores in train(running):
        logits = evaluate(running.network, running.patches, score, running.compute)
        yield Epoch(len(learn) / scores.seconds, auc(loaded, score, logits))


def peer_epochs(development: Path, seed: int, epochs: int) -> Iterator[Epoch]:
    """The peers' loop, timed around the training of an epoch."""
    torch.set_num_threads(1)
    params = load_model("cnn").default
    training = peer_training.begin("cnn", params, development, None, epochs=epochs, seed=seed)
    for _ in range(epochs):
        began = time.perf_counter()
        peer_training.train_epoch(training)
        seconds = time.perf_counter() - began
        yield Epoch(len(training.train_loader.dataset) / seconds, peer_training.validate(training))


def _told(aucs: list[float]) -> str:
    return f"{mean(aucs):.3f} ({min(aucs):.3f} to {max(aucs):.3f})"


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
