"""Time to quality: wall time until a validation AUC is reached that a whole search by stock Ray Tune ends with.

cnn, 1,500 patches, two trials at a time on a core each. Tune searches once for each seed; the best AUC of each
is a target. Then our command searches with the same seeds, the same sampler and rungs of pruning, until all targets are
reached or it has taken as long as Tune. Both sides begin with the default configuration, which is part of the space
(``points_to_evaluate``): without it Tune would begin blind. Seconds count from the start of the process.

The figure is the ratio of expected running times (Auger and Hansen 2005): all seconds of all races to a target, over
the races that reached theirs. Tune's search that set a target does not race to it: it has found the best of its epochs
by definition, half of the time before its end, and nothing equally fast would be expected to find as much as early. How
that reading would judge is printed beside it, for ours and for Tune's other searches, which it should call equal.

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
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks._launch import Command, Curve, Source, launch, patches, prepared, read_curves, scratch_folder
from benchmarks._report import Result, main
from models._registry import load_model

PATCHES = 1500
SHORT, FULL = (3, 16, 8), (8, 40, 12)  # seeds, trials of Tune, epochs
LOOK_SECONDS = 0.2
END_SECONDS = 60


@dataclass(frozen=True)
class Climb:
    """The best AUC so far of one search.

    Attributes:
        steps: seconds, epochs trained and AUC, whenever it was the best so far.
        seconds: until the search ended or was stopped.
        epochs: of all its trials.
    """

    steps: tuple[tuple[float, int, float], ...]
    seconds: float
    epochs: int

    @property
    def best(self) -> float:
        """The largest AUC of any epoch."""
        return max((auc for _, _, auc in self.steps), default=0.0)

    def seconds_to(self, target: float) -> float | None:
        """Until an epoch had at least this AUC; None if none had."""
        return next((seconds for seconds, _, auc in self.steps if auc >= target), None)

    def __str__(self) -> str:
        steps = ", ".join(f"{auc:.4f} after {seconds:.0f} s and {epochs} epochs" for seconds, epochs, auc in self.steps)
        return f"{self.seconds:.0f} s, {self.epochs} epochs; best so far {steps}"


Race = tuple[Climb, float]
"""A search, and the AUC that it is to reach."""


def measure(full: bool) -> list[Result]:
    """All searches of Tune, then all of ours."""
    seeds, trials, epochs = FULL if full else SHORT
    with scratch_folder() as folder:
        source = patches(PATCHES, folder / "patches")
        print(f"{source.words}; Tune: {trials} trials of at most {epochs} epochs", flush=True)
        development = prepared(source, folder / "prepared").development
        theirs = [told("Tune", seed, climb_of_tune(development, folder, trials, epochs, seed)) for seed in range(seeds)]
        hardest = max(climb.best for climb in theirs)
        ours = [
            told("ours", seed, our_climb(source, folder / str(seed), epochs, seed, hardest, climb.seconds))
            for seed, climb in enumerate(theirs)
        ]
    return [result(ours, theirs)]


def told(side: str, seed: int, climb: Climb) -> Climb:
    """The same, printed."""
    print(f"  seed {seed}, {side}: {climb}", flush=True)
    return climb


def result(ours: Sequence[Climb], theirs: Sequence[Climb]) -> Result:
    """The figure of the table."""
    our_races = [(climb, setter.best) for setter in theirs for climb in ours]
    their_races = [(climb, setter.best) for setter in theirs for climb in theirs if climb is not setter]
    seconds, tune_seconds = expected_seconds(our_races), expected_seconds(their_races)
    own, tunes = against_setters(ours, theirs), against_setters(theirs, theirs)
    detail = (
        f"ours {seconds:.0f} s, {_reached(our_races)}; Tune {tune_seconds:.0f} s, {_reached(their_races)}; "
        f"against the search that set the AUC: ours {own:.2f} x, Tune {tunes:.2f} x; {len(theirs)} seeds"
    )
    # A side that reached nothing has no time: then there is no figure.
    sound = math.isfinite(seconds) and math.isfinite(tune_seconds)
    return Result("time to quality", tune_seconds / seconds if sound else math.nan, 3, detail=detail, sound=sound)


def expected_seconds(races: Sequence[Race]) -> float:
    """Expected running time: seconds of all races over the number that reached their AUC; infinite if none did."""
    reached = sum(climb.seconds_to(target) is not None for climb, target in races)
    return sum(map(_spent, races)) / reached if reached else math.inf


def against_setters(climbs: Sequence[Climb], setters: Sequence[Climb]) -> float:
    """Median over races of the seconds that the setter of an AUC took, over those of another search."""
    races = [
        (climb, setter.best, setter.seconds_to(setter.best))
        for setter in setters
        for climb in climbs
        if climb is not setter
    ]
    return median((own or 0.0) / _spent((climb, target)) for climb, target, own in races)


def _spent(race: Race) -> float:
    climb, target = race
    seconds = climb.seconds_to(target)
    return climb.seconds if seconds is None else seconds


def _reached(races: Sequence[Race]) -> str:
    return f"{sum(climb.seconds_to(target) is not None for climb, target in races)} of {len(races)} reached"


def climb_of_tune(development: Path, folder: Path, trials: int, epochs: int, seed: int) -> Climb:
    """A whole search by Tune."""
    place = folder / str(seed)
    place.mkdir()
    first = place / "first.json"
    first.write_text(json.dumps([dict(load_model("cnn").default)]), encoding="utf-8")
    out = place / "curves.json"
    fixed = ("--model", "cnn", "--development", str(development), "--first", str(first), "--out", str(out))
    size = ("--trials", str(trials), "--epochs", str(epochs), "--seed", str(seed))
    began = time.time()
    seconds = Command("benchmarks.peer_tune", (*fixed, *size)).seconds(place / "peer.log")
    return climb_of(read_curves(out), began, seconds)


def climb_of(curves: Sequence[Curve], began: float, seconds: float) -> Climb:
    """The climb of a peer's search that began then (seconds since the epoch of Unix) and took so long."""
    epochs = sorted((at, auc) for curve in curves for at, auc in zip(curve.times, curve.aucs, strict=True))
    steps: list[tuple[float, int, float]] = []
    for number, (at, auc) in enumerate(epochs, 1):
        if not steps or auc > steps[-1][-1]:
            steps.append((at - began, number, auc))
    return Climb(tuple(steps), seconds, len(epochs))


def our_climb(source: Source, place: Path, epochs: int, seed: int, target: float, limit: float) -> Climb:
    """Our command, until its database has this AUC, for at most ``limit`` seconds.

    Raises:
        RuntimeError: the search ended by itself before.
    """
    more = ("--trials", "100000", "--epochs", str(epochs), "--seed", str(seed))
    log, database = place / "log", place / "runs" / "studies.db"
    steps: list[tuple[float, int, float]] = []
    began = time.perf_counter()
    process = launch("cnn", source, place / "runs", *more).start(log)
    try:
        while True:
            seconds = time.perf_counter() - began
            best, trained = so_far(database)
            if best > (steps[-1][-1] if steps else 0.0):
                steps.append((seconds, trained, best))
            if best >= target or seconds >= limit:
                return Climb(tuple(steps), seconds, trained)
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
