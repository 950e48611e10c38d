"""How sure the value of a trial is, and its difference from that of another, by the validation patients."""

import numpy as np
import numpy.typing as npt

from studies.statistics.metrics import SAME, how_sure, measure
from studies.statistics.resampling import TAKEN, Floats, Ints, resample

MOST = 200
"""Numbers that a trial keeps at most; of more patients, so many groups are told, as what they do adds up."""
_DIGITS = 6


def moved_by(objective: str, labels: Ints, logits: Floats, patients: npt.NDArray[np.str_]) -> list[float] | None:
    """How much each patient moves what a search maximises, by the jackknife of ``intervals``; None of too few patients.

    The root of the sum of their squares is its standard error over patients. Those of two trials on the same patches
    may be taken from one another: the root of the sum of squares (``math.dist``) is then the standard error of the
    difference of both values, with what is hard for both dropped out.

    Args:
        objective: "auc", "average_precision" or "balanced_accuracy" (at a probability of .5).
        labels: (N,) 1 is IDC.
        logits: (N,).
        patients: (N,) "" where unknown.

    Returns:
        (patients or ``MOST``,) in units of the objective, to six digits; in the same order for the same patients.
    """
    resampling = resample(patients, labels, draws=0, seed=0)
    found = measure(labels, logits, 0.5, resampling)[objective]
    if isinstance(why := how_sure(found, resampling), str) and why != SAME:
        return None
    moved = (found.reduced - found.value) / TAKEN
    return [round(float(one), _DIGITS) for one in np.bincount(np.arange(len(moved)) % MOST, moved)]
