"""Temperature and threshold from made-up logits whose truth is known; the calibration line against its meaning."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit

from studies.statistics import calibration as c
from studies.statistics.intervals import spread
from studies.statistics.metrics import by_class
from studies.statistics.resampling import resample

RNG = np.random.default_rng(8)
N = 4000
TRUE_LOGITS = RNG.normal(-0.8, 1.6, N)
LABELS = (RNG.random(N) < expit(TRUE_LOGITS)).astype(np.int64)
WHO = RNG.integers(0, 60, N).astype(str)


def test_the_temperature_that_overheated_the_logits_is_found() -> None:
    assert c.fit_temperature(TRUE_LOGITS * 2.5, LABELS) == pytest.approx(2.5, rel=0.08)
    assert c.fit_temperature(TRUE_LOGITS, LABELS) == pytest.approx(1.0, rel=0.08)


def test_separable_scores_give_a_finite_temperature() -> None:
    assert 0.05 <= c.fit_temperature(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0, 0, 1, 1])) <= 20


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        c.fit_temperature(TRUE_LOGITS, np.ones(N, dtype=np.int64))


def test_the_line_of_calibrated_probabilities_is_zero_and_one() -> None:
    intercept, slope = c.calibration_line(LABELS, TRUE_LOGITS, resample(WHO, LABELS, 10, 0))
    assert intercept.low is not None
    assert intercept.high is not None
    assert slope.low is not None
    assert slope.high is not None
    assert intercept.low < 0 < intercept.high
    assert slope.low < 1 < slope.high
    _, steep = c.calibration_line(LABELS, TRUE_LOGITS * 2, resample(WHO, LABELS, 10, 0))
    assert steep.value == pytest.approx(slope.value / 2)


def test_constant_or_separating_scores_have_no_slope() -> None:
    resampling = resample(WHO, LABELS, 10, 0)
    assert c.calibration_line(LABELS, np.full(N, 0.3), resampling)[1].value is None
    assert c.calibration_line(LABELS, np.where(LABELS == 1, 2.0, -2.0), resampling)[1].value is None


def refitted(labels: np.ndarray, logits: np.ndarray, who: np.ndarray, *, slope: bool) -> tuple[float, np.ndarray]:
    """The first coefficient by a general minimiser, on all patches and with nine tenths of each patient taken away."""

    def fit(weights: np.ndarray) -> float:
        def loss(params: np.ndarray) -> float:
            line = params[0] * logits + params[1] if slope else params[0] + logits
            return float(np.sum(weights * (np.logaddexp(0, line) - labels * line)))

        start = np.array([0.5, 0.0]) if slope else np.zeros(1)
        found = optimize.minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
        return float(found.x[0])

    return fit(np.ones(len(labels))), np.array([fit(np.where(who == one, 0.1, 1.0)) for one in np.unique(who)])


@pytest.mark.parametrize(("which", "slope"), [(0, False), (1, True)])
def test_an_interval_of_few_patients_comes_from_fits_without_most_of_each(which: int, slope: bool) -> None:
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(6), [60, 10, 20, 30, 15, 25])
    logits = rng.normal(-0.5, 1.5, len(who)) + rng.normal(0, 1.5, 6)[who]
    labels = (rng.random(len(who)) < expit(rng.normal(1, 1, 6)[who] * logits)).astype(np.int64)
    value, reduced = refitted(labels, logits, who, slope=slope)
    resampling = resample(who.astype(str), labels, 0, 0)
    found = c.calibration_line(labels, logits, resampling)[which]
    assert found.value == pytest.approx(value, abs=1e-5)
    half = spread(value, reduced, by_class(labels, resampling)).half
    assert (found.low, found.high) == pytest.approx((value - half, value + half), rel=0.02)


def test_an_intercept_is_found_where_most_probabilities_are_0_or_1_to_the_last_digit() -> None:
    who, logits = np.repeat(np.arange(60), 10), np.rint(TRUE_LOGITS[:600])
    found, _ = c.calibration_line(LABELS[:600], 60 * logits, resample(who.astype(str), LABELS[:600], 0, 0))
    value, _ = refitted(LABELS[:600], 60 * logits, np.zeros(600), slope=False)
    assert found.value == pytest.approx(value, abs=1e-4)
    assert found.low is not None


def test_reliability_bins_hold_every_patch_once_and_bracket_the_truth() -> None:
    resampling = resample(WHO, LABELS, 500, 0)
    bins = c.reliability(LABELS, TRUE_LOGITS, resampling)
    assert sum(one.patches for one in bins) == N
    covered = [one.observed.low <= one.predicted <= one.observed.high for one in bins]
    assert sum(covered) >= 8


def test_the_line_of_saturated_probabilities_is_that_of_their_logits() -> None:
    resampling = resample(WHO, LABELS, 10, 0)
    intercept, slope = c.calibration_line(LABELS, TRUE_LOGITS, resampling)
    _, steep = c.calibration_line(LABELS, TRUE_LOGITS * 40, resampling)
    assert np.mean(expit(TRUE_LOGITS * 40) == 1) > 0.05, "most digits of these are lost"
    assert steep.value == pytest.approx(slope.value / 40)
    assert (steep.low, steep.high) == pytest.approx((slope.low / 40, slope.high / 40))
    assert intercept.value is not None


def test_classes_that_meet_in_one_score_have_no_slope_either() -> None:
    labels, logits = np.tile([0, 0, 0, 1, 1, 1], 10), np.tile([-2.0, -1, 0, 0, 1, 2], 10)
    patients = np.repeat([f"p{k}" for k in range(10)], 6)
    assert c.calibration_line(labels, logits, resample(patients, labels, 0, 0))[1].value is None
