"""Whether one model is better than another: paired over the same patients, and able to say "no difference".

Primary is the difference of AUC, with the same patients taken away from both models. The tests that are usual in
the literature (DeLong, McNemar) stand apart, as what a naive analysis would have said: they take patches for
independent and reject equal models far too often.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from studies.statistics.intervals import Spread
from studies.statistics.metrics import NAIVE, PRIMARY, SAME, SECONDARY, Sampled, how_sure
from studies.statistics.obuchowski import components, obuchowski
from studies.statistics.resampling import Floats, Ints, Resampling

Bools = npt.NDArray[np.bool_]
LEVEL = 0.05
"""Of all tests of a family together, two-sided; one minus it is what their intervals cover together."""
POWER = 0.8
LARGEST = 0.5
"""Difference of AUC between a perfect score and a random one."""
SECOND_OPINION = "Difference of AUC, Obuchowski's variance"
_NO_SPREAD = 1e-12  # standard errors below it are rounding, not spread


@dataclass(frozen=True)
class Difference:
    """First model minus second, of one statistic.

    Attributes:
        statistic: its name in the analysis plan.
        value: the difference; for McNemar, of accuracy.
        low, high: 95 % interval, simultaneous over all tests of its family (primary or secondary); None where it is
            not defined.
        standard_error: over patients, or of DeLong; 0 where the difference is the same without any one patient,
            which allows neither an interval nor a p.
        freedom: degrees of freedom of Student's t; None where there is no interval.
        p: two-sided, of this test alone.
        p_adjusted: the same, adjusted for all tests of its family; below .05 exactly where the interval is without 0.
        reason: why there is no interval over patients, of a difference that is defined.
    """

    statistic: str
    value: float | None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    freedom: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    reason: str | None = None

    @property
    def together(self) -> bool:
        """Whether interval and p hold for several tests together; of a p of 0 or 1, which stays so, by the width."""
        if self.p not in (0.0, 1.0):
            return self.p != self.p_adjusted
        if self.high is None or self.value is None or self.freedom is None or self.standard_error is None:
            return False
        alone = _quantile(1 - LEVEL / 2, self.freedom) * self.standard_error
        return self.high - self.value > alone * (1 + 1e-6)


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
        naive: tests that take patches for independent, so that their p are too small; in no family.
        smallest_detectable: true difference of AUC that this test finds with 80 % power, at the level of its interval.
        alike: "scores" where both give every patch the same one, "ranking" where both rank the patches alike,
            "separation" where both tell the classes apart without an error; "" otherwise.
        second_opinion: the primary test with Obuchowski's variance in the place of ours; nothing rests on it.
    """

    first: str
    second: str
    primary: Difference
    secondary: tuple[Difference, ...]
    naive: tuple[Difference, ...]
    smallest_detectable: float | None
    agreement: Agreement
    alike: str = ""
    second_opinion: Difference | None = None


@dataclass(frozen=True, eq=False)
class Contestant:
    """One model's side of a comparison.

    Attributes:
        logits: (N,) of its probabilities of the test patches, for these have no order where they are 0 or 1.
        right: (N,) bool, whether the call at the frozen threshold is right.
        measured: by metric, over the patients that are shared with its opponents.
    """

    name: str
    logits: Floats
    right: Bools
    measured: Mapping[str, Sampled]


def compare_all(labels: Ints, contestants: Sequence[Contestant], resampling: Resampling) -> tuple[Comparison, ...]:
    """Every pair; intervals and p hold for all primary tests together, and apart from them for all secondary ones."""
    return compare_pairs(labels, list(combinations(contestants, 2)), resampling)


def compare_pairs(
    labels: Ints, contestants: Sequence[tuple[Contestant, Contestant]], resampling: Resampling
) -> tuple[Comparison, ...]:
    """These pairs alone, as ``compare_all``."""
    pairs = [_compare(labels, first, second, resampling) for first, second in contestants]
    primaries = simultaneous([pair.primary for pair in pairs])
    secondaries = simultaneous([test for pair in pairs for test in pair.secondary])
    opinions = simultaneous([pair.second_opinion for pair in pairs if pair.second_opinion])
    each, tested = len(SECONDARY), sum(test.p is not None for test in primaries)
    return tuple(
        replace(
            pair,
            primary=primaries[k],
            secondary=tuple(secondaries[k * each : (k + 1) * each]),
            second_opinion=opinions[k],
            smallest_detectable=detectable(primaries[k], tested),
        )
        for k, pair in enumerate(pairs)
    )


def _compare(labels: Ints, first: Contestant, second: Contestant, resampling: Resampling) -> Comparison:
    primary, *secondary = (
        paired_difference(statistic, first.measured[metric], second.measured[metric], resampling)
        for statistic, metric in zip((PRIMARY, *SECONDARY), ("auc", "balanced_accuracy", "brier"), strict=True)
    )
    naive = (delong(labels, first.logits, second.logits), exact_mcnemar(first.right, second.right))
    same = agreement(first.right, second.right)
    opinion = _second_opinion(labels, first, second, primary, resampling)
    alike = _alike(first, second)
    return Comparison(first.name, second.name, primary, tuple(secondary), naive, None, same, alike, opinion)


def _second_opinion(
    labels: Ints, first: Contestant, second: Contestant, primary: Difference, resampling: Resampling
) -> Difference:
    """With the degrees of freedom of the primary test, and undefined where that has none."""
    if primary.freedom is None:
        return replace(primary, statistic=SECOND_OPINION)
    value, error = obuchowski(labels, resampling, first.logits, second.logits)
    return _difference(SECOND_OPINION, value, error, primary.freedom)


def _alike(first: Contestant, second: Contestant) -> str:
    if np.array_equal(first.logits, second.logits):
        return "scores"
    if np.array_equal(stats.rankdata(first.logits), stats.rankdata(second.logits)):
        return "ranking"
    return "separation" if first.measured["auc"].value == second.measured["auc"].value == 1 else ""


def difference(first: Sampled, second: Sampled) -> Sampled:
    """First minus second of one statistic; what is common to both drops out."""
    bases = (*first.bases, *second.bases)
    return Sampled(first.value - second.value, first.reduced - second.reduced, bases, "plain")


def paired_difference(statistic: str, first: Sampled, second: Sampled, resampling: Resampling) -> Difference:
    """First minus second over the same patients; interval and p from one standard error and its degrees of freedom."""
    both = difference(first, second)
    sure = how_sure(both, resampling)
    if isinstance(sure, Spread):  # what rates of 0 or 1 leave open of either is no part of what patients move
        left_open = float(np.hypot(max(first.slack), max(second.slack))) * sure.error / sure.half
        return _difference(statistic, both.value, float(np.hypot(sure.error, left_open)), sure.freedom)
    found = _difference(statistic, both.value, 0.0 if sure == SAME else float("nan"), float("nan"))
    return found if found.value is None else replace(found, reason=sure)


def _difference(statistic: str, value: float, spread: float, freedom: float) -> Difference:
    """A difference with what its spread allows: nothing where it has none, as then chance cannot be told from it."""
    if not np.isfinite(value) or not np.isfinite(spread):
        return Difference(statistic, value if np.isfinite(value) else None)
    if spread < _NO_SPREAD:
        return Difference(statistic, value, standard_error=0.0)
    p = float(2 * stats.t.sf(abs(value) / spread, freedom))
    half = _quantile(1 - LEVEL / 2, freedom) * spread
    return Difference(statistic, value, value - half, value + half, spread, freedom, p)


def _quantile(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))


def simultaneous(tests: Sequence[Difference]) -> list[Difference]:
    """The same tests with intervals and p that hold for all of them together (Bonferroni; Dunn 1961).

    Holm's p would be smaller, but no interval of two ends belongs to them: an interval without 0 could stand beside a
    p above .05. Undefined tests stay undefined and do not count.
    """
    count = sum(test.p is not None for test in tests)
    return [_widened(test, count) for test in tests]


def _widened(test: Difference, count: int) -> Difference:
    if test.value is None or test.p is None or test.freedom is None or test.standard_error is None:
        return test
    half = _quantile(1 - LEVEL / (2 * count), test.freedom) * test.standard_error
    return replace(test, low=test.value - half, high=test.value + half, p_adjusted=min(1.0, count * test.p))


def detectable(test: Difference, count: int = 1) -> float | None:
    """The true difference that a test finds with 80 % power, as one of ``count``; None where it is undefined.

    2.8 (1.96 + 0.84) standard errors for a single test with many patients, and more with few: always more than half an
    interval.
    """
    if test.freedom is None or test.standard_error is None:
        return None
    factor = _quantile(1 - LEVEL / (2 * count), test.freedom) + _quantile(POWER, test.freedom)
    return factor * test.standard_error


def agreement(first: Bools, second: Bools) -> Agreement:
    """Counts patches by which of two models is right, (N,) bool each."""
    table = (first & second, first & ~second, ~first & second, ~first & ~second)
    return Agreement(*(int(cells.sum()) for cells in table))


def exact_mcnemar(first: Bools, second: Bools) -> Difference:
    """Exact test of whether one model is right more often (McNemar 1947); takes patches for independent."""
    counts = agreement(first, second)
    table = [[counts.both_right, counts.only_first], [counts.only_second, counts.both_wrong]]
    value = float(first.mean() - second.mean())
    return Difference(NAIVE[1], value, p=min(1.0, float(mcnemar(table, exact=True).pvalue)))


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
    if not positives.any() or not negatives.any():
        return Difference(NAIVE[0], None)
    parts = [components(scores[positives], scores[negatives]) for scores in (first, second)]
    value = float(parts[0][0].mean() - parts[1][0].mean())
    return _difference(NAIVE[0], value, _spread([one - other for one, other in zip(*parts, strict=True)]), np.inf)


def _spread(components: Sequence[Floats]) -> float:
    """Standard error of a sum of means; NaN where one of them is of a single patch."""
    if any(len(one) < 2 for one in components):
        return float("nan")
    return float(np.sqrt(sum(np.var(one, ddof=1) / len(one) for one in components)))


def delong_interval(labels: Ints, scores: Floats) -> tuple[float, float | None, float | None] | None:
    """AUC with DeLong's 95 % interval on the logit scale, patches taken for independent.

    No interval where a class has a single patch, or where every patch is ranked alike; nothing where a class has none.
    """
    positives, negatives = labels == 1, labels != 1
    if not positives.any() or not negatives.any():
        return None
    above, below = components(scores[positives], scores[negatives])
    value, spread = float(above.mean()), _spread([above, below])
    if not np.isfinite(spread):
        return value, None, None
    if value in (0.0, 1.0):
        edge = 1 - 0.025 ** (1 / min(len(above), len(below)))
        return (value, 1 - edge, 1.0) if value else (value, 0.0, edge)
    if spread < _NO_SPREAD:
        return value, None, None
    centre, width = np.log(value / (1 - value)), 1.96 * spread / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-np.array([centre - width, centre + width])))
    return value, float(low), float(high)
