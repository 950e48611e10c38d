"""The expected calibration error over bins of equally many patches, and by how much chance alone makes it too large.

It sums the sizes of what is missed in each bin, whatever its sign, so that chance never cancels: also a perfect score
has an error above 0, the larger the fewer the patients (Kumar, Liang & Ma 2019, arXiv:1909.10155). By how much follows
from the standard error of each bin's gap: the size of a normal variable has the mean of a folded one (Leone, Nelson &
Nottingham 1961, Technometrics 3, 543-550).
"""

import numpy as np
from scipy import optimize, special

from studies.statistics.resampling import TAKEN, Floats, Ints, Resampling

BINS = 10
"""Equal-mass bins of the expected calibration error and of the reliability diagram."""


def equal_mass_bins(scores: Floats, bins: int = BINS) -> Ints:
    """(N,) the bin of each patch: bins hold equally many patches, but equal scores share a bin."""
    edges = np.quantile(scores, np.arange(1, bins) / bins)
    return np.searchsorted(np.unique(edges), scores, side="right").astype(np.int64)


def calibration_error(labels: Ints, logits: Floats, resampling: Resampling) -> tuple[float, Floats, float]:
    """The expected calibration error, with edges from all patches.

    Args:
        labels: (N,) 1 is IDC.
        logits: (N,) of the probabilities.
        resampling: over the same N patches.

    Returns:
        Its value, the (patients,) values with ``TAKEN`` of each patient taken away, and the part of it that is chance.
    """
    missed = np.zeros((len(labels), BINS))  # label minus probability, in the column of the patch's bin
    missed[np.arange(len(labels)), equal_mass_bins(logits)] = labels - special.expit(logits)
    gaps = missed.mean(axis=0)
    reduced = resampling.sum_reduced(missed) / resampling.sum_reduced(np.ones((len(labels), 1)))
    errors = np.sqrt(np.sum((reduced - gaps) ** 2, axis=0)) / TAKEN
    return float(np.abs(gaps).sum()), np.abs(reduced).sum(axis=1), _by_chance(np.abs(gaps), errors)


def _by_chance(sizes: Floats, errors: Floats) -> float:
    """How much of the sum of ``sizes``, (BINS,) each with its standard error, is to be expected of chance.

    The true sizes are taken to be the same share of those seen, in all bins: that from which chance makes their sum.
    """
    seen = float(sizes.sum())

    def too_many(share: float) -> float:
        return float(_folded(share * sizes, errors).sum()) - seen

    if too_many(0.0) >= 0:
        return seen
    if too_many(1.0) <= 0:  # no error to speak of
        return 0.0
    return seen * (1 - float(optimize.brentq(too_many, 0.0, 1.0, xtol=1e-9)))


def _folded(means: Floats, errors: Floats) -> Floats:
    """Mean sizes of normal variables."""
    spread = np.maximum(errors, 1e-12)
    there = means / spread
    sizes: Floats = spread * np.sqrt(2 / np.pi) * np.exp(-(there**2) / 2) + means * (1 - 2 * special.ndtr(-there))
    return sizes
