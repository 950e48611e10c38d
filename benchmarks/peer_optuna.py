"""A peer: plain Optuna, two persistent processes on one SQLite study, as its documentation would have a user write it.

``study.optimize`` in each process, ``trial.report`` and ``trial.should_prune`` after each epoch, TPE and successive
halving as ours, the peers' training (``benchmarks.peer_training``). A process that dies takes its trial with it.

    python -m benchmarks.peer_optuna --model cnn --development runs/NAME/data/development --trials 8 --epochs 3
"""

import multiprocessing
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks import peer_training
from benchmarks._launch import Curve
from benchmarks.peer_tune import NO_SCORE, PeerSearch, finish, parse
from models._registry import load_model
from models._weights import vgg16_weights
from studies.measure import NOW
from studies.storage.studies import HALVING, first_rung

STUDY = "peer"


def objective(trial: optuna.Trial, search: PeerSearch) -> float:
    """The best validation AUC of a trial."""
    load_model(search.model).suggest(trial)
    best = 0.0
    for epoch, auc in enumerate(_aucs(trial.params, search), start=1):
        best = max(best, auc)
        trial.report(auc, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return best


def _aucs(params: dict[str, Any], search: PeerSearch) -> Iterable[float]:
    if search.development is None:
        return [NO_SCORE] * search.epochs
    weights = vgg16_weights(search.weights, {}) if load_model(search.model).pretrained else None
    training = peer_training.begin(
        search.model, params, search.development, weights, epochs=search.epochs, seed=search.seed, measure=NOW
    )
    return peer_training.aucs(training, search.epochs)


def optimize(search: PeerSearch, storage: str, worker: int) -> None:
    """One process: its share of the trials."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name=STUDY,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=search.seed + worker, constant_liar=True),
        pruner=_pruner(search),
    )
    share = search.trials // search.workers + (worker < search.trials % search.workers)
    study.optimize(lambda trial: objective(trial, search), n_trials=share)


def run_search(search: PeerSearch, folder: Path) -> list[Curve]:
    """Runs the search on a database in ``folder``; each trial's curve has the time of its end alone.

    Raises:
        RuntimeError: a process failed.
    """
    storage = f"sqlite:///{folder}/peer.db"
    study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    for params in search.first:
        study.enqueue_trial(params)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=optimize, args=(search, storage, worker)) for worker in range(search.workers)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    if any(process.exitcode for process in workers):
        raise RuntimeError("a process of plain Optuna failed; its error stands above")
    return [
        Curve((trial.datetime_complete.timestamp(),), tuple(trial.intermediate_values.values()))
        for trial in study.get_trials(deepcopy=False)
        if trial.datetime_complete is not None
    ]


def _pruner(search: PeerSearch) -> optuna.pruners.BasePruner:
    if not search.prune:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=first_rung(search.epochs), reduction_factor=HALVING)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one search."""
    search, out = parse(__doc__, argv)
    with tempfile.TemporaryDirectory() as folder:
        finish(run_search(search, Path(folder)), out)


if __name__ == "__main__":
    main()
