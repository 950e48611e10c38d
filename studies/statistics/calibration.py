"""Making scores into probabilities, and checking these.

``fit_temperature`` sees development patches only (out of fold); the rest describes what came of it on the test split.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from studies.statistics.binned import equal_mass_bins
from studies.statistics.metrics import Estimate, Sampled, by_class, estimate, rate
from studies.statistics.resampling import Floats, Ints, Resampling
from studies.statistics.thresholds import refuse_one_class

_NONE = Estimate(None, None, None)
_TEMPERATURES = (0.05, 20.0)
_NEAR = 1.05  # within 5 % of an end the search for a temperature has stopped there
_SMALL_STEP = 0.02
"""Of the logits, in the mean square; what is left to go after a step of Newton's is about its square."""
_STEPS, _THERE = 100, 1e-8  # of Newton, and the logits' largest change by which there is no further one


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The temperature by which logits are divided so that their log loss is least (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: (N,) out-of-fold scores.
        labels: (N,) 1 is IDC.

    Returns:
        A number in [0.05, 20]; 1 leaves the logits as they are.
    """
    refuse_one_class(labels)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, scaled) - labels * scaled))

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(optimize.minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def at_bound(temperature: float) -> bool:
    """Whether a temperature lies at an end of its range, so that the best one may lie beyond."""
    low, high = _TEMPERATURES
    return temperature < low * _NEAR or temperature > high / _NEAR


def sigmoid(logits: Floats, temperature: float = 1.0) -> Floats:
    """(N,) logits -> (N,) probabilities."""
    probabilities: Floats = special.expit(logits / temperature)
    return probabilities


# --- what came of it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReliabilityBin:
    """Patches of similar probability: what was promised, what happened.

    Attributes:
        patches: how many.
        predicted: their mean probability.
        observed: their share of IDC, with an interval over patients.
    """

    patches: int
    predicted: float
    observed: Estimate


def reliability(labels: Ints, logits: Floats, resampling: Resampling) -> tuple[ReliabilityBin, ...]:
    """The reliability diagram over equal-mass bins; every patch is in exactly one bin.

    Args:
        labels: (N,) 1 is IDC.
        logits: (N,) of the probabilities.
        resampling: over the same patches.
    """
    bins, probabilities = equal_mass_bins(logits), sigmoid(logits)
    inside = np.stack([bins == k for k in range(int(bins.max()) + 1)], axis=1).astype(np.float64)
    shares = resampling.sum_reduced(inside * labels[:, None]) / np.maximum(resampling.sum_reduced(inside), 1e-9)
    rows = []
    for k in range(inside.shape[1]):
        members = bins == k
        if members.any():
            observed = rate(float(labels[members].mean()), shares[:, k], resampling, inside[:, k])
            rows.append(
                ReliabilityBin(int(members.sum()), float(probabilities[members].mean()), estimate(observed, resampling))
            )
    return tuple(rows)


def calibration_line(labels: Ints, logits: Floats, resampling: Resampling) -> tuple[Estimate, Estimate]:
    """Calibration intercept (slope held at 1) and slope, by logistic regression of the label on the logit.

    On the logits themselves: of a probability that is 1 to the last digit, no logit is left to go back to. 0 and 1 are
    perfect; a slope below 1 means too extreme probabilities (Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7).
    Not defined for constant scores, one class, or scores that separate the classes.

    Args:
        labels: (N,) 1 is IDC.
        logits: (N,) divided by the temperature, where there is one.
        resampling: over the same patches.
    """
    constant = np.ones((len(labels), 1))
    intercept = _clustered_fit(labels, constant, logits, resampling)
    slope = _NONE
    idc, rest = logits[labels == 1], logits[labels != 1]
    if len(idc) and len(rest) and idc.min() < rest.max() and rest.min() < idc.max():  # else a steeper one fits better
        design = np.column_stack([logits, constant])
        slope = _clustered_fit(labels, design, np.zeros(len(labels)), resampling)
    return intercept, slope


def _clustered_fit(labels: Ints, design: Floats, offset: Floats, resampling: Resampling) -> Estimate:
    """First coefficient of a logistic regression with its interval over patients."""
    if len(np.unique(labels)) < 2:
        return _NONE
    regression = _Regression(labels, design, offset)
    try:
        whole = regression.fit(np.ones(len(labels)), np.zeros(design.shape[1]))
        reduced = _refitted(regression, whole, resampling)
    except np.linalg.LinAlgError:
        return _NONE
    return estimate(Sampled(float(whole[0]), reduced, by_class(labels, resampling), "plain"), resampling)


def _refitted(regression: "_Regression", whole: Floats, resampling: Resampling) -> Floats:
    """(patients,) first coefficient with most of each patient taken away.

    One step of Newton's from the whole fit tells it where logits hardly move, as with many patients; else it is fitted.
    """
    labels, design = regression.labels, regression.design
    means = regression.means(whole)
    scores = resampling.sum_reduced(design * (labels - means)[:, None])  # (patients, p)
    information = resampling.sum_reduced(design[:, :, None] * design[:, None, :] * (means * (1 - means))[:, None, None])
    steps = np.linalg.solve(information, scores[:, :, None])[:, :, 0]
    moved = np.sqrt(np.einsum("bp,pq,bq->b", steps, design.T @ design / len(labels), steps))
    refitted, far = whole + steps, np.flatnonzero(moved > _SMALL_STEP)
    for one, weights in zip(far, resampling.reduced[far], strict=True):
        refitted[one] = regression.fit(weights[resampling.clusters], whole)
    first: Floats = refitted[:, 0]
    return first


@dataclass(frozen=True, eq=False)
class _Regression:
    """A logistic regression of (N,) labels on an (N, p) design, beside (N,) what is added with a coefficient of 1."""

    labels: Ints
    design: Floats
    offset: Floats

    def means(self, params: Floats) -> Floats:
        """(N,) probabilities."""
        return sigmoid(self.design @ params + self.offset)

    def fit(self, weights: Floats, start: Floats) -> Floats:
        """(p,) coefficients of the greatest likelihood, by Newton's steps that never lower it.

        Args:
            weights: (N,) of each patch.
            start: (p,) where to begin.

        Raises:
            numpy.linalg.LinAlgError: there is none, or all probabilities are 0 or 1 to the last digit.
        """
        params = start
        for _ in range(_STEPS):
            means = self.means(params)
            information = (self.design * (weights * means * (1 - means))[:, None]).T @ self.design
            step = np.linalg.solve(information, self.design.T @ (weights * (self.labels - means))).astype(np.float64)
            while self._loss(weights, params + step) > self._loss(weights, params) and self._moves(step):
                step = step / 2
            params = params + step
            if not self._moves(step):
                return params
        raise np.linalg.LinAlgError("the likelihood has no maximum that was reached")

    def _moves(self, step: Floats) -> bool:
        return bool(np.max(np.abs(self.design @ step)) > _THERE)

    def _loss(self, weights: Floats, params: Floats) -> float:
        """Minus the logarithm of the likelihood."""
        logits = self.design @ params + self.offset
        return float(np.sum(weights * (np.logaddexp(0.0, logits) - self.labels * logits)))
