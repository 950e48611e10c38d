"""Time to quality: wall time until a validation AUC is reached that a whole search by stock Ray Tune ends with.

cnn, 1,500 patches, two trials at a time on a core each. Tune searches once for each seed; the best AUC of each
is a target. Then our command searches with the same seeds and rungs of pruning, each side with its own TPE, until all
targets are reached or it has taken as long as Tune. Both begin with the default configuration, which is part of the
space (``points_to_evaluate``): without it Tune would begin blind. Seconds count from the start of the process.

The figure is the ratio of expected running times (Auger and Hansen 2005): all seconds of all races to a target, over
the races that reached theirs. Tune's search that set a target does not race to it: it has found the best of its epochs
by definition, halfway in the mean, and nothing equally fast would be expected to find as much as early. How that
reading would judge is printed beside it, for ours and for Tune's other searches, which it should call equal.

At full length the same races are run with ``--sampler prior`` too, and told; the figure is of the default sampler.

    python -m benchmarks.quality [--full]
"""

import json
import math
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks._launch import Command, Curve, Source, launch, patches, prepared, read_curves, scratch_folder
from benchmarks._races import Climb, Races, by_luck, climb_of, paired, race
from benchmarks._report import Result, main
from models._registry import load_model

PATCHES = 1500
TRIALS, EPOCHS = 16, 8  # of Tune
SHORT, FULL = 3, 8  # seeds
SAMPLER, RIVAL = "tpe", "prior"
"""The default one, and the one that races beside it at full length."""
LOOK_SECONDS = 0.2
END_SECONDS = 60


def measure(full: bool) -> list[Result]:
    """All searches of Tune, then all of ours."""
    seeds = range(FULL if full else SHORT)
    with scratch_folder() as folder:
        source = patches(PATCHES, folder / "patches")
        print(f"{source.words}; Tune: {TRIALS} trials of at most {EPOCHS} epochs", flush=True)
        development = prepared(source, folder / "prepared").development
        theirs = [told("Tune", seed, climb_of_tune(development, folder, seed)) for seed in seeds]
        hardest = max(climb.best for climb in theirs)

        def ours(sampler: str) -> list[Climb]:
            places = [folder / str(seed) / sampler for seed in seeds]
            return [
                told(f"ours, {sampler}", seed, our_climb(source, place, (seed, sampler), hardest, climb.seconds))
                for seed, place, climb in zip(seeds, places, theirs, strict=True)
            ]

        own = ours(SAMPLER)
        if full:
            print(beside(ours(RIVAL), own, theirs), flush=True)
    return [result(own, theirs)]


def beside(rival: Sequence[Climb], own: Sequence[Climb], setters: Sequence[Climb]) -> str:
    """How another sampler of ours raced, and how it compares with the default one."""
    told = f"  {RIVAL}: {race(rival, setters)}; as fast as {SAMPLER}: "
    if not race(own, setters).reached:
        return f"{told}no figure, as {SAMPLER} reached nothing"
    low, middle, high = paired(rival, own, setters)
    return f"{told}{middle:.2f} x ({low:.1f} to {high:.1f})"


def told(side: str, seed: int, climb: Climb) -> Climb:
    """The same, printed."""
    print(f"  seed {seed}, {side}: {climb}", flush=True)
    return climb


def result(ours: Sequence[Climb], theirs: Sequence[Climb]) -> Result:
    """The figure of the table."""
    won, tune = race(ours, theirs), race(theirs, theirs)
    # A side that reached nothing has no time: then there is no figure.
    sound = math.isfinite(won.seconds) and math.isfinite(tune.seconds)
    old = f"against the search that set the AUC: ours {won.against_setters:.2f} x, Tune {tune.against_setters:.2f} x"
    detail = f"ours {won}; Tune {tune}; {luck(won, tune, len(theirs)) if sound else 'no figure'}; {old}"
    value = tune.seconds / won.seconds if sound else math.nan
    return Result("time to quality", value, 3, detail=f"{detail}; {len(theirs)} seeds", sound=sound)


def luck(won: Races, tune: Races, seeds: int) -> str:
    """How much faster our epochs are, and what searches that differ in that alone would show."""
    pace = (tune.seconds / tune.epochs) / (won.seconds / won.epochs)
    low, middle, high = by_luck(pace, seeds)
    return f"an epoch {pace:.2f} x, by which {middle:.2f} x would be expected ({low:.1f} to {high:.1f})"


def climb_of_tune(development: Path, folder: Path, seed: int) -> Climb:
    """A whole search by Tune."""
    place = folder / str(seed)
    place.mkdir()
    first = place / "first.json"
    first.write_text(json.dumps([dict(load_model("cnn").default)]), encoding="utf-8")
    out = place / "curves.json"
    fixed = ("--model", "cnn", "--development", str(development), "--first", str(first), "--out", str(out))
    size = ("--trials", str(TRIALS), "--epochs", str(EPOCHS), "--seed", str(seed))
    began = time.time()
    seconds = Command("benchmarks.peer_tune", (*fixed, *size)).seconds(place / "peer.log")
    return climb_of_curves(read_curves(out), began, seconds)


def climb_of_curves(curves: Sequence[Curve], began: float, seconds: float) -> Climb:
    """The climb of a peer's search that began then (seconds since the epoch of Unix) and took so long."""
    epochs = sorted((at - began, auc) for curve in curves for at, auc in zip(curve.times, curve.aucs, strict=True))
    return climb_of([(at, number, auc) for number, (at, auc) in enumerate(epochs, 1)], seconds)


def our_climb(source: Source, place: Path, drawn: tuple[int, str], target: float, limit: float) -> Climb:
    """Our command with this seed and sampler, until its database has this AUC, for at most ``limit`` seconds.

    Raises:
        RuntimeError: the search ended by itself before.
    """
    seed, sampler = drawn
    more = ("--trials", "100000", "--epochs", str(EPOCHS), "--seed", str(seed), "--sampler", sampler)
    place.mkdir()
    log, database = place / "log", place / "runs" / "studies.db"
    points = []
    began = time.perf_counter()
    process = launch("cnn", source, place / "runs", *more).start(log)
    try:
        while True:
            seconds = time.perf_counter() - began
            best, trained = so_far(database)
            points.append((seconds, trained, best))
            if best >= target or seconds >= limit:
                return climb_of(points, seconds)
            if process.poll() is not None:
                raise RuntimeError(f"our search ended by itself:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(LOOK_SECONDS)
    finally:
        _end(process)


def so_far(database: Path) -> tuple[float, int]:
    """The largest value of any epoch in an Optuna database, and how many there are; 0 and 0 while there is none."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            best, epochs = connection.execute(
                "select max(intermediate_value), count(*) from trial_intermediate_values"
            ).fetchone()
    except sqlite3.OperationalError:  # not there yet, or just being written
        return 0.0, 0
    return best or 0.0, epochs


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
