"""Scaling in trials: seconds a trial in the last 100 of 1,000 empty trials, against the first 100.

The same empty trials as in ``benchmarks.orchestration``, one epoch each. What grows with the number of trials is the
sampler's work, what is read of the database before each trial, and Ray Tune's own list.

    python -m benchmarks.trials [--full]
"""

import sys
from pathlib import Path
from statistics import median

from benchmarks._launch import copy_with_empty_model, ends, launch, pace, scratch_folder, stored_trials
from benchmarks._report import Result, main
from benchmarks.orchestration import NO_PATCHES

TRIALS, PART = 1000, 100
FULL_ROUNDS = 3


def measure(full: bool) -> list[Result]:
    """The pace at the end over the pace at the beginning."""
    rounds = FULL_ROUNDS if full else 1
    with scratch_folder() as folder:
        tree = copy_with_empty_model(folder / "tree")
        paces = [first_and_last(tree, folder / str(number)) for number in range(rounds)]
    first, last = (median(side) for side in zip(*paces, strict=True))
    detail = f"{first:.3f} s a trial in the first {PART}, {last:.3f} in the last of {TRIALS}; n = {rounds}"
    return [Result("scaling in trials", last / first, 2, at_least=False, detail=detail)]


def first_and_last(tree: Path, place: Path) -> tuple[float, float]:
    """Seconds a trial in the first and in the last 100."""
    place.mkdir()
    more = ("--trials", str(TRIALS), "--epochs", "1")
    launch("empty", NO_PATCHES, place / "runs", *more, folder=tree).seconds(place / "log")
    times = ends(stored_trials(place / "runs", "empty"))
    return pace(times[:PART]), pace(times[-PART:])


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
