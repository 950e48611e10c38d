"""Time to quality: wall time until the best validation AUC of a whole search by stock Ray Tune is reached.

cnn, 1,500 patches, two trials at a time on a core each. Tune searches first; its time is from the start of its process
to the epoch that reported the best AUC of all, not to its end. Then our command searches with the same sampler and
rungs of pruning, until an epoch in its database has at least that AUC; its time is from the start of its process. It is
stopped when Tune's whole search would have been over: what was not reached by then falls short. Both sides begin with
the default configuration, which is part of the space (``points_to_evaluate``): without it Tune would begin blind.

The time to one best value is luck to a good part: the figure is the median of three seeds.

    python -m benchmarks.quality [--full]
"""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks._launch import Command, Source, launch, patches, prepared, read_curves, scratch_folder
from benchmarks._report import Result, main
from models._registry import load_model

PATCHES = 1500
SHORT, FULL = (16, 8), (40, 12)  # trials, epochs
SEEDS = 3
LOOK_SECONDS = 0.2
END_SECONDS = 60


@dataclass(frozen=True)
class Race:
    """One seed.

    Attributes:
        auc: the best that Tune ended with.
        theirs: seconds until Tune had it.
        ours: seconds until we had it, or until we were stopped.
        reached: whether we had it.
    """

    auc: float
    theirs: float
    ours: float
    reached: bool


def measure(full: bool) -> list[Result]:
    """One race a seed."""
    trials, epochs = FULL if full else SHORT
    with scratch_folder() as folder:
        source = patches(PATCHES, folder / "patches")
        print(f"{source.words}; Tune: {trials} trials of at most {epochs} epochs", flush=True)
        development = prepared(source, folder / "prepared").development
        races = []
        for seed in range(SEEDS):
            place = folder / str(seed)
            place.mkdir()
            races.append(race(source, development, place, trials, epochs, seed))
            print(f"  seed {seed}: {races[-1]}", flush=True)
    return [result(races)]


def result(races: list[Race]) -> Result:
    """The figure of the table."""
    ratios = [race.theirs / race.ours for race in races]
    told = "; ".join(
        f"AUC {race.auc:.3f}: ours {'' if race.reached else 'not within '}{race.ours:.0f} s, Tune {race.theirs:.0f} s"
        for race in races
    )
    reached = [race.reached for race in races]
    # A seed that was not reached counts with the ratio that it has at most; the median stands if it is of the others.
    sound = sum(reached) > len(reached) / 2
    return Result("time to quality", median(ratios), 3, detail=f"{told}; n = {len(races)}", sound=sound)


def race(source: Source, development: Path, place: Path, trials: int, epochs: int, seed: int) -> Race:
    """Tune's search, then ours to the same AUC."""
    first = place / "first.json"
    first.write_text(json.dumps([dict(load_model("cnn").default)]), encoding="utf-8")
    out = place / "curves.json"
    fixed = ("--model", "cnn", "--development", str(development), "--first", str(first), "--out", str(out))
    size = ("--trials", str(trials), "--epochs", str(epochs), "--seed", str(seed))
    began = time.time()
    whole = Command("benchmarks.peer_tune", (*fixed, *size)).seconds(place / "peer.log")
    points = [
        (auc, -at) for curve in read_curves(out) for at, auc in zip(curve.times, curve.aucs, strict=True)
    ]  # the earliest of the best
    auc, at = max(points)
    more = ("--trials", "100000", "--epochs", str(epochs), "--seed", str(seed))
    command = launch("cnn", source, place / "runs", *more)
    ours, reached = seconds_to(auc, command, place / "runs" / "studies.db", place / "log", whole)
    return Race(auc, -at - began, ours, reached)


def seconds_to(auc: float, command: Command, database: Path, log: Path, limit: float) -> tuple[float, bool]:
    """Runs a search until its database has this AUC; seconds, and whether it came within ``limit`` seconds.

    Raises:
        RuntimeError: the search ended by itself before.
    """
    began = time.perf_counter()
    process = command.start(log)
    try:
        while (seconds := time.perf_counter() - began) < limit:
            if best_so_far(database) >= auc:
                return seconds, True
            if process.poll() is not None:
                raise RuntimeError(f"our search ended by itself:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(LOOK_SECONDS)
        return seconds, False
    finally:
        _end(process)


def best_so_far(database: Path) -> float:
    """The largest value of any epoch in an Optuna database; 0 while there is none."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            (value,) = connection.execute("select max(intermediate_value) from trial_intermediate_values").fetchone()
    except sqlite3.OperationalError:  # not there yet, or just being written
        return 0.0
    return value or 0.0


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
