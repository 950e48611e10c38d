"""Draws of patients, made once and shared by every statistic and every model.

Patches of one patient resemble each other, so patients are drawn with replacement, not patches (Field & Welsh 2007,
doi:10.1111/j.1467-9868.2007.00593.x).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_PATIENTS = 5
"""Below this number of patients there is no interval: with four of them there are but 35 different draws."""
_ELEMENTS_AT_ONCE = 4_000_000  # draws x patches held in memory together: 32 MB an array


@dataclass(frozen=True, eq=False)
class Resampling:
    """Which patients each bootstrap draw took, drawn once and shared by every model, so that differences are paired.

    Attributes:
        clusters: (N,) the patient of each patch, as an index below ``patients``.
        weights: (draws, patients) how often each draw took each patient.
        effective: number of patients of equal weight that would tell as much (``effective_number``).
        known: whether patients are known; if not, each patch stands for a patient of its own and every interval is
            a lower bound of the uncertainty.
    """

    clusters: Ints
    weights: npt.NDArray[np.uint8]
    effective: float
    known: bool

    @property
    def patients(self) -> int:
        """How many clusters were drawn from."""
        return int(self.weights.shape[1])

    @property
    def draws(self) -> int:
        """How often they were drawn."""
        return int(self.weights.shape[0])

    @property
    def enough(self) -> bool:
        """Whether there are patients enough for any interval."""
        return self.patients >= FEWEST_PATIENTS

    @property
    def t(self) -> float:
        """The factor between a standard error and half a 95 % interval."""
        return float(stats.t.ppf(0.975, self.effective - 1))

    def standard_error(self, draws: Floats) -> float:
        """Standard deviation over the draws on which a statistic is defined; NaN with too few of them, or patients.

        Widened by sqrt(n / (n - 1)) for n effective patients: the bootstrap's variance is too small by that factor.
        """
        finite = draws[np.isfinite(draws)]
        if len(finite) < 2 or not self.enough:
            return float("nan")
        return float(np.std(finite, ddof=1) * np.sqrt(self.effective / (self.effective - 1)))

    def sum(self, per_patch: Floats) -> Floats:
        """Sums over the patches of each draw: (N, ...) -> (draws, ...)."""
        flat = per_patch.reshape(len(self.clusters), -1)
        columns = [np.bincount(self.clusters, flat[:, k], minlength=self.patients) for k in range(flat.shape[1])]
        sums = self.weights.astype(np.float64) @ np.stack(columns, axis=1)
        return sums.reshape(self.draws, *per_patch.shape[1:])

    def blocks(self, draws: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """The first ``draws`` of ``weights``, in pieces small enough to be spread over all patches."""
        step = max(1, _ELEMENTS_AT_ONCE // len(self.clusters))
        chosen = self.weights[:draws]
        for start in range(0, len(chosen), step):
            yield chosen[start : start + step]


def resample(patients: npt.NDArray[np.str_], labels: Ints, draws: int, seed: int) -> Resampling:
    """Draws patients with replacement.

    Args:
        patients: (N,) the patient of each patch; "" is unknown, and then each patch is drawn by itself.
        labels: (N,) 1 is IDC.
        draws: how often.
        seed: the same seed gives the same draws.
    """
    if not len(patients):
        raise ValueError("there are no patches to draw from; the test split must hold at least one")
    known = bool(np.all(patients != ""))
    clusters = np.unique(patients, return_inverse=True)[1] if known else np.arange(len(patients))
    weights = _multiplicities(int(clusters.max()) + 1, draws, np.random.default_rng(seed))
    return Resampling(clusters.astype(np.int64), weights, effective_number(clusters, labels), known)


def effective_number(clusters: Ints, labels: Ints) -> float:
    """How many patients of equal weight tell as much as these do of their rarer class; at least 2.

    A few patients hold most of the patches with IDC, so that a sensitivity rests on fewer patients than there are:
    (sum of counts) squared over the sum of squared counts (Kish 1965), of the class for which that is less. As degrees
    of freedom in place of the number of patients after Carter, Schnepel & Steigerwald 2017 (doi:10.1162/REST_a_00639).

    Args:
        clusters: (N,) the patient of each patch, as an index.
        labels: (N,) 1 is IDC.
    """
    counts = [np.bincount(clusters[labels == label]) for label in (0, 1) if np.any(labels == label)]
    return max(2.0, min(float(each.sum() ** 2 / np.sum(each**2)) for each in counts))


def _multiplicities(count: int, draws: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(draws, count) how often each of ``count`` was drawn; below 256 for sure or all but surely."""
    weights = np.empty((draws, count), dtype=np.uint8)
    step = max(1, _ELEMENTS_AT_ONCE // count)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
    return weights
