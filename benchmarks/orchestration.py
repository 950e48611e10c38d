"""Orchestration: seconds a trial of 5 empty epochs, two at a time, against stock Ray Tune and plain Optuna.

Ours is the whole command with a network that computes nothing: its epochs still gather and turn 40 patches, take a
step, score and write a checkpoint; the peers' epochs report a number and no more. All have the search space of cnn
and a pruner at work that stops nothing, as all scores are equal. Seconds a trial count from the end of the first trial
to the end of the last, so without the start of processes. Stock Tune is slow enough for fewer trials.

    python -m benchmarks.orchestration [--full]
"""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks._launch import (
    Command,
    Source,
    copy_with_empty_model,
    ends,
    launch,
    pace,
    read_curves,
    scratch_folder,
    stored_trials,
)
from benchmarks._report import Result, main

TRIALS, EPOCHS = 200, 5
TUNE_TRIALS = 25  # of the short run
FULL_ROUNDS = 3
NO_PATCHES = Source("synthetic:60", "60 made-up patches")


def measure(full: bool) -> list[Result]:
    """Seconds a trial of ours, of Ray Tune and of Optuna, in turn."""
    tune_trials = TRIALS if full else TUNE_TRIALS
    print(f"ours and plain Optuna: {TRIALS} trials; stock Tune: {tune_trials}; {EPOCHS} empty epochs each", flush=True)
    paces: dict[str, list[float]] = {"ours": [], "peer_optuna": [], "peer_tune": []}
    with scratch_folder() as folder:
        tree = copy_with_empty_model(folder / "tree")
        sides: dict[str, Callable[[Path], float]] = {
            "ours": lambda place: ours(tree, place, TRIALS),
            "peer_optuna": lambda place: peer("peer_optuna", place, TRIALS),
            "peer_tune": lambda place: peer("peer_tune", place, tune_trials),
        }
        for number in range(FULL_ROUNDS if full else 1):
            for name, run in sides.items():
                place = folder / f"{name}-{number}"
                place.mkdir()
                paces[name].append(run(place))
                print(f"  {name}: {paces[name][-1]:.3f} s a trial", flush=True)
    return results({name: median(found) for name, found in paces.items()}, len(paces["ours"]))


def results(paces: dict[str, float], rounds: int) -> list[Result]:
    """Both figures of the table."""
    ours_, optuna, tune = paces["ours"], paces["peer_optuna"], paces["peer_tune"]
    told = f"ours {ours_:.3f} s a trial, Tune {tune:.2f}, Optuna {optuna:.3f}; n = {rounds}"
    return [
        Result("orchestration against Tune", tune / ours_, 10, detail=told),
        Result("orchestration above Optuna", ours_ - optuna, 0.15, unit="s", at_least=False, detail=told),
    ]


def ours(tree: Path, place: Path, trials: int) -> float:
    """Seconds a trial of our command."""
    more = ("--trials", str(trials), "--epochs", str(EPOCHS))
    launch("empty", NO_PATCHES, place / "runs", *more, folder=tree).seconds(place / "log")
    return pace(ends(stored_trials(place / "runs", "empty")))


def peer(name: str, place: Path, trials: int) -> float:
    """Seconds a trial of a peer."""
    arguments = ("--trials", str(trials), "--epochs", str(EPOCHS), "--out", str(place / "curves.json"))
    Command(f"benchmarks.{name}", arguments).seconds(place / "log")
    return pace([curve.times[-1] for curve in read_curves(place / "curves.json")])


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
