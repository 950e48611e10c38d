"""How good a score is, with intervals that respect patients: arrays in, frozen dataclasses out.

Most of each patient is taken away in turn (``resampling``), and an interval comes from how much that changes a number
(``intervals``). docs/statistics.md explains each statistic in plain words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from studies.statistics.binned import calibration_error
from studies.statistics.edges import Slack, slack, widened
from studies.statistics.intervals import (
    Bases,
    Spread,
    at_the_edge,
    of_a_rate,
    on_the_logit_scale,
    spread,
    too_few,
)
from studies.statistics.resampling import FEWEST_PATIENTS, Floats, Ints, Resampling

FEW_PATIENTS = 20
"""Below this number of patients no interval can be trusted much; the report warns."""
PUBLIC_PREVALENCE = 0.284
"""Share of IDC in the public set: 78,786 of 277,524 patches."""

METRICS: Mapping[str, str] = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1 of IDC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "Expected calibration error",
    "calibration_intercept": "Calibration intercept",
    "calibration_slope": "Calibration slope",
    "sensitivity_at_90_specificity": "Sensitivity at 90 % specificity",
    "sensitivity_at_95_specificity": "Sensitivity at 95 % specificity",
    "ppv_public": "Positive predictive value at 28.4 % IDC",
    "npv_public": "Negative predictive value at 28.4 % IDC",
    "f1_public": "F1 of IDC at 28.4 % IDC",
}
"""Key in report.json -> name in the report and in the analysis plan."""

PRIMARY = "Difference of AUC"
SECONDARY = ("Difference of balanced accuracy", "Difference of Brier score")
NAIVE = ("DeLong test", "Exact McNemar test")
"""What an analysis that takes patches for independent would have said; no claim rests on them."""
ILLUSTRATIONS = (
    "Net benefit",
    "Performance by patient",
    "Performance by the patient's share of IDC",
    "Performance by brightness",
    "Performance by stain",
    "Performance without near-white patches",
    "Calibration before and after temperature",
    "Other thresholds",
    "Agreement of the models",
    "Single members",
    "Mean over patients",
)
PLANNED: tuple[str, ...] = (PRIMARY, *SECONDARY, *NAIVE, *METRICS.values(), *ILLUSTRATIONS)
"""Every statistic that a plan names, primary first; what the report shows beyond them is marked as not planned."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: None where it is not defined (one class only).
        low, high: None where there is no interval.
        reason: why there is none, of a value that is defined.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


# --- from patients to intervals -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sampled:
    """A statistic on all patches, and with most of each patient taken away.

    Attributes:
        value: on all patches; NaN where it is not defined.
        reduced: (patients,) with ``TAKEN`` of the first patient taken away, of the second, ...
        bases: the patches that it rests on; an interval takes enough patients in each.
        scale: "rate" for a share of one kind of patches, "logit" for what else lies in [0, 1], "log" for what is
            positive, "size" for what chance makes larger, and "plain" for differences.
        least: the standard error if patches were independent, where the statistic has such a lower bound.
        by_chance: part of a size that is to be expected of chance.
        slack: what a rate of 0 or 1 leaves open that it is made from.
    """

    value: float
    reduced: Floats
    bases: Bases
    scale: str = "logit"
    least: float = 0.0
    by_chance: float = 0.0
    slack: Slack = (0.0, 0.0)


SAME = "it is the same without any one patient, so nothing says how sure it is"


def how_sure(sampled: Sampled, resampling: Resampling) -> Spread | str:
    """The standard error of a statistic with its degrees of freedom, or why there is none."""
    if not resampling.enough:
        return f"there are {resampling.patients} {resampling.unit}; an interval takes {FEWEST_PATIENTS}"
    if few := too_few(sampled.bases, resampling.unit):
        return few
    found = spread(sampled.value, sampled.reduced, sampled.bases, sampled.least)
    return found if found.error else SAME


def estimate(sampled: Sampled, resampling: Resampling) -> Estimate:
    """The value with its 95 % interval over patients."""
    value = sampled.value
    if not np.isfinite(value):
        return Estimate(None, None, None)
    found = how_sure(sampled, resampling)
    at_an_edge = sampled.scale in ("rate", "logit") and value in (0.0, 1.0)
    if at_an_edge and (found == SAME or isinstance(found, Spread)):
        return Estimate(value, *_from_the_edge(sampled, 0.0 if isinstance(found, str) else found.half))
    if isinstance(found, str):
        return Estimate(value, None, None, found)
    return Estimate(value, *widened(value, _interval(sampled, found), sampled.slack))


def _from_the_edge(sampled: Sampled, half: float) -> tuple[float, float]:
    """The exact interval of 0 or 1, as wide as a patient moves the value where one does.

    A sensitivity at a given specificity may be 0 or 1 and yet another one without some patient.
    """
    low, high = at_the_edge(sampled.value, sampled.bases)
    return max(0.0, min(low, sampled.value - half)), min(1.0, max(high, sampled.value + half))


def _interval(sampled: Sampled, found: Spread) -> tuple[float, float]:
    value = sampled.value
    match sampled.scale:
        case "rate":
            return of_a_rate(value, found)
        case "logit":
            return on_the_logit_scale(value, found)
        case "log":
            factor = float(np.exp(found.half / value))
            return value / factor, value * factor
        case "size":
            return max(0.0, value - sampled.by_chance - found.half), min(1.0, value + found.half)
        case _:
            return value - found.half, value + found.half


# --- ranking: AUC, average precision, sensitivity at a specificity --------------------------------------------------


def auc(labels: Ints, scores: Floats) -> float:
    """Area under the ROC curve, ties counted half; NaN where there is one class only."""
    hits, alarms = cumulative_counts(labels, scores, np.ones((1, len(labels))))
    return float(_auc(hits, alarms)[0])


def average_precision(labels: Ints, scores: Floats) -> float:
    """Area under the precision-recall steps (not interpolated); NaN where no patch is IDC."""
    hits, alarms = cumulative_counts(labels, scores, np.ones((1, len(labels))))
    return float(_average_precision(hits, alarms)[0])


def cumulative_counts(labels: Ints, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """True and false positives as the threshold falls over the T distinct scores.

    Args:
        labels: (N,) 1 is IDC.
        scores: (N,) higher is more like IDC.
        weights: (B, N) how often each patch counts.

    Returns:
        Two (B, T) arrays, weighted counts at or above each distinct score, highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    sorted_weights = weights[:, order]
    called = np.cumsum(sorted_weights, axis=1)[:, last_of_ties]
    hits = np.cumsum(sorted_weights * labels[order], axis=1)[:, last_of_ties]
    return hits, called - hits


_ROUNDING = 1e-12  # sums of weights leave a perfect score so near to 1, which then has no logit


def _auc(hits: Floats, alarms: Floats) -> Floats:
    """(B, T) counts -> (B,) by the trapezoid rule."""
    before = np.concatenate([np.zeros((len(hits), 1)), hits[:, :-1]], axis=1)
    steps = np.diff(alarms, axis=1, prepend=0.0)
    areas = _ratio(np.einsum("bt,bt->b", steps, hits + before) / 2, hits[:, -1] * alarms[:, -1])
    return np.where(np.abs(areas - np.round(areas)) < _ROUNDING, np.round(areas), areas)


def _average_precision(hits: Floats, alarms: Floats) -> Floats:
    """(B, T) counts -> (B,) sum of precision times the step of recall."""
    precision = hits / np.maximum(hits + alarms, 1e-12)
    return _ratio(np.einsum("bt,bt->b", np.diff(hits, axis=1, prepend=0.0), precision), hits[:, -1])


def _sensitivity_at(specificity: float, hits: Floats, alarms: Floats) -> Floats:
    """(B, T) counts -> (B,) the highest sensitivity that keeps at least this specificity, without interpolation."""
    allowed = alarms <= (1 - specificity) * alarms[:, -1:] + 1e-9
    return _ratio(np.max(np.where(allowed, hits, 0.0), axis=1), hits[:, -1])


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Top / bottom, NaN where the bottom is zero."""
    ratio: Floats = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0)
    return ratio


def _ranking(labels: Ints, scores: Floats, weights: Floats) -> Floats:
    """(B, N) weights -> (B, 4) AUC, average precision, sensitivity at 90 and at 95 % specificity."""
    hits, alarms = cumulative_counts(labels, scores, weights)
    at_90, at_95 = (_sensitivity_at(level, hits, alarms) for level in (0.90, 0.95))
    columns = [_auc(hits, alarms), _average_precision(hits, alarms), at_90, at_95]
    both_classes = alarms[:, -1] > 0  # else no specificity, and an average precision of 1 by default
    return np.where(both_classes[:, None], np.stack(columns, axis=1), np.nan)


def ranking(labels: Ints, scores: Floats, resampling: Resampling, weight: Floats | None = None) -> dict[str, Sampled]:
    """What needs no threshold: AUC, average precision, sensitivity at 90 and 95 % specificity.

    Args:
        labels: (N,) 1 is IDC.
        scores: (N,) higher is more like IDC.
        resampling: over the same N patches.
        weight: (N,) of each patch; all the same by default.
    """
    each = np.ones(len(labels)) if weight is None else weight
    whole = _ranking(labels, scores, each[None])[0]
    reduced = np.concatenate([_ranking(labels, scores, block * each) for block in resampling.reduced_blocks()])
    names = ("auc", "average_precision", "sensitivity_at_90_specificity", "sensitivity_at_95_specificity")
    bases = by_class(labels, resampling, each)
    return {name: Sampled(float(whole[k]), reduced[:, k], bases) for k, name in enumerate(names)}


def by_class(labels: Ints, resampling: Resampling, weight: Floats | None = None) -> Bases:
    """Patches with and without IDC of each patient; ``weight`` as in ``ranking``."""
    each = np.ones(len(labels)) if weight is None else weight
    return tuple(resampling.base(each * (labels == label)) for label in (1, 0))


# --- at a threshold -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Confusion:
    """Patches by label and call at the frozen threshold; IDC is positive."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


def confusion(labels: Ints, probabilities: Floats, threshold: float) -> Confusion:
    """Counts at or above the threshold (called IDC) and below it."""
    return Confusion(*(int(count) for count in _outcomes(labels, probabilities, threshold).sum(axis=0)))


def _outcomes(labels: Ints, probabilities: Floats, threshold: float) -> Floats:
    """(N, 4) one of true positive, false positive, true negative, false negative is 1."""
    idc, called = labels == 1, probabilities >= threshold
    return np.stack([idc & called, ~idc & called, ~idc & ~called, idc & ~called], axis=1).astype(np.float64)


def balanced_accuracy(labels: Ints, probabilities: Floats, threshold: float) -> float:
    """Mean of sensitivity and specificity; NaN where there is one class only."""
    counts = _outcomes(labels, probabilities, threshold).sum(axis=0, keepdims=True)
    return float(_rates(counts)["balanced_accuracy"][0])


_OF_A_CLASS = ("sensitivity", "specificity")


def _rates(counts: Floats) -> dict[str, Floats]:
    """(B, 4) counts -> rates of (B,), in the sample and at the public set's prevalence."""
    tp, fp, tn, fn = counts.T
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    idc, rest = PUBLIC_PREVALENCE, 1 - PUBLIC_PREVALENCE
    return {
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "f1": np.where(tp + fn > 0, _ratio(2 * tp, 2 * tp + fp + fn), np.nan),  # nothing to find is not found badly
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "ppv_public": _ratio(sensitivity * idc, sensitivity * idc + (1 - specificity) * rest),
        "npv_public": _ratio(specificity * rest, specificity * rest + (1 - sensitivity) * idc),
        "f1_public": _ratio(2 * sensitivity * idc, sensitivity * idc + idc + (1 - specificity) * rest),
    }


def at_threshold(
    labels: Ints, probabilities: Floats, threshold: float, resampling: Resampling, weight: Floats | None = None
) -> dict[str, Sampled]:
    """Rates at a threshold, in the sample and at the public set's prevalence; ``weight`` as in ``ranking``."""
    outcomes = _outcomes(labels, probabilities, threshold) * (1.0 if weight is None else weight[:, None])
    whole, reduced = _rates(outcomes.sum(axis=0, keepdims=True)), _rates(resampling.sum_reduced(outcomes))
    tp, fp, tn, fn = outcomes.T
    idc, rest = resampling.base(tp + fn), resampling.base(tn + fp)
    found = {name: Sampled(float(whole[name][0]), reduced[name], (idc, rest)) for name in whole}
    places = {"sensitivity": [0, 3], "specificity": [2, 1], "ppv": [0, 1], "npv": [2, 3]}
    for name, columns in places.items():
        found[name] = rate(float(whole[name][0]), reduced[name], resampling, outcomes[:, columns].sum(axis=1))
    least = float(np.hypot(found["sensitivity"].least, found["specificity"].least)) / 2
    found["balanced_accuracy"] = replace(found["balanced_accuracy"], least=least)
    found["f1"] = replace(found["f1"], bases=(idc if too_few((idc,)) else resampling.base(2 * tp + fp + fn),))
    edges = {name: estimate(found[name], resampling) for name in _OF_A_CLASS if found[name].value in (0.0, 1.0)}
    far = {name: one.low if one.value == 1.0 else one.high for name, one in edges.items()}
    left_open = slack(outcomes.sum(axis=0), _rates, far) if far else {}
    return found | {name: replace(found[name], slack=sides) for name, sides in left_open.items()}


def rate(value: float, reduced: Floats, resampling: Resampling, weight: Floats) -> Sampled:
    """A share of patches.

    Args:
        value: the share.
        reduced: (patients,) as in ``Sampled``.
        resampling: over the same N patches.
        weight: (N,) of each patch; 0 of those that it does not rest on.
    """
    count = weight.sum() ** 2 / max(np.sum(weight**2), 1e-300)
    least = float(np.sqrt(value * (1 - value) / max(count, 1.0)))
    return Sampled(value, reduced, (resampling.base(weight),), "rate", least)


# --- quality of the probabilities -----------------------------------------------------------------------------------


def probability_errors(labels: Ints, logits: Floats, resampling: Resampling) -> dict[str, Sampled]:
    """Brier score, log loss and expected calibration error (equal-mass bins, edges from all patches).

    Args:
        labels: (N,) 1 is IDC.
        logits: (N,) of the probabilities, divided by the temperature, where there is one.
        resampling: over the same N patches.
    """
    losses = np.stack([(special.expit(logits) - labels) ** 2, _log_losses(labels, logits)], axis=1)
    patches = np.ones(len(labels))
    bases = (resampling.base(patches),)
    reduced = resampling.sum_reduced(losses) / resampling.sum_reduced(patches)[:, None]
    ece, ece_reduced, by_chance = calibration_error(labels, logits, resampling)
    return {
        "brier": Sampled(float(losses[:, 0].mean()), reduced[:, 0], bases),
        "log_loss": Sampled(float(losses[:, 1].mean()), reduced[:, 1], bases, "log"),
        "ece": Sampled(ece, ece_reduced, bases, "size", by_chance=by_chance),
    }


def _log_losses(labels: Ints, logits: Floats) -> Floats:
    """(N,) minus the logarithm of the probability of the label, also of one that is 0 to the last digit."""
    losses: Floats = np.logaddexp(0.0, np.where(labels == 1, -logits, logits))
    return losses


# --- all together ---------------------------------------------------------------------------------------------------


def measure(labels: Ints, logits: Floats, threshold: float, resampling: Resampling) -> dict[str, Sampled]:
    """Every metric of one score; the calibration line has its own (``calibration.calibration_line``).

    From logits, as probabilities that are 0 or 1 to the last digit have lost their order and their logarithm.

    Args:
        labels: (N,) 1 is IDC.
        logits: (N,) divided by the temperature, where there is one.
        threshold: on the probability; at or above it a patch is called IDC.
        resampling: over the same N patches; share it between models that are compared.
    """
    return {
        **ranking(labels, logits, resampling),
        **at_threshold(labels, special.expit(logits), threshold, resampling),
        **probability_errors(labels, logits, resampling),
    }
