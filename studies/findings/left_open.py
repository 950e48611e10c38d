"""What it gains to leave the least certain patches open, and whether ``--abstain`` would have kept its promise."""

from dataclasses import dataclass

import numpy as np

from studies.findings.ensemble import ENSEMBLE
from studies.records import Floats, Predictions, ReportData
from studies.statistics.conformal import classes_within, fewest_patients, largest_error
from studies.statistics.curves import Curve
from studies.statistics.metrics import Estimate, estimate
from studies.statistics.resampling import Resampling
from studies.statistics.selective import COVERAGES, area_under_risk, most_certain, of_kept, risk_coverage, share

RATES = (0.1, 0.05)
"""What ``--abstain`` is asked for in the report's table."""


@dataclass(frozen=True)
class Kept:
    """The most certain test patches.

    Attributes:
        coverage: share of the patches that was asked for.
        patches: that are kept; more where some are equally certain.
        accuracy, balanced_accuracy, sensitivity: of these, each called by its nearer class.
    """

    coverage: float
    patches: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    sensitivity: Estimate


@dataclass(frozen=True)
class Promise:
    """``search.predict --abstain RATE`` on the test patches, by the scores of the development patients out of fold.

    Attributes:
        rate: at most so many patches of a new patient are called wrongly.
        left_open: patches whose set holds both classes.
        coverage: share of the others.
        accuracy: of these.
        held: mean over the test patients of the share of patches whose true class is in the set; promised is 1 - rate.
    """

    rate: float
    left_open: int
    coverage: float
    accuracy: Estimate
    held: Estimate


@dataclass(frozen=True)
class LeftOpen:
    """Of one final model.

    Attributes:
        kept: at each of ``COVERAGES``.
        aurc: area under the curve of errors.
        errors: error rate of what is kept against coverage.
        promises: none where patients are unknown or too few, or of an ensemble that is not the final one.
    """

    kept: tuple[Kept, ...]
    aurc: Estimate
    errors: Curve
    promises: tuple[Promise, ...]


def find_left_open(data: ReportData, resampling: Resampling) -> dict[str, LeftOpen]:
    """Of each final model, and of the ensemble where the plan has one."""
    entries = [model.model for model in data.plan.models]
    if data.plan.ensemble is not None and ENSEMBLE in data.test.probabilities:
        entries.append(ENSEMBLE)
    return {entry: _of(data.test, data.out_of_fold.get(entry), entry, resampling) for entry in entries}


def _of(test: Predictions, known: Predictions | None, entry: str, resampling: Resampling) -> LeftOpen:
    labels, probabilities = test.labels, test.probabilities[entry]
    return LeftOpen(
        kept=tuple(_kept(test, probabilities, coverage, resampling) for coverage in COVERAGES),
        aurc=estimate(area_under_risk(labels, probabilities, resampling), resampling),
        errors=risk_coverage(labels, probabilities, resampling),
        promises=() if known is None else _promises(test, known, entry, resampling),
    )


def _kept(test: Predictions, probabilities: Floats, coverage: float, resampling: Resampling) -> Kept:
    kept = most_certain(probabilities, coverage)
    found = of_kept(test.labels, probabilities, kept, resampling)
    names = ("accuracy", "balanced_accuracy", "sensitivity")
    return Kept(coverage, int(kept.sum()), *(estimate(found[name], resampling) for name in names))


def _promises(test: Predictions, known: Predictions, entry: str, resampling: Resampling) -> tuple[Promise, ...]:
    if not resampling.known or np.any(known.patients == ""):
        return ()
    patients = len(np.unique(known.patients))
    errors = {
        rate: largest_error(known.probabilities[entry], known.labels, known.patients, rate)
        for rate in RATES
        if patients >= fewest_patients(rate)
    }
    return tuple(_promise(test, entry, rate, error, resampling) for rate, error in errors.items())


def _promise(test: Predictions, entry: str, rate: float, error: float, resampling: Resampling) -> Promise:
    probabilities = test.probabilities[entry]
    sets = classes_within(probabilities, error)  # (N, 2)
    called = sets.sum(axis=1) == 1
    held = sets[np.arange(len(sets)), test.labels]
    _, unit, sizes = np.unique(test.patients, return_inverse=True, return_counts=True)
    return Promise(
        rate=rate,
        left_open=int(np.sum(~called)),
        coverage=float(called.mean()),
        accuracy=estimate(share(held, called.astype(np.float64), resampling), resampling),
        held=estimate(share(held, 1 / sizes[unit], resampling), resampling),
    )
