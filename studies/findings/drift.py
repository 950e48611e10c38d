"""Whether test patients look like the development patients, and whether models err more on those who do not."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from studies.findings.measured import development_rows, seen_in
from studies.records import Floats, Predictions, ReportData
from studies.statistics.intervals import FEWEST_OF_A_CLASS
from studies.statistics.metrics import Estimate
from studies.statistics.outlying import bound, distances, each_from_the_others, fewest_known
from studies.statistics.resampling import FEWEST_PATIENTS

USUAL = 0.05
"""Share of patients like the development patients who lie beyond the bound."""
TEST = "test"


@dataclass(frozen=True)
class Shift:
    """How far the test patients are from the development patients in one measure, each patient by its mean.

    Attributes:
        development, test: mean over the patients.
        shift: test minus development, in standard deviations between development patients; a Welch interval.
    """

    measure: str
    development: float
    test: float
    shift: Estimate


@dataclass(frozen=True)
class Place:
    """Where a patient lies.

    Attributes:
        part: "development" or "test".
        deviations: measure -> mean of the patient's patches, in standard deviations between development patients.
        distance: from all (other) development patients; 1 at the bound.
        outside: whether it is beyond.
    """

    patient: str
    part: str
    patches: int
    deviations: dict[str, float]
    distance: float
    outside: bool

    @property
    def furthest(self) -> str:
        """The measure in which it is the furthest from the middle."""
        return max(self.deviations, key=lambda name: abs(self.deviations[name]))


@dataclass(frozen=True)
class Erring:
    """Mean over patients of the share of patches that a model calls wrongly at its frozen threshold.

    Attributes:
        outside, inside: of test patients beyond the bound and of the others; None of none.
        difference: outside minus inside, with a Welch interval over patients.
    """

    outside: float | None
    inside: float | None
    difference: Estimate


@dataclass(frozen=True)
class Drift:
    """Development against test.

    Attributes:
        usual: share of new patients that lies outside by chance alone.
        development, test: patients.
        outside: of the latter.
        furthest: patient outside -> the measure in which it is the furthest from the middle.
        errors: by model.
    """

    usual: float
    development: int
    test: int
    outside: int
    shifts: tuple[Shift, ...]
    places: tuple[Place, ...]
    furthest: dict[str, str]
    errors: dict[str, Erring]


def find_drift(data: ReportData) -> Drift | None:
    """None where patients are unknown, or too few of development for a bound or of the test split to compare."""
    known = development_rows(data)
    if np.any(known.patients == "") or np.any(data.test.patients == ""):
        return None
    before, now = (_means(rows, seen) for rows, seen in zip((known, data.test), seen_in(data), strict=True))
    if len(before.ids) < fewest_known(USUAL) or len(now.ids) < FEWEST_PATIENTS:
        return None
    own = each_from_the_others(before.means)
    limit = bound(own, USUAL)
    apart = distances(before.means, now.means)
    middle, spread = before.means.mean(axis=0), before.means.std(axis=0, ddof=1)
    spread[spread == 0] = 1.0
    places = [
        Place(
            patient=str(patient),
            part=part,
            patches=int(of.sizes[k]),
            deviations={name: float(one) for name, one in zip(of.names, (of.means[k] - middle) / spread, strict=True)},
            distance=float(far[k] / limit),
            outside=bool(far[k] > limit),
        )
        for part, of, far in (("development", before, own), (TEST, now, apart))
        for k, patient in enumerate(of.ids)
    ]
    outside = apart > limit
    return Drift(
        usual=USUAL,
        development=len(before.ids),
        test=len(now.ids),
        outside=int(outside.sum()),
        shifts=tuple(_shift(name, before.means[:, k], now.means[:, k]) for k, name in enumerate(before.names)),
        places=tuple(places),
        furthest={one.patient: one.furthest for one in places if one.part == TEST and one.outside},
        errors={model.model: _erring(data.test, model.model, outside) for model in data.plan.models},
    )


@dataclass(frozen=True, eq=False)
class _Means:
    """Means over the patches of each patient: (P,) ids and patches, (P, D) means of the D measures."""

    names: tuple[str, ...]
    ids: npt.NDArray[np.str_]
    sizes: npt.NDArray[np.int64]
    means: Floats


def _means(rows: Predictions, seen: Mapping[str, Floats]) -> _Means:
    ids, unit, sizes = np.unique(rows.patients, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(unit, values) / sizes for values in seen.values()], axis=1)
    return _Means(tuple(seen), ids, sizes, means)


def _shift(measure: str, before: Floats, now: Floats) -> Shift:
    spread = float(before.std(ddof=1)) or 1.0
    return Shift(measure, float(before.mean()), float(now.mean()), _welch(now / spread, before / spread))


def _erring(test: Predictions, model: str, outside: npt.NDArray[np.bool_]) -> Erring:
    _, unit, sizes = np.unique(test.patients, return_inverse=True, return_counts=True)
    wrong = (test.probabilities[model] >= test.thresholds[model]) != (test.labels == 1)
    rates = np.bincount(unit, wrong) / sizes
    far, near = rates[outside], rates[~outside]
    few = min(len(far), len(near))
    if not few:
        difference = Estimate(None, None, None)
    elif few < FEWEST_OF_A_CLASS:
        why = f"it rests on {few} {'patient' if few == 1 else 'patients'}; an interval takes {FEWEST_OF_A_CLASS}"
        difference = Estimate(float(far.mean() - near.mean()), None, None, why)
    else:
        difference = _welch(far, near)
    return Erring(_mean(far), _mean(near), difference)


def _mean(rates: Floats) -> float | None:
    return float(rates.mean()) if len(rates) else None


def _welch(first: Floats, second: Floats) -> Estimate:
    """Difference of means of two groups of patients, with its 95 % interval (Welch 1947)."""
    value = float(first.mean() - second.mean())
    parts = np.array([group.var(ddof=1) / len(group) for group in (first, second)])
    if not parts.sum():
        return Estimate(value, None, None, "all patients of a group are alike")
    freedom = parts.sum() ** 2 / np.sum(parts**2 / (np.array([len(first), len(second)]) - 1))
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(parts.sum()))
    return Estimate(value, value - half, value + half)
