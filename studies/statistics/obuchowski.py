"""The variance of an AUC over clustered patches after Obuchowski 1997 (doi:10.2307/2533958): a second opinion.

It comes from how each patch ranks among those of the other class, summed by patient, and needs no patient taken away.
"""

import numpy as np
from scipy import stats

from studies.statistics.metrics import by_class
from studies.statistics.resampling import Floats, Ints, Resampling


def obuchowski(
    labels: Ints, resampling: Resampling, first: Floats, second: Floats | None = None
) -> tuple[float, float]:
    """An AUC, or the difference of two, with its standard error; NaN where a class has fewer than two patients.

    Args:
        labels: (N,) 1 is IDC.
        resampling: over the same N patches.
        first: (N,) scores of one model.
        second: (N,) scores of the other.
    """
    value, above, below = _residuals(labels, first, resampling)
    if second is not None:
        other = _residuals(labels, second, resampling)
        value, above, below = value - other[0], above - other[1], below - other[2]
    idc, rest = (base.clusters for base in by_class(labels, resampling))
    with_idc, with_rest, patients = np.count_nonzero(idc), np.count_nonzero(rest), resampling.patients
    if min(with_idc, with_rest) < 2:
        return float(value), float("nan")
    variance = (
        with_idc / (with_idc - 1) * np.sum(above**2) / idc.sum() ** 2
        + with_rest / (with_rest - 1) * np.sum(below**2) / rest.sum() ** 2
        + 2 * patients / (patients - 1) * np.sum(above * below) / (idc.sum() * rest.sum())
    )
    return float(value), float(np.sqrt(max(0.0, variance)))


def _residuals(labels: Ints, scores: Floats, resampling: Resampling) -> tuple[float, Floats, Floats]:
    """AUC, and by how much the IDC patches, and the others, of each patient rank above it together."""
    idc, rest = labels == 1, labels != 1
    above, below = components(scores[idc], scores[rest])
    value = float(above.mean()) if len(above) and len(below) else float("nan")
    residuals = np.empty(len(labels))
    residuals[idc], residuals[rest] = above - value, below - value
    return value, resampling.by_patient(residuals * idc), resampling.by_patient(residuals * rest)


def components(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Structural components: for each patch, the share of the other class that it is ranked against rightly."""
    together = stats.rankdata(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    above = (together[:m] - stats.rankdata(positive)) / n
    below = 1 - (together[m:] - stats.rankdata(negative)) / m
    return above, below
