"""Which patients lie outside of what is usual of known ones: distances, and a bound that known ones set themselves.

Each known patient is held against all others, so that the bound is that of patients who had no part in it. Where a new
one is like them, its distance is as likely to have any rank among theirs, so that at most a share ``rate`` lies beyond
(conformal prediction: Vovk, Gammerman & Shafer 2005). The distance is Mahalanobis', its covariance shrunk after Ledoit
& Wolf (2004).
"""

import numpy as np
from sklearn.covariance import ledoit_wolf

from studies.statistics.resampling import Floats

_TINY = 1e-12  # of a measure that is the same of all


def each_from_the_others(known: Floats) -> Floats:
    """(P, D) means of patients -> (P,) distance of each from all others."""
    return np.array([distances(np.delete(known, place, axis=0), known[place, None])[0] for place in range(len(known))])


def distances(known: Floats, new: Floats) -> Floats:
    """(P, D) and (Q, D) means of patients -> (Q,) how far the new ones are from the middle of the known."""
    middle, spread = known.mean(axis=0), np.maximum(known.std(axis=0), _TINY)
    covariance, _ = ledoit_wolf((known - middle) / spread)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance + _TINY * np.eye(len(covariance))))
    apart: Floats = np.sqrt(np.square(((new - middle) / spread) @ whitening.T).sum(axis=1))
    return apart


def bound(of_known: Floats, rate: float) -> float:
    """The distance that a new patient exceeds with a probability of at most ``rate``; infinite of too few."""
    place = int(np.ceil((len(of_known) + 1) * (1 - rate) - 1e-9))
    return float(np.sort(of_known)[place - 1]) if place <= len(of_known) else float("inf")


def fewest_known(rate: float) -> int:
    """Known patients that it takes for a finite bound."""
    return int(np.ceil(1 / rate - 1e-9)) - 1
