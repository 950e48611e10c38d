"""The rank correlation of two values over all, where the second is known of those alone whom the first let through.

Those are alike in the first value, so among them it tells little of the second: of searches in which the rung ranks at
.8 (100 trials, a quarter goes on), they ranked at .55. What is known of the others, how far their first values are
spread, sets this right (Thorndike 1949, Personnel Selection, case 2). That is the maximum-likelihood estimate under a
binormal model, whatever rule of the first values let them through (Little & Rubin 2019, Statistical Analysis with
Missing Data, chapter 7). Both values count as normal scores (Blom 1958): a hopeless configuration lies so far below the
rest that by its value itself nearly nothing else would count. How well the interval holds: docs/statistics.md.
"""

import math

import numpy as np
from scipy import stats

from studies.statistics.resampling import Floats

Bools = np.typing.NDArray[np.bool_]
_SURE = 1.959964  # of a normal distribution, two-sided 95 %
_NEARLY_ONE = 1 - 1e-6  # a correlation beyond it has no interval on Fisher's scale


def rank_correlation(first: Floats, chosen: Bools, second: Floats) -> tuple[float, float, float]:
    """Spearman's correlation over all, with its 95 % interval: (value, low, high), each in [-1, 1].

    The interval is Fisher's of the correlation among the chosen, its ends carried over as the value is.

    Args:
        first: (N,) of all; not all the same among the chosen.
        chosen: (N,) bool, by ``first`` and by chance alone; at least 4.
        second: (chosen,) of these in the same order, not all the same.
    """
    scores = _normal_scores(first)
    among = scores[chosen]
    wider = float(scores.std() / among.std())
    found = float(np.corrcoef(among, _normal_scores(second))[0, 1])
    centre = math.atanh(max(-_NEARLY_ONE, min(_NEARLY_ONE, found)))
    half = _SURE / math.sqrt(len(second) - 3)
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    value = _of_all(found, wider)
    return value, min(value, _of_all(low, wider)), max(value, _of_all(high, wider))


def _of_all(found: float, wider: float) -> float:
    """From Pearson's among the chosen to Spearman's of all, whose first values are so many times wider spread."""
    pearson = found * wider / math.sqrt(1 + found**2 * (wider**2 - 1))
    return 6 / math.pi * math.asin(max(-1.0, min(1.0, pearson)) / 2)  # of a binormal pair: Pearson 1907


def _normal_scores(values: Floats) -> Floats:
    """(N,) -> (N,) quantiles of a normal distribution at their ranks; ties share one."""
    scores: Floats = stats.norm.ppf((stats.rankdata(values) - 0.375) / (len(values) + 0.25))
    return scores
