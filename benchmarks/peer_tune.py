"""A peer: stock Ray Tune, as its documentation would have a user write it.

``OptunaSearch`` with our search space as define-by-run, ``ASHAScheduler`` with the rungs of our pruner, a function
trainable with the peers' training (``benchmarks.peer_training``). Checkpoints, which let Tune resume a trial, are
written only with --checkpoints: without them Tune is faster.

    python -m benchmarks.peer_tune --model cnn --development runs/NAME/data/development --trials 8 --epochs 3
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks._launch import Curve, write_curves
from models._registry import load_model
from models._weights import vgg16_weights
from studies.measure import NOW
from studies.storage.studies import HALVING, first_rung

NO_SCORE = 0.5
"""The validation AUC of an epoch that trains nothing."""


@dataclass(frozen=True)
class PeerSearch:
    """What a peer searches.

    Attributes:
        model: of a file in models/.
        development: folder of the patches, split already; None for empty epochs.
        weights: as for --vgg16-weights.
        trials, epochs: as for our command.
        seed: of the search and of every trial.
        first: configurations to try first.
        prune: whether weak trials are stopped early.
        workers: trials at the same time, one core each.
        checkpoints: whether each epoch leaves one.
    """

    model: str
    development: Path | None
    weights: str
    trials: int
    epochs: int
    seed: int = 0
    first: tuple[dict[str, Any], ...] = ()
    prune: bool = True
    workers: int = 2
    checkpoints: bool = False


def train_patches(config: dict[str, Any], search: PeerSearch) -> None:
    """The trainable: reports the validation AUC after each epoch."""
    import torch  # here, so that the processes of empty epochs do without

    from benchmarks import peer_training

    assert search.development is not None
    weights = vgg16_weights(search.weights, {}) if load_model(search.model).pretrained else None
    training = peer_training.begin(
        search.model, config, search.development, weights, epochs=search.epochs, seed=search.seed, measure=NOW
    )
    for auc in peer_training.aucs(training, search.epochs):
        metrics = {"auc": auc, "at": time.time()}
        if not search.checkpoints:
            tune.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            state = {"network": training.network.state_dict(), "optimizer": training.optimizer.state_dict()}
            torch.save(state, Path(folder) / "checkpoint.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def train_nothing(config: dict[str, Any], search: PeerSearch) -> None:  # noqa: ARG001 - Tune hands it over
    """The trainable of empty epochs: all scores are equal, so that no trial is stopped early."""
    for _ in range(search.epochs):
        tune.report({"auc": NO_SCORE, "at": time.time()})


def run_search(search: PeerSearch, results: Path) -> list[Curve]:
    """Runs the search; Tune writes what it likes into ``results``.

    Raises:
        RuntimeError: a trial failed.
    """
    ray.init(address="local", num_cpus=search.workers)
    trainable = train_nothing if search.development is None else train_patches
    first = [dict(params) for params in search.first] or None
    tuner = tune.Tuner(
        tune.with_parameters(trainable, search=search),
        tune_config=tune.TuneConfig(
            metric="auc",
            mode="max",
            search_alg=OptunaSearch(
                space=partial(ask, search.model),
                metric="auc",
                mode="max",
                points_to_evaluate=first,
                seed=search.seed,
            ),
            scheduler=_asha(search.epochs) if search.prune else None,
            num_samples=search.trials,
            max_concurrent_trials=search.workers,
        ),
        run_config=tune.RunConfig(storage_path=str(results.resolve())),
    )
    grid = tuner.fit()
    ray.shutdown()
    if grid.errors:
        raise RuntimeError(f"{len(grid.errors)} trials of Ray Tune failed; the first: {grid.errors[0]}")
    frames = [result.metrics_dataframe for result in grid]
    return [Curve(tuple(frame["at"]), tuple(frame["auc"])) for frame in frames]


def ask(model: str, trial: Any) -> None:
    """Our search space as OptunaSearch takes it: a function that asks a trial and gives nothing back."""
    load_model(model).suggest(trial)


def _asha(epochs: int) -> ASHAScheduler:
    return ASHAScheduler(max_t=epochs, grace_period=first_rung(epochs), reduction_factor=HALVING)


def parse(description: str | None, argv: Sequence[str] | None) -> tuple[PeerSearch, Path | None]:
    """The command line of both peers: the search, and where its curves go."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--development", type=Path, help="folder of prepared patches (default: empty epochs)")
    parser.add_argument("--vgg16-weights", default="none")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=Path, help="JSON list of configurations to try first")
    parser.add_argument("--no-pruning", action="store_true")
    parser.add_argument("--checkpoints", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file for times and scores")
    typed = parser.parse_args(argv)
    search = PeerSearch(
        model=typed.model,
        development=None if typed.development is None else typed.development.resolve(),
        weights=typed.vgg16_weights,
        trials=typed.trials,
        epochs=typed.epochs,
        seed=typed.seed,
        first=() if typed.first is None else tuple(json.loads(typed.first.read_text(encoding="utf-8"))),
        prune=not typed.no_pruning,
        checkpoints=typed.checkpoints,
    )
    return search, typed.out


def finish(curves: Sequence[Curve], out: Path | None) -> None:
    """Says what was found, and writes it down."""
    if out is not None:
        write_curves(out, curves)
    best = max(auc for curve in curves for auc in curve.aucs)
    epochs = sum(len(curve.aucs) for curve in curves)
    print(f"{len(curves)} trials, {epochs} epochs, best validation AUC {best:.4f}")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one search."""
    search, out = parse(__doc__, argv)
    with tempfile.TemporaryDirectory() as results:
        finish(run_search(search, Path(results)), out)


if __name__ == "__main__":
    main()
