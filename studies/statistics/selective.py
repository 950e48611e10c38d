"""How right calls are when the least certain patches are left open: of what is kept, over all coverages, as a curve.

As ``search.predict --abstain`` has it: a probability near 0.5 is uncertain, and what is kept is called by the nearer
class.
"""

import numpy as np
import numpy.typing as npt

from studies.statistics.curves import Curve, banded
from studies.statistics.metrics import Sampled, at_threshold, cumulative_counts, rate
from studies.statistics.resampling import Floats, Ints, Resampling

NEARER = 0.5
"""At or above it the nearer class is IDC."""
COVERAGES = (1.0, 0.8, 0.5)
"""Shares of the patches that are kept in the report's table."""
_GRID = np.linspace(0.05, 1.0, 96)  # below it a handful of patches decide

Bools = npt.NDArray[np.bool_]


def certainty(probabilities: Floats) -> Floats:
    """(N,) probability of the nearer class, in [0.5, 1]."""
    nearer: Floats = np.maximum(probabilities, 1 - probabilities)
    return nearer


def is_right(probabilities: Floats, labels: Ints) -> Bools:
    """(N,) whether the nearer class is the true one."""
    right: Bools = (probabilities >= NEARER) == (labels == 1)
    return right


def most_certain(probabilities: Floats, coverage: float) -> Bools:
    """(N,) whether a patch is among the most certain; equally certain ones are kept together."""
    sure = certainty(probabilities)
    kept: Bools = sure >= np.sort(sure)[::-1][int(np.ceil(coverage * len(sure))) - 1]
    return kept


def of_kept(labels: Ints, probabilities: Floats, kept: Bools, resampling: Resampling) -> dict[str, Sampled]:
    """Accuracy, and the rates of ``at_threshold``, of the patches that are kept; which these are is taken as given.

    Args:
        labels: (N,) 1 is IDC.
        probabilities: (N,) of IDC.
        kept: (N,) whether a patch is kept.
        resampling: over the same N patches.
    """
    weight = kept.astype(np.float64)
    accuracy = share(is_right(probabilities, labels), weight, resampling)
    return {"accuracy": accuracy, **at_threshold(labels, probabilities, NEARER, resampling, weight)}


def share(of: Bools, weight: Floats, resampling: Resampling) -> Sampled:
    """The share of the patches of which something is true; ``weight`` is (N,) of each patch."""
    hits = of * weight
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(hits.sum() / weight.sum()) if weight.any() else float("nan")
        reduced = resampling.sum_reduced(hits) / resampling.sum_reduced(weight)
    return rate(value, reduced, resampling, weight)


def area_under_risk(labels: Ints, probabilities: Floats, resampling: Resampling) -> Sampled:
    """AURC: mean over all coverages of the error rate of what is kept (Geifman, Uziel & El-Yaniv, arXiv:1805.08206).

    The error rate itself where certainty tells nothing, and lower where what is left open is what would be wrong.
    """
    right, sure = is_right(probabilities, labels).astype(np.int64), certainty(probabilities)
    reduced = np.concatenate([_areas(right, sure, block) for block in resampling.reduced_blocks()])
    patches = np.ones(len(labels))
    return Sampled(float(_areas(right, sure, patches[None])[0]), reduced, (resampling.base(patches),))


def _areas(right: Ints, sure: Floats, weights: Floats) -> Floats:
    """(B, N) weights -> (B,); each patch has the error rate of those that are as certain as it, or more so."""
    kept, errors = _kept_and_errors(right, sure, weights)
    areas: Floats = np.einsum("bt,bt->b", np.diff(kept, axis=1, prepend=0.0), errors) / kept[:, -1]
    return areas


def _kept_and_errors(right: Ints, sure: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(B, T) weight of what is kept as the certainty that is asked for falls, and its error rate."""
    hits, wrong = cumulative_counts(right, sure, weights)
    kept = hits + wrong
    return kept, wrong / np.maximum(kept, 1e-12)


def risk_coverage(labels: Ints, probabilities: Floats, resampling: Resampling) -> Curve:
    """Error rate of what is kept against the share of patches that are."""
    right, sure = is_right(probabilities, labels).astype(np.int64), certainty(probabilities)

    def heights(weights: Floats) -> Floats:
        rows = zip(*_kept_and_errors(right, sure, weights), strict=True)
        return np.stack([errors[np.searchsorted(kept, _GRID * kept[-1] - 1e-9)] for kept, errors in rows])

    return banded(_GRID, heights, resampling, (resampling.base(np.ones(len(labels))),))
