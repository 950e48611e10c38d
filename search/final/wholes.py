"""Patients as wholes: whether the mean of a patient's patches is what means of development patients are.

Each patch of a scanner with paler colours may be as pale as some patch of development; all of them together are not.
The mean of a patient varies as patients do, and as the patches do that it is of (a one-way random-effects model, by
its moments: Searle, Casella & McCulloch, Variance Components, 1992, chapter 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from data_utils.readers.patchset import Strings
from studies.records import Floats

FEWEST = 5
"""Development patients, below which nothing is said of others."""
USUAL_OF_PATIENTS = 0.03
"""Share of patients of the same kind that are beyond the bounds of each, at most. Of real ones, fitted to one half and
asked of the other, 1 to 3 % are where a normal distribution has 1 %."""
_RIDGE = 1e-12


@dataclass(frozen=True, eq=False)
class Wholes:
    """What is usual of the means of development patients, measure by measure.

    Attributes:
        mean: (M,) over the patients' means.
        apart: (M,) variance of the patients' means.
        within: (M,) variance of the patches of a patient.
        patients, patches: (), how many.
        share: (), mean over patients of 1 / their patches: so much of ``within`` is in ``apart``.
    """

    mean: Floats
    apart: Floats
    within: Floats
    patients: npt.NDArray[np.int64]
    patches: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]

    @property
    def between(self) -> Floats:
        """(M,) variance of patients."""
        found: Floats = np.maximum(self.apart - self.within * self.share, 0.0)
        return found

    def beyond(self, means: Floats, counts: Floats, rates: Floats) -> npt.NDArray[np.bool_]:
        """Which means of other patients are further away than all but a share of such patients.

        The variance of how far a mean lies from ``mean`` is a sum of the two known ones, the second of which may count
        against the first; its degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946, 110-114), few where
        most of the first is the second: what patients differ by is hardly known then.

        Args:
            means: (P, M) of each patient's patches.
            counts: (P,) of these.
            rates: (M,) the share, of both sides together.

        Returns:
            (P, M).
        """
        of_the_mean = (self.between + self.within * self.share) / self.patients
        variance = self.between + self.within / counts[:, None] + of_the_mean + _RIDGE
        first = self.apart * (1 + 1 / self.patients)
        second = self.within * (1 / counts[:, None] - self.share)
        apart = first**2 / (self.patients - 1) + second**2 / np.maximum(self.patches - self.patients, 1)
        freedom = np.clip(variance**2 / (apart + _RIDGE**2), 1.0, None)
        found: npt.NDArray[np.bool_] = np.abs(means - self.mean) > t.ppf(1 - rates / 2, freedom) * np.sqrt(variance)
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As they are stored."""
        return {f"whole_{one.name}": np.asarray(getattr(self, one.name)) for one in fields(self)}


def fit_wholes(measured: Floats, patients: Strings) -> Wholes | None:
    """From (N, M) measures of development patches; None with too few patients."""
    names, unit = np.unique(patients, return_inverse=True)
    if len(names) < FEWEST:
        return None
    found = Sums()
    found.add(measured, patients)
    _, means, counts = found.means()  # in the order of their names
    within = np.square(measured - means[unit]).sum(axis=0) / max(len(measured) - len(names), 1)
    return Wholes(
        mean=means.mean(axis=0),
        apart=means.var(axis=0, ddof=1),
        within=within,
        patients=np.asarray(len(names)),
        patches=np.asarray(len(measured)),
        share=np.asarray((1 / counts).mean()),
    )


def stored_wholes(arrays: Mapping[str, npt.NDArray[Any]]) -> Wholes | None:
    """As ``Wholes.arrays`` has left them; None where a version before has left none."""
    if "whole_share" not in arrays:
        return None
    return Wholes(**{one.name: arrays[f"whole_{one.name}"] for one in fields(Wholes)})


class Sums:
    """Measures of patches that come piece by piece, added up by patient."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, Floats]] = {}

    def add(self, measured: Floats, patients: Strings) -> None:
        """Takes (n, M) measures, and the patient of each; "" is one, where patients are unknown."""
        for name in np.unique(patients).tolist():
            own = measured[patients == name]
            count, total = self._of.get(name, (0, 0.0))
            self._of[name] = count + len(own), total + own.sum(axis=0)

    def means(self) -> tuple[list[str], Floats, Floats]:
        """Names of the patients (P,), means (P, M), and counts of patches (P,)."""
        counts = np.array([count for count, _ in self._of.values()], np.float64)
        return list(self._of), np.stack([total for _, total in self._of.values()]) / counts[:, None], counts
