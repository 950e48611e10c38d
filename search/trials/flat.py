"""Knowing when to stop: what further trials could gain, beside what the validation patients can tell apart.

Further trials are taken to come out as the last complete ones did, normally spread. Values that crowd below a ceiling
have their long tail downwards, which makes the spread, and so what is still to be gained, look larger than it is: a
search goes on too long rather than too short.

What patients can tell apart is the difference of two configurations on the same patients, not the value of one: what is
hard for both drops out, and what is left is a third to a seventh (docs/stopping.md).
"""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist, fmean, median, stdev

from optuna.trial import FrozenTrial, TrialState

from data_utils.split.lock import SplitLock
from studies.records import BY_PATIENT
from studies.storage.results import trained_here

FEWEST = 20
"""Complete trials below which nothing is said; as many of the last are looked at."""
ALIKE = 10
"""Of so many of the best complete trials each pair is looked at: what is yet to come is to be told from their likes.
The median of them passes over near copies, which nothing tells apart, and over one that is unlike the others."""
TELLING = 5
"""Trials below which nothing is said of what patients can tell apart."""
SURE = 0.95
"""How surely what is left to gain is no more than is said."""
HIGHEST = 1.0
"""No objective is above it (``search.training.scores``)."""


def flat(study: str, unit: str, trials: Sequence[FrozenTrial], left: int) -> str | None:
    """Why a search may end, in words; None where it may not, or where nothing tells which values differ.

    Args:
        study: its name.
        unit: as ``unit_of`` has it.
        trials: of the study, whoever trained them; those that were told by hand are left out.
        left: how many are still to be handed out.
    """
    complete = _complete(study, trials)
    if len(complete) < FEWEST or left < 1 or (error := told_apart(complete)) is None:
        return None
    values = [one.value or 0.0 for one in complete]
    gain, best = still_to_gain(values[-FEWEST:], max(values), left), max(values)
    if gain and gain >= error:
        return None
    beside = f"the standard error of the difference of two such trials over the validation {unit}, {error:.4f}"
    less = f", less than {beside}" if gain < error else ""
    return (
        f"flat after {len(complete)} complete trials: {left} more like the last {FEWEST} would gain no more than "
        f"{gain:.4f} over {best:.4f} ({SURE:.0%} sure){less}; without --stop-when-flat it goes on"
    )


def unit_of(lock: SplitLock) -> str:
    """What is taken away to tell values apart, in words: where patients are unknown, each patch stands for one."""
    return "patients" if lock.by == "patient" else "patches"


def told_apart(complete: Sequence[FrozenTrial]) -> float | None:
    """The standard error over validation patients of the difference of two of the best trials, in units of their value.

    None below ``TELLING`` trials that know how much each patient moves them.
    """
    best = sorted(_telling(complete), key=lambda one: one.value or 0.0, reverse=True)[:ALIKE]
    if len(best) < TELLING:
        return None
    return median(
        math.dist(one.user_attrs[BY_PATIENT], other.user_attrs[BY_PATIENT]) for one, other in combinations(best, 2)
    )


def untold(study: str, unit: str, trials: Sequence[FrozenTrial]) -> str:
    """That a study's trials do not tell what its patients tell apart, in words; "" where they do, or there are none."""
    complete = _complete(study, trials)
    before = sum(BY_PATIENT not in one.user_attrs for one in complete)
    lacking = TELLING - len(_telling(complete))
    if not before or lacking <= 0:
        return ""
    return (
        f"study {study}: complete trials of before --stop-when-flat, or of an earlier version ({before}), do not tell "
        f"which differences their {unit} see: the flag ends nothing before {max(lacking, FEWEST - len(complete))} more "
        "are complete"
    )


def _complete(study: str, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [one for one in trials if one.state == TrialState.COMPLETE and trained_here(study, one)]


def _telling(complete: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that know how much each patient moves them, as many patients as the newest of them."""
    found = [one for one in complete if one.user_attrs.get(BY_PATIENT)]
    return [one for one in found if len(one.user_attrs[BY_PATIENT]) == len(found[-1].user_attrs[BY_PATIENT])]


def still_to_gain(last: Sequence[float], best: float, left: int) -> float:
    """How far the best of so many further trials lies above the best at most, ``SURE``; 0 where below or all alike."""
    if not (spread := stdev(last)):
        return 0.0
    highest = fmean(last) + spread * NormalDist().inv_cdf(SURE ** (1 / left))
    return max(0.0, min(highest, HIGHEST) - best)
