"""What is made from a rate of exactly 0 or 1 is no surer than that rate, which no patient moves.

Balanced accuracy with a sensitivity of 1.000 (.292 to 1), which rests on three patients, would have the interval of its
specificity alone. So each side is widened by as far as the rate's own interval reaches (the method of variance
estimates recovery, MOVER: Zou & Donner 2008, Statistics in Medicine 27, 1693-1702).
"""

from collections.abc import Callable, Mapping

import numpy as np

from studies.statistics.resampling import Floats

Slack = tuple[float, float]
"""How much farther an interval reaches, below and above, before it is added up with what patients move."""
DERIVED = ("balanced_accuracy", "f1", "ppv_public", "npv_public", "f1_public")


def slack(
    counts: Floats, rates: Callable[[Floats], Mapping[str, Floats]], far: Mapping[str, float | None]
) -> dict[str, Slack]:
    """By statistic, what rates at the edge leave open. All of them rise with sensitivity and specificity.

    Args:
        counts: (4,) patches: true and false positives, true and false negatives.
        rates: all statistics of (B, 4) counts, (B,) each.
        far: the other end of the interval of "sensitivity" and "specificity", where they are 0 or 1; None without one.
    """
    tp, fp, tn, fn = counts
    now = rates(counts[None, :])
    sides = {name: [0.0, 0.0] for name in DERIVED}
    for rate, end in far.items():
        if end is None:
            continue
        idc, rest = tp + fn, tn + fp
        moved = (
            [idc * end, fp, tn, idc * (1 - end)] if rate == "sensitivity" else [tp, rest * (1 - end), rest * end, fn]
        )
        there, above = rates(np.array([moved])), int(now[rate][0] == 0.0)
        for name, side in sides.items():
            side[above] = float(np.hypot(side[above], np.nan_to_num(there[name][0] - now[name][0])))
    return {name: (below, above) for name, (below, above) in sides.items()}


def widened(value: float, interval: Slack, more: Slack) -> Slack:
    """The interval with this slack, within 0 and 1 where there is any."""
    low, high = interval
    below, above = more
    if not below and not above:
        return interval
    return max(0.0, value - float(np.hypot(value - low, below))), min(1.0, value + float(np.hypot(high - value, above)))
