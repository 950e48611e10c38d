"""The same scores looked at part by part: by patient, by the patient's share of IDC, by brightness and by stain."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.records import Predictions
from studies.statistics.comparison import delong_interval
from studies.statistics.metrics import Estimate, at_threshold, confusion, estimate, ranking
from studies.statistics.resampling import Floats, resample

Bools = npt.NDArray[np.bool_]
_THIRDS = ("lowest third", "middle third", "highest third")


@dataclass(frozen=True)
class Subgroup:
    """A part of the test patches.

    Attributes:
        family: what they were divided by, as in the analysis plan.
        label: which part.
        patients: how many patients have patches in it; 0 where ids are unknown.
        auc, sensitivity, specificity: by model, with intervals over patients.
    """

    family: str
    label: str
    patches: int
    idc: int
    patients: int
    auc: dict[str, Estimate]
    sensitivity: dict[str, Estimate]
    specificity: dict[str, Estimate]


@dataclass(frozen=True)
class PatientRow:
    """One patient of the test split.

    Attributes:
        auc: by model; DeLong's interval, as within one patient there is nothing to resample but patches. None where
            the patient has one class only; without an interval where a class has a single patch.
        right: by model, patches called rightly at the frozen threshold.
    """

    patient: str
    patches: int
    idc: int
    auc: dict[str, Estimate]
    right: dict[str, int]


def subgroups(test: Predictions, models: tuple[str, ...], seed: int) -> tuple[Subgroup, ...]:
    """Every part that the analysis plan names."""
    return tuple(
        _subgroup(test, models, family, label, inside, seed) for family, label, inside in _parts(test) if inside.any()
    )


def _parts(test: Predictions) -> Iterator[tuple[str, str, Bools]]:
    yield "All", "all patches", np.ones(len(test.labels), dtype=bool)
    yield "Performance without near-white patches", "without near-white patches", ~test.near_white
    yield "Performance without near-white patches", "near-white patches only", test.near_white
    if np.all(test.patients != ""):
        yield from _thirds(
            "Performance by the patient's share of IDC", "share of IDC", share_of_idc(test), percent=True
        )
    yield from _thirds("Performance by brightness", "brightness", test.brightness)
    yield from _thirds("Performance by stain", "haematoxylin", test.haematoxylin)
    yield from _thirds("Performance by stain", "eosin", test.eosin)


def share_of_idc(test: Predictions) -> Floats:
    """(N,) the share of IDC among the test patches of the patch's patient."""
    _, place, counts = np.unique(test.patients, return_inverse=True, return_counts=True)
    shares: Floats = (np.bincount(place, test.labels) / counts)[place]
    return shares


def _thirds(family: str, name: str, values: Floats, *, percent: bool = False) -> Iterator[tuple[str, str, Bools]]:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    least, most = (f"{100 * edge:.0f} %" if percent else f"{edge:.{3 if edge >= 1 else 2}g}" for edge in (low, high))
    if low == high:  # as the share of IDC where most patches are of patients who have none
        yield family, f"{name}, up to {least}", values <= low
        yield family, f"{name}, above {least}", values > low
        return
    bounds = (f"up to {least}", f"{least} to {most}", f"above {most}")
    inside = (values <= low, (values > low) & (values <= high), values > high)
    for third, bound, part in zip(_THIRDS, bounds, inside, strict=True):
        yield family, f"{name}, {third} ({bound})", part


def _subgroup(
    test: Predictions, models: tuple[str, ...], family: str, label: str, inside: Bools, seed: int
) -> Subgroup:
    labels, patients = test.labels[inside], test.patients[inside]
    resampling = resample(patients, labels, draws=0, seed=seed)
    found: dict[str, dict[str, Estimate]] = {"auc": {}, "sensitivity": {}, "specificity": {}}
    for model in models:
        sampled = ranking(labels, test.logits[model][inside], resampling) | at_threshold(
            labels, test.probabilities[model][inside], test.thresholds[model], resampling
        )
        for metric, by_model in found.items():
            by_model[model] = estimate(sampled[metric], resampling)
    known = len(np.unique(patients)) if resampling.known else 0
    return Subgroup(family, label, len(labels), int(labels.sum()), known, **found)


def by_patient(test: Predictions, models: tuple[str, ...]) -> tuple[PatientRow, ...]:
    """Each patient, largest share of IDC first; empty where patients are unknown."""
    if not np.all(test.patients != ""):
        return ()
    rows = [_patient(test, models, patient) for patient in np.unique(test.patients)]
    return tuple(sorted(rows, key=lambda row: (-row.idc / row.patches, row.patient)))


def _patient(test: Predictions, models: tuple[str, ...], patient: str) -> PatientRow:
    own = test.patients == patient
    labels = test.labels[own]
    aucs, right = {}, {}
    for model in models:
        found = delong_interval(labels, test.logits[model][own])
        aucs[model] = Estimate(*found) if found else Estimate(None, None, None)
        counts = confusion(labels, test.probabilities[model][own], test.thresholds[model])
        right[model] = counts.true_positive + counts.true_negative
    return PatientRow(str(patient), len(labels), int(labels.sum()), aucs, right)
