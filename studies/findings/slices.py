"""The weakest parts of the test split, looked for in a stated set of slices: an exploration, not a test.

A slice is a third of one feature, or of two. Thirds are those of the development patches, so that a slice is the same
before and after the opening, and whether it was weak out of fold as well can be told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from studies.findings.measured import development_rows, seen_in
from studies.records import Floats, Predictions, ReportData
from studies.statistics.comparison import LEVEL, Difference, paired_difference, simultaneous
from studies.statistics.metrics import Estimate, estimate
from studies.statistics.resampling import Resampling, resample
from studies.statistics.selective import share
from studies.statistics.subgroups import share_of_idc

MEASURED = ("brightness", "haematoxylin", "eosin", "sharpness")
SHARE, GLASS = "patient's share of IDC", "near-white"
FEWEST_PATIENTS, FEWEST_PATCHES = 8, 30
"""With fewer a slice is not looked at; the same holds of all patches outside of it."""
SHOWN = 5
"""Slices of each model that the report shows, the weakest first."""
_THIRDS = ("lowest third", "middle third", "highest third")
_STATISTIC = "Difference of the error rate"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """A part of the test split, and how often a model errs in it at its frozen threshold.

    Attributes:
        patches, patients, idc: of the test split; idc is the share with IDC.
        errors, elsewhere: error rate in the slice, and of all other test patches.
        more: their difference; interval and p_adjusted hold for all slices that were looked at together.
        development: the same difference out of fold, with an interval of its own; None of too few patients.
    """

    label: str
    patches: int
    patients: int
    idc: float
    errors: Estimate
    elsewhere: float
    more: Difference
    development: Estimate | None

    @property
    def stands_out(self) -> bool:
        """Whether its errors are more than chance explains, all slices counted in."""
        return self.more.low is not None and self.more.low > 0


@dataclass(frozen=True)
class Slices:
    """What was looked at, and the weakest of it.

    Attributes:
        features: by which slices are made.
        looked_at: slices of all models.
        standing_out: of them, those with more errors than chance explains, all counted in.
        level: two-sided, of all together.
        weakest: model -> ``SHOWN`` slices with the highest lower end of ``more``.
    """

    features: tuple[str, ...]
    fewest_patients: int
    fewest_patches: int
    looked_at: int
    standing_out: int
    level: float
    weakest: dict[str, tuple[Slice, ...]]


def find_slices(data: ReportData, resampling: Resampling) -> Slices | None:
    """None where patients are unknown."""
    known = development_rows(data)
    if not resampling.known or np.any(known.patients == ""):
        return None
    before, now = (_features(rows, seen) for rows, seen in zip((known, data.test), seen_in(data), strict=True))
    parts = [one for one in _parts(before, now) if _enough(data.test, one.inside)]
    models = [model.model for model in data.plan.models]
    wrong = {model: _wrong(data.test, model) for model in models}
    tests = simultaneous([_more(wrong[model], one.inside, resampling) for model in models for one in parts])
    by_model = {model: tests[k * len(parts) : (k + 1) * len(parts)] for k, model in enumerate(models)}
    told = {
        model: [_slice(data, model, part, wrong[model], more, resampling) for part, more in _weakest(parts, found)]
        for model, found in by_model.items()
    }
    return Slices(
        features=tuple(now),
        fewest_patients=FEWEST_PATIENTS,
        fewest_patches=FEWEST_PATCHES,
        looked_at=len(tests),
        standing_out=sum(one.low is not None and one.low > 0 for one in tests),
        level=LEVEL,
        weakest={model: tuple(found) for model, found in told.items()},
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """A slice: (N,) which test patches are in it, and (M,) which development patches."""

    label: str
    inside: Bools
    before: Bools


def _features(rows: Predictions, seen: Mapping[str, Floats]) -> dict[str, Floats]:
    """Feature -> (N,) values."""
    measured = {name: seen[name] for name in MEASURED if name in seen}
    return {**measured, SHARE: share_of_idc(rows), GLASS: rows.near_white.astype(np.float64)}


def _parts(before: Mapping[str, Floats], now: Mapping[str, Floats]) -> Iterator[_Part]:
    """Every level of each feature, then every pair of levels of two features."""
    levels = {name: list(_levels(name, before[name], now[name])) for name in now}
    for found in levels.values():
        yield from found
    for first, second in combinations(levels.values(), 2):
        for one in first:
            for other in second:
                label = f"{one.label}; {other.label}"
                yield _Part(label, one.inside & other.inside, one.before & other.before)


def _levels(name: str, before: Floats, now: Floats) -> Iterator[_Part]:
    if name == GLASS:
        yield _Part("near-white", now == 1, before == 1)
        yield _Part("not near-white", now == 0, before == 0)
        return
    low, high = np.quantile(before, [1 / 3, 2 / 3])
    for place, third in enumerate(_THIRDS):
        inside, was = (_third(values, place, float(low), float(high)) for values in (now, before))
        yield _Part(f"{name}, {third}", inside, was)


def _third(values: Floats, place: int, low: float, high: float) -> Bools:
    found: Bools = (values > low).astype(np.int64) + (values > high) == place
    return found


def _enough(rows: Predictions, inside: Bools) -> bool:
    """Whether the slice and what is outside of it have patients and patches enough."""
    return all(
        part.sum() >= FEWEST_PATCHES and len(np.unique(rows.patients[part])) >= FEWEST_PATIENTS
        for part in (inside, ~inside)
    )


def _wrong(rows: Predictions, model: str) -> Bools:
    wrong: Bools = (rows.probabilities[model] >= rows.thresholds[model]) != (rows.labels == 1)
    return wrong


def _more(wrong: Bools, inside: Bools, resampling: Resampling) -> Difference:
    within, without = (share(wrong, part.astype(np.float64), resampling) for part in (inside, ~inside))
    return paired_difference(_STATISTIC, within, without, resampling)


def _weakest(parts: Sequence[_Part], found: Sequence[Difference]) -> list[tuple[_Part, Difference]]:
    """Those that surely err the most."""
    known = [(part, more) for part, more in zip(parts, found, strict=True) if more.low is not None]
    return sorted(known, key=lambda pair: -(pair[1].low or 0.0))[:SHOWN]


def _slice(data: ReportData, model: str, part: _Part, wrong: Bools, more: Difference, resampling: Resampling) -> Slice:
    test, inside = data.test, part.inside
    return Slice(
        label=part.label,
        patches=int(inside.sum()),
        patients=len(np.unique(test.patients[inside])),
        idc=float(test.labels[inside].mean()),
        errors=estimate(share(wrong, inside.astype(np.float64), resampling), resampling),
        elsewhere=float(wrong[~inside].mean()),
        more=more,
        development=_before(data.out_of_fold[model], model, part.before),
    )


def _before(rows: Predictions, model: str, inside: Bools) -> Estimate | None:
    """The same difference of the development patches, out of fold."""
    if not _enough(rows, inside):
        return None
    one = _more(_wrong(rows, model), inside, resample(rows.patients, rows.labels, draws=0, seed=0))
    return Estimate(one.value, one.low, one.high, one.reason)
