"""How good a score is, with intervals that respect patients: arrays in, frozen dataclasses out.

Patients are drawn (``resampling``), and the spread of the draws is taken on the logit scale and widened by Student's t
with (effective patients - 1) degrees of freedom; the plain percentile interval is too narrow with few patients.
docs/statistics.md explains each statistic in plain words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from studies.statistics.resampling import Floats, Ints, Resampling

FEW_PATIENTS = 20
"""Below this number of patients no interval can be trusted much; the report warns."""
PUBLIC_PREVALENCE = 0.284
"""Share of IDC in the public set: 78,786 of 277,524 patches."""
BINS = 10
"""Equal-mass bins of the expected calibration error and of the reliability diagram."""

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
    """A number with its 95 % interval; None where it is not defined (one class only, fewer than 5 patients)."""

    value: float | None
    low: float | None
    high: float | None


# --- from draws to intervals ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sampled:
    """A statistic on all patches and on every draw.

    Attributes:
        value: on all patches; NaN where it is not defined.
        draws: (draws,) on each draw; NaN where a draw left it undefined.
        scale: "logit" for what lies in [0, 1], "log" for what is positive, "plain" for differences.
    """

    value: float
    draws: Floats
    scale: str = "logit"


def estimate(sampled: Sampled, resampling: Resampling, patches: int | None = None) -> Estimate:
    """The value with its 95 % interval over patients; ``patches`` it rests on, where these are not all."""
    if not np.isfinite(sampled.value):
        return Estimate(None, None, None)
    if not resampling.enough:
        return Estimate(sampled.value, None, None)
    if sampled.scale == "logit" and sampled.value in (0.0, 1.0):
        return _at_the_edge(sampled.value, resampling.patients)
    there, back = _scale(sampled, patches or len(resampling.clusters))
    spread = resampling.standard_error(there(sampled.draws))
    if not np.isfinite(spread):
        return Estimate(sampled.value, None, None)
    centre = there(np.array([sampled.value]))[0]
    low, high = back(np.array([centre - resampling.t * spread, centre + resampling.t * spread]))
    return Estimate(sampled.value, float(low), float(high))


def _scale(sampled: Sampled, patches: int) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """There and back; half a patch keeps the logit finite where a draw is perfect.

    Never more than half of what the value itself is away from the edge: an AUC moves in finer steps than a patch, and
    one that is clipped with all its draws would have an interval of no width that does not hold it.
    """
    name = sampled.scale
    least = min(0.5 / (patches + 1), sampled.value / 2, (1 - sampled.value) / 2)
    if name == "logit":
        return lambda x: special.logit(np.clip(x, least, 1 - least)), special.expit
    if name == "log":
        return lambda x: np.log(np.maximum(x, 1e-12)), np.exp
    return lambda x: x, lambda x: x


def _at_the_edge(value: float, patients: int) -> Estimate:
    """No draw can differ from 0 or 1: the exact binomial interval with each patient as a single observation."""
    tail = 1 - 0.025 ** (1 / patients)
    return Estimate(value, 0.0, tail) if value == 0.0 else Estimate(value, 1 - tail, 1.0)


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


def _auc(hits: Floats, alarms: Floats) -> Floats:
    """(B, T) counts -> (B,) by the trapezoid rule."""
    before = np.concatenate([np.zeros((len(hits), 1)), hits[:, :-1]], axis=1)
    steps = np.diff(alarms, axis=1, prepend=0.0)
    return _ratio(np.einsum("bt,bt->b", steps, hits + before) / 2, hits[:, -1] * alarms[:, -1])


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
    draws = np.concatenate(
        [_ranking(labels, scores, block[:, resampling.clusters] * each) for block in resampling.blocks()]
    )
    names = ("auc", "average_precision", "sensitivity_at_90_specificity", "sensitivity_at_95_specificity")
    return {name: Sampled(float(whole[k]), draws[:, k]) for k, name in enumerate(names)}


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
    whole, draws = _rates(outcomes.sum(axis=0, keepdims=True)), _rates(resampling.sum(outcomes))
    return {name: Sampled(float(whole[name][0]), draws[name]) for name in whole}


# --- quality of the probabilities -----------------------------------------------------------------------------------


def probability_errors(labels: Ints, probabilities: Floats, resampling: Resampling) -> dict[str, Sampled]:
    """Brier score, log loss and expected calibration error (equal-mass bins, edges from all patches)."""
    losses = np.stack([(probabilities - labels) ** 2, _log_losses(labels, probabilities)], axis=1)
    draws = resampling.sum(losses) / resampling.sum(np.ones((len(labels), 1)))
    gaps = _gaps(labels, probabilities)
    ece_draws = np.abs(resampling.sum(gaps)).sum(axis=1) / resampling.sum(np.ones(len(labels)))
    return {
        "brier": Sampled(float(losses[:, 0].mean()), draws[:, 0]),
        "log_loss": Sampled(float(losses[:, 1].mean()), draws[:, 1], "log"),
        "ece": Sampled(float(np.abs(gaps.sum(axis=0)).sum() / len(labels)), ece_draws),
    }


def _log_losses(labels: Ints, probabilities: Floats) -> Floats:
    """(N,) minus the logarithm of the probability of the label; never infinite."""
    least = np.finfo(np.float64).eps
    clipped = np.clip(probabilities, least, 1 - least)
    return -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))


def equal_mass_bins(probabilities: Floats, bins: int = BINS) -> Ints:
    """(N,) the bin of each patch: bins hold equally many patches, but equal probabilities share a bin."""
    edges = np.quantile(probabilities, np.arange(1, bins) / bins)
    return np.searchsorted(np.unique(edges), probabilities, side="right").astype(np.int64)


def _gaps(labels: Ints, probabilities: Floats) -> Floats:
    """(N, bins) label minus probability, in the column of the patch's bin."""
    gaps = np.zeros((len(labels), BINS))
    gaps[np.arange(len(labels)), equal_mass_bins(probabilities)] = labels - probabilities
    return gaps


# --- all together ---------------------------------------------------------------------------------------------------


def measure(labels: Ints, probabilities: Floats, threshold: float, resampling: Resampling) -> dict[str, Sampled]:
    """Every bootstrapped metric of one score; the calibration line has its own (``calibration.calibration_line``).

    Args:
        labels: (N,) 1 is IDC.
        probabilities: (N,) in [0, 1].
        threshold: at or above it a patch is called IDC.
        resampling: over the same N patches; share it between models that are compared.
    """
    return {
        **ranking(labels, probabilities, resampling),
        **at_threshold(labels, probabilities, threshold, resampling),
        **probability_errors(labels, probabilities, resampling),
    }
