"""Whole search: wall time of the same 8 configurations of each model, our command against stock Ray Tune.

700 patches at 50 px, 3 epochs, no pruning, two trials at a time on a core each. Both are timed from the start of their
process to its end, so with imports, Ray's start and, for ours, reading the patches, the database and checkpoints. The
configurations are the default one and 7 random ones of the space; ours gets them by --enqueue, Tune as
``points_to_evaluate``. Whatever a search of ours keeps for later ones is deleted before the next.

    python -m benchmarks.whole_search [--full]
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from optuna.trial import FrozenTrial

from benchmarks._launch import (
    WORKERS,
    Command,
    Source,
    ends,
    first_batch,
    launch,
    patches,
    prepared,
    read_curves,
    scratch_folder,
    stored_trials,
    weights_option,
    write_configurations,
)
from benchmarks._report import Result, main

PATCHES, CONFIGURATIONS, EPOCHS = 700, 8, 3
WANTED = {"cnn": 3.0, "vgg16": 2.5}
ROUNDS = {"cnn": 2, "vgg16": 1}
FULL_ROUNDS = 3


def measure(full: bool) -> list[Result]:
    """Both models, each side in turn."""
    with scratch_folder() as folder:
        source = patches(PATCHES, folder / "patches")
        words = "random weights" if weights_option() == "none" else "ImageNet weights"
        print(f"{source.words}, vgg16 with {words}", flush=True)
        development = prepared(source, folder / "prepared").development
        return [
            compare(model, source, development, folder / model, FULL_ROUNDS if full else ROUNDS[model])
            for model in WANTED
        ]


def compare(model: str, source: Source, development: Path, folder: Path, rounds: int) -> Result:
    """One model: A B A B."""
    folder.mkdir()
    first = write_configurations(folder / "first.json", model, CONFIGURATIONS)
    seconds: dict[str, list[float]] = {"ours": [], "Tune": []}
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        seconds["ours"].append(ours(model, source, place, first))
        seconds["Tune"].append(peer(model, development, place, first))
        told = ", ".join(f"{name} {found[-1]:.0f} s" for name, found in seconds.items())
        print(f"  {model}: {told}", flush=True)
    mine, theirs = median(seconds["ours"]), median(seconds["Tune"])
    detail = f"ours {mine:.0f} s, Tune {theirs:.0f} s; n = {rounds}"
    return Result(f"whole search, {model}", theirs / mine, WANTED[model], detail=detail)


def ours(model: str, source: Source, place: Path, first: Path) -> float:
    """Seconds of our command.

    Raises:
        RuntimeError: it did not run exactly what the peer runs.
    """
    more = ("--trials", str(CONFIGURATIONS), "--epochs", str(EPOCHS), "--pruner", "none", "--enqueue", str(first))
    began = time.time()
    seconds = launch(model, source, place / "runs", *more).seconds(place / "log")
    trials = stored_trials(place / "runs", model)
    _check([len(trial.intermediate_values) for trial in trials], f"our search of {model}")
    _show_where(trials, began, seconds)
    return seconds


def _show_where(trials: Sequence[FrozenTrial], began: float, seconds: float) -> None:
    """Prints where our time went: what a search without any start or end would still take, for limits.toml."""
    costs = [trial.user_attrs["cost"] for trial in trials]
    worked = sum(cost["training"] + cost["evaluation"] for cost in costs)
    before, after = first_batch(trials) - began, began + seconds - ends(trials)[-1]
    print(f"    first batch after {before:.1f} s, last trial over {after:.1f} s before the end;")
    print(f"    training and evaluation {worked:.1f} s, {worked / WORKERS:.1f} on each core", flush=True)


def peer(model: str, development: Path, place: Path, first: Path) -> float:
    """Seconds of stock Ray Tune.

    Raises:
        RuntimeError: it did not run exactly what we run.
    """
    out = place / "curves.json"
    fixed = ("--model", model, "--development", str(development), "--vgg16-weights", weights_option(), "--no-pruning")
    size = ("--trials", str(CONFIGURATIONS), "--epochs", str(EPOCHS), "--first", str(first), "--out", str(out))
    seconds = Command("benchmarks.peer_tune", (*fixed, *size)).seconds(place / "peer.log")
    _check([len(curve.aucs) for curve in read_curves(out)], f"Ray Tune's search of {model}")
    return seconds


def _check(epochs: list[int], whose: str) -> None:
    if epochs != [EPOCHS] * CONFIGURATIONS:
        raise RuntimeError(f"{whose} trained {epochs} epochs, not {CONFIGURATIONS} trials of {EPOCHS}")


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
