"""Start: seconds from Enter to the first training batch of a search of cnn on X.npy, with everything in the disk cache.

The patches were read and split by an earlier launch under the same name. Counted are the seconds from the start of the
process to the end of the first epoch, less the seconds that its worker trained and evaluated: imports, the database,
Ray, the worker.

    python -m benchmarks.start [--full]
"""

import sys
import time
from pathlib import Path
from statistics import median

from benchmarks._launch import Source, first_batch, launch, patches, scratch_folder, stored_trials
from benchmarks._report import Result, main

ROUNDS, FULL_ROUNDS = 3, 9
SECONDS = 15


def measure(full: bool) -> list[Result]:
    """The median over a few launches, each with one trial of one epoch."""
    rounds = FULL_ROUNDS if full else ROUNDS
    with scratch_folder() as folder:
        source = patches(None, folder / "patches")
        print(source.words, flush=True)
        seconds_to_first_batch(source, folder / "runs", folder / "log", trials=1)  # fills the caches
        found = [
            seconds_to_first_batch(source, folder / "runs", folder / "log", trials=2 + number)
            for number in range(rounds)
        ]
    detail = f"{', '.join(f'{seconds:.1f}' for seconds in found)} s; median of {rounds}"
    return [Result("start", median(found), SECONDS, unit="s", at_least=False, detail=detail)]


def seconds_to_first_batch(source: Source, runs: Path, log: Path, trials: int) -> float:
    """Of one launch that adds one trial."""
    began = time.time()
    launch("cnn", source, runs, "--trials", str(trials), "--epochs", "1").seconds(log)
    return first_batch(stored_trials(runs, "cnn")[-1:]) - began


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
