"""Which pruner saves most epochs at no loss of the best: full curves are recorded once, then replayed.

    python -m benchmarks.pruners record --model cnn --data PATH     # the default and 29 random configurations, unpruned
    python -m benchmarks.pruners replay                             # every pruner on those curves, in many orders

vgg16 is recorded at 50 pixels alone: larger inputs take up to four times as long.

A replay tells trials in a random order, the default configuration first as a search does, epoch by epoch, and lets the
pruner end them. It counts the epochs that are trained and the best value that is left among whole trials: what is lost
is what a search with this pruner would have called best, against the best of all curves. The same after a third of all
epochs compares pruners at equal cost: what one saves, it spends on more trials.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, PercentilePruner
from optuna.pruners import SuccessiveHalvingPruner as Sha
from rich.console import Console
from rich.table import Table

from benchmarks._launch import FIXED, write_configurations
from studies.storage.studies import open_existing, open_storage, quiet_optuna

STUDY = "curves"
TRIALS = 30
ORDERS = 40

Curve = list[float]
"""The objective after each epoch of one configuration."""


@dataclass(frozen=True)
class Replay:
    """One pruner on the curves of one model, the mean over all orders.

    Attributes:
        trained: share of all epochs that are trained, in [0, 1].
        lost: best value of all curves minus the best that is left.
        worst: the largest loss of any order.
        lost_early: what is lost where the search ends after a third of all epochs.
    """

    trained: float
    lost: float
    worst: float
    lost_early: float


def pruners(epochs: int) -> dict[str, Callable[[], BasePruner]]:
    """Name -> a fresh pruner, at several settings."""
    first = sorted({max(1, epochs // part) for part in (12, 6, 4, 3)})
    found: dict[str, Callable[[], BasePruner]] = {"none": NopPruner}
    for rung, factor in product(first, (2, 3, 4)):
        found[f"sha, first rung {rung}, factor {factor}"] = partial(Sha, rung, factor)
    found["hyperband, factor 3"] = partial(HyperbandPruner, 1, epochs, 3)
    for rung, percent in product(first, (25.0, 50.0, 75.0)):
        name = "median" if percent == 50 else f"percentile {percent:g}"
        found[f"{name}, 5 trials, from epoch {rung}"] = partial(PercentilePruner, percent, 5, rung)
    return found


def replay(curves: Sequence[Curve], make: Callable[[], BasePruner], orders: int) -> Replay:
    """Tells the curves in so many orders, the first one always first."""
    told = [_replay_once(curves, make(), order) for order in _orders(len(curves), orders)]
    best = max(max(curve) for curve in curves)
    epochs = sum(len(curve) for curve in curves)
    lost = [best - max(steps.values()) for _, steps in told]
    lost_early = [best - max(value for at, value in steps.items() if at <= epochs / 3) for _, steps in told]
    trained = float(np.mean([trained for trained, _ in told])) / epochs
    return Replay(trained, float(np.mean(lost)), max(lost), float(np.mean(lost_early)))


def _orders(count: int, orders: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [[0, *(1 + rng.permutation(count - 1)).tolist()] for _ in range(orders)]


def _replay_once(curves: Sequence[Curve], pruner: BasePruner, order: Sequence[int]) -> tuple[int, dict[int, float]]:
    """Epochs trained, and the value of each trial that was not pruned by the epochs trained until its end."""
    with quiet_optuna():
        study = optuna.create_study(study_name=STUDY, direction="maximize", pruner=pruner)
    trained, whole = 0, {}
    for number in order:
        trial, curve, pruned = study.ask(), curves[number], False
        for epoch, value in enumerate(curve, 1):
            trial.report(value, epoch)
            trained += 1
            pruned = epoch < len(curve) and trial.should_prune()
            if pruned:
                break
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, max(curve))
            whole[trained] = max(curve)
    return trained, whole


def load_curves(storage: str, model: str) -> list[Curve]:
    """Full curves of the recorded trials, the default configuration first."""
    with quiet_optuna():
        study = optuna.load_study(study_name=f"{STUDY}-{model}", storage=open_existing(storage))
        trials = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return [[value for _, value in sorted(trial.intermediate_values.items())] for trial in trials]


def best_by_epoch(curves: Sequence[Curve]) -> list[float]:
    """Mean over configurations of the best value so far, after each epoch: where more epochs stop paying."""
    best = np.maximum.accumulate(np.array(curves), axis=1)
    return [float(value) for value in best.mean(axis=0)]


def main(argv: Sequence[str] | None = None) -> int:
    """Records or replays."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruners", description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("record", "replay"))
    parser.add_argument("--runs", type=Path, default=Path("runs/curves"), help="folder of the recorded curves")
    parser.add_argument("--model", default="cnn", choices=sorted(FIXED), help="to record")
    parser.add_argument("--data", default="synthetic:1000", help="to record on")
    parser.add_argument("--epochs", type=int, default=12, help="of each curve")
    parser.add_argument("--trials", type=int, default=TRIALS, help="curves of a model")
    typed = parser.parse_args(argv)
    return _record(typed) if typed.step == "record" else _show(typed.runs)


def _record(typed: argparse.Namespace) -> int:
    typed.runs.mkdir(parents=True, exist_ok=True)
    first = write_configurations(typed.runs / f"{typed.model}.json", typed.model, typed.trials)
    command = [sys.executable, "-m", "search.launch", "--study", STUDY, "--runs", str(typed.runs)]
    command += ["--model", typed.model, "--data", typed.data, "--epochs", str(typed.epochs)]
    command += ["--trials", str(typed.trials), "--pruner", "none", "--enqueue", str(first)]
    return subprocess.run(command, check=False).returncode


def _show(runs: Path) -> int:
    console = Console(width=120)
    storage = f"sqlite:///{runs}/studies.db"
    names = optuna.get_all_study_names(open_storage(storage))
    for model in sorted(name.removeprefix(f"{STUDY}-") for name in names):
        curves = load_curves(storage, model)
        console.print(_table(model, curves))
        console.print("best so far after each epoch, mean:", *(f"{value:.4f}" for value in best_by_epoch(curves)))
    return 0


def _table(model: str, curves: Sequence[Curve]) -> Table:
    title = f"{model}: {len(curves)} curves of {len(curves[0])} epochs, {ORDERS} orders"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("pruner", "epochs trained", "best lost, mean", "largest", "after a third of all epochs"):
        table.add_column(heading, justify="left" if heading == "pruner" else "right")
    found = {name: replay(curves, make, ORDERS) for name, make in pruners(len(curves[0])).items()}
    for name, one in sorted(found.items(), key=lambda item: (round(item[1].lost, 4), item[1].trained)):
        table.add_row(name, f"{one.trained:.0%}", f"{one.lost:.4f}", f"{one.worst:.4f}", f"{one.lost_early:.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
