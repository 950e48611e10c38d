"""Curves over a threshold with pointwise 95 % bands over patients: ROC, precision-recall, sweep, net benefit.

Bands are percentiles of the draws at each point: near 0 and 1 a curve has no spread to speak of on the logit scale.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.statistics.intervals import Bases, too_few
from studies.statistics.metrics import Estimate, by_class, confusion, cumulative_counts
from studies.statistics.resampling import Floats, Ints, Resampling

DRAWS = 1000
"""Draws behind a band; bands are drawn, not tested, so fewer do."""
GRID = np.linspace(0.0, 1.0, 101)
THRESHOLDS = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True)
class Point:
    """One point of a curve: the place on the horizontal axis, the height with its interval."""

    x: float
    y: Estimate


Curve = tuple[Point, ...]


def roc(labels: Ints, scores: Floats, resampling: Resampling) -> Curve:
    """Sensitivity against the false-positive rate, interpolated linearly."""

    def heights(weights: Floats) -> Floats:
        hits, alarms = cumulative_counts(labels, scores, weights)
        both = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
        rows = [
            _roc_heights(hit, alarm) if ok else _UNDEFINED for hit, alarm, ok in zip(hits, alarms, both, strict=True)
        ]
        return np.stack(rows)

    return banded(GRID, heights, resampling, by_class(labels, resampling))


_UNDEFINED = np.full(len(GRID), np.nan)


def _roc_heights(hits: Floats, alarms: Floats) -> Floats:
    """Sensitivity at each false-positive rate of the grid; at 0 and 1 the ends of the curve."""
    rate, sensitivity = np.append(0, alarms / alarms[-1]), np.append(0, hits / hits[-1])
    heights: Floats = np.interp(GRID, rate, sensitivity)
    heights[0] = sensitivity[rate == 0].max()
    return heights


def precision_recall(labels: Ints, scores: Floats, resampling: Resampling) -> Curve:
    """Precision at the highest threshold that reaches each recall; steps, as average precision counts them."""

    def heights(weights: Floats) -> Floats:
        hits, alarms = cumulative_counts(labels, scores, weights)
        precision = hits / np.maximum(hits + alarms, 1e-12)
        rows = [
            _at_recall(hit, row) if hit[-1] > 0 else _UNDEFINED[1:] for hit, row in zip(hits, precision, strict=True)
        ]
        return np.stack(rows)

    return banded(GRID[1:], heights, resampling, by_class(labels, resampling))


def _at_recall(hits: Floats, precision: Floats) -> Floats:
    place = np.searchsorted(hits, GRID[1:] * hits[-1] - 1e-9)
    reached: Floats = precision[np.minimum(place, len(hits) - 1)]
    return reached


def banded(grid: Floats, heights: Callable[[Floats], Floats], resampling: Resampling, bases: Bases) -> Curve:
    """The curve on all patches, with the spread of its heights over the draws.

    Args:
        grid: (G,) places on the horizontal axis.
        heights: (B, N) weights of patches -> (B, G).
        resampling: over the same N patches.
        bases: patches that it rests on.
    """
    whole = heights(np.ones((1, len(resampling.clusters))))[0]
    draws = np.concatenate([heights(block[:, resampling.clusters].astype(float)) for block in resampling.blocks(DRAWS)])
    return _points(grid, whole, draws, _enough(bases, resampling))


def _enough(bases: Bases, resampling: Resampling) -> bool:
    return resampling.enough and not too_few(bases)


def has_bands(labels: Ints, resampling: Resampling) -> bool:
    """Whether there are patients enough of both classes for a band around a curve."""
    return _enough(by_class(labels, resampling), resampling)


def _points(grid: Floats, whole: Floats, draws: Floats, enough: bool) -> Curve:
    return tuple(
        Point(round(float(x), 6), _with_band(float(whole[k]), draws[:, k], enough)) for k, x in enumerate(grid)
    )


def undefined_draws(labels: Ints, resampling: Resampling) -> int:
    """How many of the draws behind the bands left out all patients with IDC, or all without; no curve uses them."""
    drawn = resampling.weights[:DRAWS]
    both = np.all([np.any(drawn[:, base.clusters > 0], axis=1) for base in by_class(labels, resampling)], axis=0)
    return int(np.sum(~both))


def _with_band(value: float, draws: Floats, enough: bool) -> Estimate:
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(value):
        return Estimate(None, None, None)
    if not enough or not len(defined):
        return Estimate(value, None, None)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


@dataclass(frozen=True)
class Sweep:
    """What each threshold would have given."""

    sensitivity: Curve
    specificity: Curve
    balanced_accuracy: Curve


def sweep(labels: Ints, probabilities: Floats, resampling: Resampling) -> Sweep:
    """Sensitivity, specificity and balanced accuracy at thresholds from .01 to .99."""
    called, idc = _called(probabilities), (labels == 1)[:, None]
    summed = [resampling.sum(part)[:DRAWS] for part in (called & idc, ~called & ~idc)]
    totals = [resampling.sum(part.astype(float))[:DRAWS] for part in (idc, ~idc)]
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = [part / total for part, total in zip(summed, totals, strict=True)]
        whole = [(called & idc).sum(0) / idc.sum(), (~called & ~idc).sum(0) / (~idc).sum()]
    both = by_class(labels, resampling)
    enough = [_enough(bases, resampling) for bases in (both[:1], both[1:], both)]
    pairs = [*zip(whole, draws, strict=True), ((whole[0] + whole[1]) / 2, (draws[0] + draws[1]) / 2)]
    curves = [_points(THRESHOLDS, *pair, sure) for pair, sure in zip(pairs, enough, strict=True)]
    return Sweep(*curves)


def _called(probabilities: Floats) -> npt.NDArray[np.bool_]:
    """(N, T) whether each patch is called IDC at each threshold."""
    return probabilities[:, None] >= THRESHOLDS


def net_benefit(labels: Ints, probabilities: Floats, resampling: Resampling) -> Curve:
    """True positives minus weighted false positives, a patch (Vickers & Elkin 2006, doi:10.1177/0272989X06295361).

    At threshold t a false positive weighs t / (1 - t) of a true positive. At the prevalence of these patches.
    """
    called, idc = _called(probabilities), (labels == 1)[:, None]
    per_patch = np.where(called, np.where(idc, 1.0, -THRESHOLDS / (1 - THRESHOLDS)), 0.0)
    draws = resampling.sum(per_patch)[:DRAWS] / resampling.sum(np.ones((len(labels), 1)))[:DRAWS]
    return _points(THRESHOLDS, per_patch.mean(axis=0), draws, has_bands(labels, resampling))


def net_benefit_of_all(labels: Ints) -> tuple[float, ...]:
    """Net benefit of calling every patch IDC, at each of ``THRESHOLDS``; calling none has 0."""
    share = float(np.mean(labels))
    return tuple(float(share - (1 - share) * t / (1 - t)) for t in THRESHOLDS)


def operating_point(labels: Ints, probabilities: Floats, threshold: float) -> tuple[float, float]:
    """False-positive rate and sensitivity at the frozen threshold; NaN where a class is missing."""
    counts = confusion(labels, probabilities, threshold)
    negatives, positives = counts.false_positive + counts.true_negative, counts.true_positive + counts.false_negative
    nan = float("nan")
    return (
        counts.false_positive / negatives if negatives else nan,
        counts.true_positive / positives if positives else nan,
    )
