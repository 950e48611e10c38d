"""How sure the value of a trial is, by the validation patients."""

import numpy as np
import numpy.typing as npt

from studies.statistics.intervals import Spread
from studies.statistics.metrics import how_sure, measure
from studies.statistics.resampling import Floats, Ints, resample


def objective_error(objective: str, labels: Ints, logits: Floats, patients: npt.NDArray[np.str_]) -> float | None:
    """Standard error over patients of what a search maximises; None where they are too few, or nothing varies.

    Args:
        objective: "auc", "average_precision" or "balanced_accuracy" (at a probability of .5).
        labels: (N,) 1 is IDC.
        logits: (N,).
        patients: (N,) "" where unknown.
    """
    resampling = resample(patients, labels, draws=0, seed=0)
    found = how_sure(measure(labels, logits, 0.5, resampling)[objective], resampling)
    return found.error if isinstance(found, Spread) else None
