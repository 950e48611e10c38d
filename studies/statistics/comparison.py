"""Whether one model is better than another: paired over the same patients, and able to say "no difference".

Primary is the difference of AUC, with the same bootstrap draws of patients for both models. The tests that are usual in
the literature (DeLong, McNemar) stand beside it, marked: they take patches for independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from studies.statistics.metrics import PRIMARY, SECONDARY, Sampled
from studies.statistics.resampling import Floats, Ints, Resampling

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """First model minus second, of one statistic.

    Attributes:
        statistic: its name in the analysis plan.
        value: the difference; for McNemar, of accuracy.
        low, high: 95 % interval; None where it is not defined.
        standard_error: over draws of patients, or of DeLong.
        p: two-sided.
        p_holm: the same, adjusted for all tests of its family (primary or secondary).
        independent_patches: True where the test takes patches for independent, so that p is too small.
    """

    statistic: str
    value: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    p: float | None
    p_holm: float | None
    independent_patches: bool


@dataclass(frozen=True)
class Agreement:
    """Patches by who is right at the frozen thresholds."""

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


@dataclass(frozen=True)
class Comparison:
    """Two models on the same test patches.

    Attributes:
        smallest_detectable: difference of AUC that this test would have found with 80 % power (two-sided 5 %).
    """

    first: str
    second: str
    primary: Difference
    secondary: tuple[Difference, ...]
    smallest_detectable: float | None
    agreement: Agreement


@dataclass(frozen=True, eq=False)
class Contestant:
    """One model's side of a comparison.

    Attributes:
        probabilities: (N,) on the test patches.
        right: (N,) bool, whether the call at the frozen threshold is right.
        measured: by metric, over the draws that are shared with its opponents.
    """

    name: str
    probabilities: Floats
    right: Bools
    measured: Mapping[str, Sampled]


def compare_all(labels: Ints, contestants: Sequence[Contestant], resampling: Resampling) -> tuple[Comparison, ...]:
    """Every pair, with Holm's correction over all primary tests, and over all secondary ones."""
    pairs = [_compare(labels, first, second, resampling) for first, second in combinations(contestants, 2)]
    primaries = _holm([pair.primary for pair in pairs])
    secondaries = _holm([test for pair in pairs for test in pair.secondary])
    each = len(SECONDARY)
    return tuple(
        replace(pair, primary=primaries[k], secondary=tuple(secondaries[k * each : (k + 1) * each]))
        for k, pair in enumerate(pairs)
    )


def _compare(labels: Ints, first: Contestant, second: Contestant, resampling: Resampling) -> Comparison:
    primary = paired_difference(PRIMARY, first.measured["auc"], second.measured["auc"], resampling)
    secondary = (
        paired_difference(
            SECONDARY[0], first.measured["balanced_accuracy"], second.measured["balanced_accuracy"], resampling
        ),
        paired_difference(SECONDARY[1], first.measured["brier"], second.measured["brier"], resampling),
        delong(labels, first.probabilities, second.probabilities),
        exact_mcnemar(first.right, second.right),
    )
    spread = primary.standard_error
    smallest = None if spread is None else resampling.power_factor * spread
    return Comparison(first.name, second.name, primary, secondary, smallest, agreement(first.right, second.right))


def paired_difference(statistic: str, first: Sampled, second: Sampled, resampling: Resampling) -> Difference:
    """First minus second over the same draws; interval and p from one standard error and t(effective patients - 1)."""
    value, spread = first.value - second.value, resampling.standard_error(first.draws - second.draws)
    if not np.isfinite(value) or not np.isfinite(spread):
        shown = value if np.isfinite(value) else None
        return Difference(statistic, shown, None, None, None, None, None, independent_patches=False)
    half = resampling.t * spread
    p = _two_sided(value, spread, resampling.effective - 1)
    return Difference(statistic, value, value - half, value + half, spread, p, None, independent_patches=False)


def _two_sided(value: float, spread: float, freedom: float) -> float:
    """P of a difference that is zero in truth; 1 for two copies of one model."""
    if spread == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stats.t.sf(abs(value) / spread, freedom))


def agreement(first: Bools, second: Bools) -> Agreement:
    """Counts patches by which of two models is right, (N,) bool each."""
    table = (first & second, first & ~second, ~first & second, ~first & ~second)
    return Agreement(*(int(cells.sum()) for cells in table))


def exact_mcnemar(first: Bools, second: Bools) -> Difference:
    """Exact test of whether one model is right more often (McNemar 1947); takes patches for independent."""
    counts = agreement(first, second)
    table = [[counts.both_right, counts.only_first], [counts.only_second, counts.both_wrong]]
    value = float(first.mean() - second.mean())
    p = min(1.0, float(mcnemar(table, exact=True).pvalue))
    return Difference(SECONDARY[3], value, None, None, None, p, None, independent_patches=True)


def delong(labels: Ints, first: Floats, second: Floats) -> Difference:
    """Difference of AUC after DeLong et al. 1988.

    By the fast algorithm of Sun & Xu 2014 (doi:10.1109/LSP.2014.2337313), which ranks instead of comparing all
    pairs. Takes patches for independent, so that interval and p are too optimistic.

    Args:
        labels: (N,) 1 is IDC.
        first: (N,) scores of one model.
        second: (N,) scores of the other.
    """
    positives, negatives = labels == 1, labels != 1
    if positives.sum() < 2 or negatives.sum() < 2:
        return Difference(SECONDARY[2], None, None, None, None, None, None, independent_patches=True)
    parts = [_components(scores[positives], scores[negatives]) for scores in (first, second)]
    value = float(parts[0][0].mean() - parts[1][0].mean())
    variance = sum(float(np.var(one - other, ddof=1)) / len(one) for one, other in zip(parts[0], parts[1], strict=True))
    spread = float(np.sqrt(variance))
    p = _two_sided(value, spread, np.inf)
    low, high = value - 1.96 * spread, value + 1.96 * spread
    return Difference(SECONDARY[2], value, low, high, spread, p, None, independent_patches=True)


def _components(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Structural components: for each patch, the share of the other class that it is ranked against rightly."""
    together = stats.rankdata(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    above = (together[:m] - stats.rankdata(positive)) / n
    below = 1 - (together[m:] - stats.rankdata(negative)) / m
    return above, below


def delong_interval(labels: Ints, scores: Floats) -> tuple[float, float, float] | None:
    """AUC with DeLong's 95 % interval on the logit scale, patches taken for independent; None with too few patches."""
    positives, negatives = labels == 1, labels != 1
    if positives.sum() < 2 or negatives.sum() < 2:
        return None
    above, below = _components(scores[positives], scores[negatives])
    value = float(above.mean())
    spread = float(np.sqrt(np.var(above, ddof=1) / len(above) + np.var(below, ddof=1) / len(below)))
    if value in (0.0, 1.0):
        edge = 1 - 0.025 ** (1 / min(len(above), len(below)))
        return (value, 1 - edge, 1.0) if value else (value, 0.0, edge)
    centre, width = np.log(value / (1 - value)), 1.96 * spread / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-np.array([centre - width, centre + width])))
    return value, float(low), float(high)


def _holm(tests: Sequence[Difference]) -> list[Difference]:
    """The same tests with Holm's adjusted p; undefined ones stay undefined and do not count."""
    defined = [test.p for test in tests if test.p is not None]
    adjusted = iter(multipletests(defined, method="holm")[1] if defined else [])
    return [replace(test, p_holm=None if test.p is None else float(next(adjusted))) for test in tests]
