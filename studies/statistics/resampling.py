"""Patients taken away in part, one after the other, and drawn anew: the same for every statistic and every model.

Patches of one patient resemble each other, so it is patients that another test split would have others of. Intervals
come from taking most of one patient away (``intervals``), bands around curves from draws with replacement (Field &
Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_PATIENTS = 5
"""Below this number of patients there is no interval: what four others would be like, these four hardly tell."""
GROUPS = 200
"""Patches of unknown patients are dealt at random to so many groups, which then stand for patients (random groups:
Wolter 2007, doi:10.1007/978-0-387-35099-8). That bounds the memory, and makes an interval wider by 0.6 %."""
MOST_PATIENTS = 2000
"""More patients than this are dealt to so many groups likewise."""
TAKEN = 0.9
"""Part of a patient that is taken away (``intervals`` says why this much)."""
_NOTHING = 1e-300  # in the place of a sum of squares of which there are none
_ELEMENTS_AT_ONCE = 4_000_000  # draws x patches held in memory together: 32 MB an array


@dataclass(frozen=True, eq=False)
class Base:
    """The patches that a number rests on, such as those with IDC of a sensitivity.

    Attributes:
        clusters: (patients,) how many of them each has, or each group of patients.
        count: patients who have any, each for itself also where they are dealt to groups.
        effective: how many of equal weight would tell as much (Kish 1965).
    """

    clusters: Floats
    count: int
    effective: float


@dataclass(frozen=True, eq=False)
class Resampling:
    """Which patient each patch belongs to, and how often each draw took each patient, the same for every model.

    Attributes:
        clusters: (N,) the patient of each patch, or its group of them, as an index below ``patients``.
        weights: (draws, patients) how often each draw took each patient.
        effective: number of patients of equal weight that would tell as much (``effective_number``).
        known: whether patients are known; if not, each patch stands for a patient of its own and every interval is
            a lower bound of the uncertainty.
        each: (N,) the patient of each patch as an index, before any were dealt to groups: what each patient has for
            itself is told by these.
    """

    clusters: Ints
    weights: npt.NDArray[np.uint8]
    effective: float
    known: bool
    each: Ints

    @property
    def patients(self) -> int:
        """How many clusters there are."""
        return int(self.weights.shape[1])

    @property
    def draws(self) -> int:
        """How often they were drawn."""
        return int(self.weights.shape[0])

    @property
    def unit(self) -> str:
        """What is taken away and drawn, in words."""
        return "patients" if self.known else "patches"

    @property
    def enough(self) -> bool:
        """Whether there are patients enough for any interval."""
        return self.patients >= FEWEST_PATIENTS

    @property
    def reduced(self) -> Floats:
        """(patients, patients) the weights of all patients, ``TAKEN`` of the first taken away, of the second, ..."""
        return 1.0 - TAKEN * np.eye(self.patients)

    def by_patient(self, per_patch: npt.NDArray[np.generic]) -> Floats:
        """Sums over the patches of each patient: (N, ...) -> (patients, ...)."""
        flat = per_patch.reshape(len(self.clusters), -1)
        sums = np.empty((self.patients, flat.shape[1]))
        for k in range(flat.shape[1]):
            sums[:, k] = np.bincount(self.clusters, flat[:, k], minlength=self.patients)
        return sums.reshape(self.patients, *per_patch.shape[1:])

    def base(self, weight: Floats) -> Base:
        """What a number rests on that takes patches with this weight, (N,)."""
        own = np.bincount(self.each, weight)
        effective = own.sum() ** 2 / max(float(np.sum(own**2)), _NOTHING)
        return Base(self.by_patient(weight), int(np.count_nonzero(own)), float(effective))

    def sum(self, per_patch: npt.NDArray[np.generic]) -> Floats:
        """Sums over the patches of each draw: (N, ...) -> (draws, ...)."""
        return np.tensordot(self.weights.astype(np.float64), self.by_patient(per_patch), axes=1)

    def sum_reduced(self, per_patch: npt.NDArray[np.generic]) -> Floats:
        """Sums over all patches with ``TAKEN`` of each patient taken away in turn: (N, ...) -> (patients, ...)."""
        own = self.by_patient(per_patch)
        left: Floats = own.sum(axis=0) - TAKEN * own
        return left

    def blocks(self, draws: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """The first ``draws`` of ``weights``, in pieces small enough to be spread over all patches."""
        for rows in self._pieces(len(self.weights[:draws])):
            yield self.weights[rows]

    def reduced_blocks(self) -> Iterator[Floats]:
        """``reduced`` spread over all patches, (B, N) at a time."""
        weights = self.reduced
        for rows in self._pieces(len(weights)):
            yield weights[rows][:, self.clusters]

    def _pieces(self, count: int) -> Iterator[slice]:
        step = max(1, _ELEMENTS_AT_ONCE // len(self.clusters))
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))


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
    rng = np.random.default_rng(seed)
    each = clusters.astype(np.int64)
    groups = _dealt(each, MOST_PATIENTS if known else GROUPS, rng)
    weights = _multiplicities(int(groups.max()) + 1, draws, rng)
    return Resampling(groups, weights, effective_number(each, labels), known, each)


def _dealt(clusters: Ints, most: int, rng: np.random.Generator) -> Ints:
    """(N,) the patient of each patch, or one of ``most`` groups where there are more patients than that."""
    count = int(clusters.max()) + 1
    if count <= most:
        return clusters
    groups: Ints = (rng.permutation(count) % most)[clusters]
    return groups


def effective_number(clusters: Ints, labels: Ints) -> float:
    """How many patients of equal weight tell as much as these do of their rarer class.

    A few patients hold most of the patches with IDC, so that a sensitivity rests on fewer patients than there are:
    (sum of counts) squared over the sum of squared counts (Kish 1965), of the class for which that is less.

    Args:
        clusters: (N,) the patient of each patch, as an index.
        labels: (N,) 1 is IDC.
    """
    counts = [np.bincount(clusters[labels == label]) for label in (0, 1) if np.any(labels == label)]
    return min(float(each.sum() ** 2 / np.sum(each**2)) for each in counts)


def _multiplicities(count: int, draws: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(draws, count) how often each of ``count`` was drawn; below 256 for sure or all but surely."""
    weights = np.empty((draws, count), dtype=np.uint8)
    step = max(1, _ELEMENTS_AT_ONCE // count)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
    return weights
