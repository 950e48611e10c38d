"""Two questions that one score answers: how it does over patches, and how it does over patients.

Over patches, as most publications have it, patients with large lesions decide, for they hold most patches. In the mean
over patients every patient counts the same, in each class: all patches of a class that one patient has weigh one
together (Williamson, Datta & Satten 2003, doi:10.1111/1541-0420.00005). Of a sensitivity that is the mean of the
patients' own; of an AUC it is how often a patch of a patient with IDC gets a higher score than one of a patient without
or with, both drawn first as patients and then as patches. The mean of the patients' own AUCs asks a third question, how
well patches are ranked within a patient, where the level of a stain no longer matters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from studies.statistics.comparison import Difference, paired_difference, simultaneous
from studies.statistics.metrics import Estimate, Sampled, at_threshold, auc, estimate, ranking
from studies.statistics.resampling import Floats, Ints, Resampling

COMPARED = ("auc", "balanced_accuracy", "sensitivity", "specificity")
"""Metrics that have both."""
JUDGED = COMPARED[:2]
"""Those by which a disagreement is told; the other two make up the second."""


@dataclass(frozen=True)
class Estimand:
    """One metric over patches and over patients.

    Attributes:
        patches: all patches weigh the same.
        patients: all patients weigh the same.
        difference: of the two, over the same patients; its interval holds for all models together.
    """

    patches: Estimate
    patients: Estimate
    difference: Difference


@dataclass(frozen=True)
class Estimands:
    """Both of one model.

    Attributes:
        metrics: metric -> over patches and over patients.
        within: mean of the patients' own AUCs.
        ranked: patients with both classes, who have one.
    """

    metrics: dict[str, Estimand]
    within: Estimate
    ranked: int


def estimands(
    labels: Ints,
    scores: Mapping[str, tuple[Floats, float]],
    measured: Mapping[str, Mapping[str, Sampled]],
    resampling: Resampling,
) -> dict[str, Estimands]:
    """Every model's metrics over patches and over patients; none where patients are unknown.

    Args:
        labels: (N,) 1 is IDC.
        scores: model -> (N,) logits of its probabilities, and the frozen threshold on these.
        measured: model -> metric, over patches.
        resampling: over the same N patches.
    """
    if not resampling.known:
        return {}
    found = {name: _of(labels, *scores[name], measured[name], resampling) for name in scores}
    places = [(name, metric) for name in found for metric in JUDGED]
    tests = simultaneous([found[name].metrics[metric].difference for name, metric in places])
    for (name, metric), test in zip(places, tests, strict=True):
        found[name].metrics[metric] = replace(found[name].metrics[metric], difference=test)
    return found


def _of(
    labels: Ints, logits: Floats, threshold: float, over_patches: Mapping[str, Sampled], resampling: Resampling
) -> Estimands:
    weight = _weight(labels, resampling)
    over_patients = {
        **ranking(labels, logits, resampling, weight),
        **at_threshold(labels, special.expit(logits), threshold, resampling, weight),
    }
    metrics = {
        metric: Estimand(
            patches=estimate(over_patches[metric], resampling),
            patients=estimate(over_patients[metric], resampling),
            difference=paired_difference(metric, over_patches[metric], over_patients[metric], resampling),
        )
        for metric in COMPARED
    }
    own = _own(labels, logits, resampling)
    return Estimands(metrics, estimate(_mean(own, resampling), resampling), int(np.isfinite(own).sum()))


def _weight(labels: Ints, resampling: Resampling) -> Floats:
    """(N,) one over the patches of the same class of the same patient."""
    place = 2 * resampling.each + (labels == 1)
    weight: Floats = 1 / np.bincount(place)[place]
    return weight


def _own(labels: Ints, logits: Floats, resampling: Resampling) -> Floats:
    """(patients,) AUC of each patient; NaN of those with one class only."""
    rows = np.split(np.argsort(resampling.each, kind="stable"), np.cumsum(np.bincount(resampling.each))[:-1])
    return np.array([auc(labels[own], logits[own]) for own in rows])


def _mean(own: Floats, resampling: Resampling) -> Sampled:
    """The mean over the patients that have a value; their patches weigh one together."""
    ranked = np.isfinite(own)
    weight = (ranked / np.bincount(resampling.each))[resampling.each]
    value = float(own[ranked].mean()) if ranked.any() else float("nan")
    with np.errstate(invalid="ignore"):
        sums = resampling.sum_reduced(weight * np.nan_to_num(own)[resampling.each])
        return Sampled(value, sums / resampling.sum_reduced(weight), (resampling.base(weight),))
