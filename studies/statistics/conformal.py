"""Sets of classes that hold the true one of a new patient's patch as often as promised, from patients that are known.

Conformal prediction where patches of one patient resemble each other: Lee, Barber & Willett, "Distribution-free
inference with hierarchical data", arXiv:2306.06342; it is the pooled distribution of Dunn, Wasserman & Ramdas,
"Distribution-free prediction sets for two-layer hierarchical models", JASA 118 (2022), with the new patient counted in,
so that the promise holds for any number of patients. Each patient weighs the same, however many patches there are.
"""

import numpy as np
import numpy.typing as npt

from studies.statistics.resampling import Floats, Ints

_EXACT = 1e-9  # so that 1 - 1/20 is reached by 19 weights of 1/20, however they are summed


def fewest_patients(rate: float) -> int:
    """How many patients it takes to promise this rate; with fewer, only the set of both classes is sure enough."""
    return int(np.ceil(1 / rate - _EXACT)) - 1


def largest_error(probabilities: Floats, labels: Ints, patients: npt.NDArray[np.str_], rate: float) -> float:
    """How far from the truth a probability may be, so that new patches are farther away at this rate at most.

    For a patch drawn at random from a new patient who is like those known, ``|label - probability|`` exceeds the result
    in at most ``rate`` of all cases.

    Args:
        probabilities: (N,) of patches, by a model that did not learn from their patients.
        labels: (N,) 1 is IDC.
        patients: (N,) of each patch; at least ``fewest_patients(rate)`` of them.
        rate: in (0, 1).
    """
    _, unit, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    assert len(sizes) >= fewest_patients(rate), "too few patients to promise this"
    errors = np.abs(labels - probabilities)
    order = np.argsort(errors, kind="stable")
    weight = np.cumsum(1 / ((len(sizes) + 1) * sizes[unit][order]))  # the new patient's share lies at infinity
    return float(errors[order][np.searchsorted(weight, 1 - rate - _EXACT)])


def classes_within(probabilities: Floats, error: float) -> npt.NDArray[np.bool_]:
    """(N,) probabilities -> (N, 2) whether class 0 and class 1 are within the error.

    Where neither would be, the nearer one is: that holds the truth more often, and nothing is left open in vain.
    """
    error = max(error, 0.5)
    return np.stack([probabilities <= error, 1 - probabilities <= error], axis=1)
