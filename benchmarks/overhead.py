"""Overhead: share of worker time that a real search of cnn on X.npy spends outside training and evaluation.

For each worker, time counts from the end of the first trial that it finished to the end of the last one. Of that, the
work is the sum of what the trials after the first stored as ``seconds``: training and evaluation, measured in the
worker. The share is 1 - work / time over both workers: it holds the sampler, the database, Ray, checkpoints, building
networks and waiting for a next trial. The start of a worker comes once a search and is told beside it, as is the same
share over everything from the first trial begun to the last one ended.

The short run ends after 165 s, with trials of 2 epochs; trials that were running then do not count.

    python -m benchmarks.overhead [--full]
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from benchmarks._launch import WORKERS, Source, launch, patches, scratch_folder, stored_trials
from benchmarks._report import Result, main

SHORT = ("--trials", "200", "--epochs", "2", "--timeout", "165")
FULL = ("--trials", "20", "--epochs", "12")


@dataclass(frozen=True)
class Spent:
    """Where the time of a search went.

    Attributes:
        time, work: of the workers after their first trials, in seconds.
        trials: that were finished, first ones included.
        whole_share: outside of training and evaluation, from the first trial begun to the last one ended.
    """

    time: float
    work: float
    trials: int
    whole_share: float

    @property
    def share(self) -> float:
        """Of worker time, outside of training and evaluation."""
        return 1 - self.work / self.time


def measure(full: bool) -> list[Result]:
    """The share, in percent."""
    with scratch_folder() as folder:
        source = patches(None, folder / "patches")
        print(source.words, flush=True)
        trials = search(source, folder, FULL if full else SHORT)
    return [result(spent(trials))]


def result(found: Spent) -> Result:
    """The figure of the table."""
    detail = (
        f"{found.time - found.work:.1f} s of {found.time:.0f} worker seconds, {found.trials} trials; "
        f"with the start of the workers and idle ones {100 * found.whole_share:.1f} %"
    )
    return Result("overhead", 100 * found.share, 5, unit="%", at_least=False, detail=detail)


def search(source: Source, folder: Path, more: Sequence[str]) -> list[FrozenTrial]:
    """The finished trials of a search."""
    launch("cnn", source, folder / "runs", *more).seconds(folder / "log")
    return [trial for trial in stored_trials(folder / "runs", "cnn") if trial.state.is_finished()]


def spent(trials: Sequence[FrozenTrial]) -> Spent:
    """Adds up what finished trials stored.

    Raises:
        RuntimeError: no worker finished two trials.
    """
    by_worker = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial.datetime_complete):
        by_worker[trial.user_attrs["worker"]].append(trial)
    time = sum(_seconds(of_one[0].datetime_complete, of_one[-1].datetime_complete) for of_one in by_worker.values())
    work = sum(trial.user_attrs["seconds"] for of_one in by_worker.values() for trial in of_one[1:])
    if time == 0:
        raise RuntimeError(f"no worker finished 2 trials, only {len(trials)} in all; the machine is too slow for this")
    whole = _seconds(min(trial.datetime_start for trial in trials), max(trial.datetime_complete for trial in trials))
    all_work = sum(trial.user_attrs["seconds"] for trial in trials)
    return Spent(time, work, len(trials), 1 - all_work / (whole * WORKERS))


def _seconds(begin, end) -> float:
    return (end - begin).total_seconds()


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
