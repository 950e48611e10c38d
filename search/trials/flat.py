"""Knowing when to stop: what further trials could gain, beside what the validation patients can tell apart.

Further trials are taken to come out as the last complete ones did, normally spread. Values that crowd below a ceiling
have their long tail downwards, which makes the spread, and so what is still to be gained, look larger than it is: a
search goes on too long rather than too short.
"""

from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from optuna.trial import FrozenTrial, TrialState

from studies.records import VALUE_ERROR
from studies.storage.results import own_trials

FEWEST = 20
"""Complete trials below which nothing is said; as many of the last are looked at."""
SURE = 0.95
"""How surely what is left to gain is no more than is said."""


def flat(trials: Sequence[FrozenTrial], left: int) -> str | None:
    """Why a search may end, in words; None where it may not, or where nothing tells how sure its values are.

    Args:
        trials: of the study, whoever trained them.
        left: how many are still to be handed out.
    """
    complete = [one for one in own_trials(trials) if one.state == TrialState.COMPLETE and one.value is not None]
    if len(complete) < FEWEST or left < 1:
        return None
    best = max(complete, key=lambda one: one.value or 0.0)
    error = best.user_attrs.get(VALUE_ERROR)
    if error is None or best.value is None:
        return None
    gain = still_to_gain([one.value or 0.0 for one in complete[-FEWEST:]], best.value, left)
    if gain >= error:
        return None
    return (
        f"flat after {len(complete)} complete trials: {left} more like the last {FEWEST} would gain no more than "
        f"{gain:.4f} over {best.value:.4f} ({SURE:.0%} sure), less than the standard error of that over the validation "
        f"patients, {error:.4f}; without --stop-when-flat it goes on"
    )


def still_to_gain(last: Sequence[float], best: float, left: int) -> float:
    """How far the best of so many further trials lies above the best at most, ``SURE``; 0 where below."""
    spread = stdev(last)
    highest = fmean(last) + (spread * NormalDist().inv_cdf(SURE ** (1 / left)) if spread else 0.0)
    return max(0.0, highest - best)
