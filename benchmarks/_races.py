"""Races of searches to an AUC: what they took, and what luck alone would have made of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

EPOCHS = 70  # of a search that sets a target, in a simulation: about those of 16 trials by Tune
REPEATS = 1000
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Way:
    """What one search spent on one target, of which it may have fallen short."""

    seconds: float
    epochs: int
    reached: bool


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

    def way_to(self, target: float) -> Way:
        """Until an epoch had at least this AUC, or all of it if none had."""
        steps = (Way(seconds, epochs, reached=True) for seconds, epochs, auc in self.steps if auc >= target)
        return next(steps, Way(self.seconds, self.epochs, reached=False))

    def __str__(self) -> str:
        steps = ", ".join(f"{auc:.4f} after {seconds:.0f} s and {epochs} epochs" for seconds, epochs, auc in self.steps)
        return f"{self.seconds:.0f} s, {self.epochs} epochs; best so far {steps}"


@dataclass(frozen=True)
class Races:
    """All races of one side.

    Attributes:
        seconds, epochs: expected until the AUC of a race is reached (Auger and Hansen 2005): those of all races over
            the number that reached theirs; infinite if none did.
        reached: races that reached their AUC.
        count: of all races.
        against_setters: median over races of the seconds that the setter of the AUC took, over those of the race.
    """

    seconds: float
    epochs: float
    reached: int
    count: int
    against_setters: float

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s or {self.epochs:.0f} epochs, {self.reached} of {self.count} reached"


def race(climbs: Sequence[Climb], setters: Sequence[Climb]) -> Races:
    """Each search to the best AUC of each setter, except to its own."""
    pairs = [(climb.way_to(setter.best), setter) for setter in setters for climb in climbs if climb is not setter]
    ways = [way for way, _ in pairs]
    reached = sum(way.reached for way in ways)
    return Races(
        seconds=sum(way.seconds for way in ways) / reached if reached else math.inf,
        epochs=sum(way.epochs for way in ways) / reached if reached else math.inf,
        reached=reached,
        count=len(ways),
        against_setters=median(setter.way_to(setter.best).seconds / way.seconds for way, setter in pairs),
    )


def paired(some: Sequence[Climb], others: Sequence[Climb], setters: Sequence[Climb]) -> tuple[float, float, float]:
    """How much faster some searches race than others with the same seeds: 10 %, 50 % and 90 % over resampled seeds.

    Args:
        some: a search a seed.
        others: likewise, of the same seeds.
        setters: of the AUCs that all race to; none of them races.
    """
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(REPEATS):
        drawn = rng.integers(0, len(some), len(some))
        seconds, their_seconds = (race([side[seed] for seed in drawn], setters).seconds for side in (some, others))
        ratios.append(their_seconds / seconds if math.isfinite(seconds) else 0.0)
    return _spread(ratios)


def climb_of(points: Sequence[tuple[float, int, float]], whole: float) -> Climb:
    """The climb of a search that took ``whole`` seconds.

    Args:
        points: in the order of time: seconds, epochs trained by then and an AUC, above 0 where it counts.
        whole: until the search ended or was stopped.
    """
    steps: list[tuple[float, int, float]] = []
    best = 0.0
    for point in points:
        if point[-1] > best:
            steps.append(point)
            best = point[-1]
    return Climb(tuple(steps), whole, max(epochs for _, epochs, _ in points))


def by_luck(pace: float, seeds: int) -> tuple[float, float, float]:
    """What the ratio of expected seconds would be if pace were all: 10 %, 50 % and 90 % of simulated comparisons.

    Every epoch of either side is equally likely to be the best. The ratio is smaller than the pace: a target is the
    best of many epochs, and the next as good one may be far away.

    Args:
        pace: how many epochs one side trains in the time of one of the other.
        seeds: searches of each side.
    """
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(REPEATS):
        theirs = [_any_climb(rng, EPOCHS, 1) for _ in range(seeds)]
        ours = [_any_climb(rng, round(EPOCHS * pace), pace) for _ in range(seeds)]
        seconds, their_seconds = race(ours, theirs).seconds, race(theirs, theirs).seconds
        ratios.append(their_seconds / seconds if math.isfinite(seconds) else 0.0)
    return _spread(ratios)


def _spread(ratios: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(ratios, QUANTILES, method="nearest")
    return float(low), float(middle), float(high)


def _any_climb(rng: np.random.Generator, epochs: int, pace: float) -> Climb:
    points = [(number / pace, number, auc) for number, auc in enumerate(rng.random(epochs).tolist(), 1)]
    return climb_of(points, epochs / pace)
