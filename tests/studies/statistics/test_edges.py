"""Intervals where a number rests on few patients, on few patches, or on nothing that varies."""

import numpy as np
import pytest
from scipy.special import expit

from studies.statistics import calibration, curves, metrics
from studies.statistics.comparison import delong, paired_difference
from studies.statistics.intervals import spread
from studies.statistics.metrics import Estimate, at_threshold, estimate
from studies.statistics.resampling import resample

Ints = np.ndarray
RATES = ("sensitivity", "specificity", "ppv", "npv")


def rates(labels: Ints, called: Ints, patients: Ints) -> dict[str, Estimate]:
    """Every rate of these calls with its interval."""
    resampling = resample(patients.astype(str), labels, 2000, 0)
    return {
        name: estimate(one, resampling)
        for name, one in metrics.at_threshold(labels, called.astype(float), 0.5, resampling).items()
    }


def split(*patients: tuple[int, int, int, int], times: int = 1) -> tuple[Ints, Ints, Ints]:
    """Labels, calls and patients of so many (true positive, false positive, true negative, false negative) patches."""
    labels, called, who = [], [], []
    for patient, counts in enumerate(patients * times):
        for count, label, call in zip(counts, (1, 0, 0, 1), (1, 1, 0, 0), strict=True):
            labels += [label] * count
            called += [call] * count
            who += [patient] * count
    return np.array(labels), np.array(called), np.array(who)


def seen_as(rate: str, right: int, wrong: int) -> tuple[int, int, int, int]:
    """A patient whose ``right`` and ``wrong`` patches are all that this rate rests on, in the order of ``split``."""
    places = {"sensitivity": (0, 3), "specificity": (2, 1), "ppv": (0, 1), "npv": (2, 3)}[rate]
    counts = [0, 0, 0, 0]
    counts[places[0]], counts[places[1]] = right, wrong
    return counts[0], counts[1], counts[2], counts[3]


def other(rate: str) -> tuple[int, int, int, int]:
    """A patient of 24 patches that have nothing to do with this rate."""
    counts = {"sensitivity": (0, 3, 21, 0), "specificity": (21, 0, 0, 3), "ppv": (0, 0, 21, 3), "npv": (21, 3, 0, 0)}
    return counts[rate]


# --- a rate of exactly 0 or 1 rests on the patients of its own denominator ------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_a_perfect_rate_of_three_patients_is_as_unsure_as_three_observations(rate: str) -> None:
    found = rates(*split(*[seen_as(rate, 3, 0)] * 3, *[other(rate)] * 31))[rate]
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 3))  # Clopper & Pearson, three of three: .292
    none = rates(*split(*[seen_as(rate, 0, 3)] * 3, *[other(rate)] * 31))[rate]
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_f1_needs_three_patients_with_idc_and_none_who_is_called_so() -> None:
    of_two = rates(*split((5, 3, 20, 2), (6, 2, 20, 1), *[(0, 3, 21, 0)] * 26))["f1"]
    assert (of_two.value, of_two.low) == (pytest.approx(22 / 108), None)
    assert of_two.reason == "it rests on 2 patients; an interval takes 3"
    never_called = rates(*split(*[(0, 0, 20, 4)] * 9))["f1"]
    assert (never_called.value, never_called.low) == (0.0, 0.0)
    assert never_called.high == pytest.approx(1 - 0.025 ** (1 / 9))


def test_a_perfect_rate_that_rests_on_one_patient_has_no_interval() -> None:
    found = rates(*split((1, 3, 20, 0), *[(0, 3, 21, 0)] * 26))["sensitivity"]
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert found.reason == "it rests on 1 patient; an interval takes 3"


# --- below three patients of the class there is no interval ---------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_two_patients_of_thirty_four_carry_no_interval(rate: str) -> None:
    found = rates(*split(seen_as(rate, 5, 2), seen_as(rate, 6, 1), *[other(rate)] * 32))[rate]
    assert found.value == pytest.approx(11 / 14)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "it rests on 2 patients; an interval takes 3"


@pytest.mark.parametrize("rate", RATES)
def test_three_patients_with_the_very_same_rate_have_an_interval_with_a_width(rate: str) -> None:
    found = rates(*split(*[seen_as(rate, 2, 1)] * 3, *[other(rate)] * 17))[rate]
    assert found.low is not None
    assert found.high is not None
    # no narrower than nine independent patches: Wilson's .354 to .879
    assert found.low < 0.354
    assert found.high > 0.879


def test_an_auc_rests_on_the_patients_of_the_rarer_class() -> None:
    labels, called, who = split((3, 2, 8, 1), (2, 0, 9, 2), *[(0, 2, 9, 0)] * 20)
    resampling = resample(who.astype(str), labels, 200, 0)
    found = estimate(metrics.ranking(labels, called.astype(float), resampling)["auc"], resampling)
    assert found.value is not None
    assert found.low is None
    assert found.reason == "it rests on 2 patients; an interval takes 3"


# --- patches that a number does not rest on do not move its interval ------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_patients_whom_a_rate_does_not_rest_on_do_not_move_its_interval(rate: str) -> None:
    own = [seen_as(rate, 6, 1), *[seen_as(rate, 7, 0)] * 11]
    found = [rates(*split(*own, *[other(rate)] * more))[rate] for more in (0, 20, 60, 200)]
    for one in found:
        assert one.value == pytest.approx(83 / 84)
        assert one.low == pytest.approx(0.935, abs=0.03)  # Clopper & Pearson, 83 of 84: .935
        assert one.low == pytest.approx(found[0].low)
        assert one.high == pytest.approx(found[0].high)


def test_a_reliability_bin_rests_on_its_own_patches() -> None:
    bins = []
    for more, patches in ((21, 36), (63, 12)):  # 756 in all, so that the last of ten bins is the 84 called IDC
        own, others = [(6, 1, 0, 0), *[(7, 0, 0, 0)] * 11], [(0, 0, patches, 0)] * more
        labels, _, who = split(*own, *others)
        logits = np.where(who < 12, 2.2, -2.2)
        resampling = resample(who.astype(str), labels, 500, 0)
        bins.append(calibration.reliability(labels, logits, resampling)[-1])
    assert bins[0].observed == bins[1].observed
    assert bins[0].observed.value == pytest.approx(83 / 84)
    assert bins[0].observed.low == pytest.approx(0.935, abs=0.03)


# --- each number has its own number of patients ---------------------------------------------------------------------


def test_a_specificity_does_not_suffer_from_a_single_patient_with_idc() -> None:
    rng = np.random.default_rng(4)
    wrong = rng.binomial(24, rng.beta(12, 84, 33))
    labels, called, who = split((2, 3, 18, 1), *[(0, int(k), 24 - int(k), 0) for k in wrong])
    found = rates(labels, called, who)
    assert found["specificity"].value == pytest.approx(0.87, abs=0.02)
    assert found["specificity"].low is not None
    assert found["specificity"].high is not None
    assert 0.03 < found["specificity"].high - found["specificity"].low < 0.1
    assert found["sensitivity"].low is None


# --- where nothing varies there is neither an interval nor a p ------------------------------------------------------


def test_a_difference_without_any_spread_has_neither_an_interval_nor_a_p() -> None:
    labels, _, who = split(*[(5, 5, 5, 5)] * 12)
    resampling = resample(who.astype(str), labels, 500, 0)
    perfect, constant = np.where(labels == 1, 2.2, -2.2), np.full(len(labels), -0.9)
    first, second = (metrics.measure(labels, scores, 0.5, resampling)["auc"] for scores in (perfect, constant))
    found = paired_difference("Difference of AUC", first, second, resampling)
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.reason == "it is the same without any one patient, so nothing says how sure it is"
    naive = delong(labels, perfect, constant)
    assert (naive.value, naive.low, naive.high, naive.p) == (pytest.approx(0.5), None, None, None)
    twins = paired_difference("Difference of AUC", first, first, resampling)
    assert (twins.value, twins.low, twins.p, twins.standard_error) == (0.0, None, None, 0.0)


def test_a_constant_score_has_an_auc_without_an_interval() -> None:
    labels, _, who = split(*[(5, 5, 5, 5)] * 12)
    resampling = resample(who.astype(str), labels, 500, 0)
    found = estimate(metrics.ranking(labels, np.full(len(labels), 0.3), resampling)["auc"], resampling)
    assert (found.value, found.low, found.high) == (0.5, None, None)


def test_a_value_at_the_edge_that_a_patient_moves_has_an_interval_at_least_as_wide_as_the_exact_one() -> None:
    labels, called, who = split(*[(0, 0, 3, 0)] * 4, *[(4, 0, 3, 0)] * 7, (0, 3, 0, 0))
    scores = np.where(who == 11, 2.0, called.astype(float))  # three alarms of one patient above all: 9 % of 36
    resampling = resample(who.astype(str), labels, 0, 0)
    sampled = metrics.ranking(labels, scores, resampling)["sensitivity_at_95_specificity"]
    assert sampled.value == 0.0
    assert sampled.reduced[list(np.unique(who.astype(str))).index("11")] == 1.0
    found = estimate(sampled, resampling)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 1.0)


# --- what is told of it ---------------------------------------------------------------------------------------------


def calibration_errors(steep: float, splits: int) -> list[metrics.Sampled]:
    """Of made-up splits of 12 patients, whose logits are ``steep`` times those that labels were drawn by."""
    found = []
    for seed in range(splits):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(12), 40)
        logits = rng.normal(-0.8, 1.5, 480)
        labels = (rng.random(480) < expit(logits)).astype(np.int64)
        resampling = resample(who.astype(str), labels, 0, 0)
        found.append(metrics.probability_errors(labels, steep * logits, resampling)["ece"])
    return found


def test_a_perfect_score_has_a_calibration_error_of_chance_and_an_interval_down_to_0() -> None:
    found = calibration_errors(1.0, 60)
    seen, by_chance = np.mean([one.value for one in found]), np.mean([one.by_chance for one in found])
    assert seen > 0.03
    assert by_chance > 0.6 * seen, "the rest is what a plain subtraction cannot tell from an error"
    resampling = resample(np.arange(12).astype(str), np.arange(12) % 2, 0, 0)
    lows = [estimate(one, resampling).low for one in found]
    assert np.mean([low == 0 for low in lows]) > 0.8
    assert np.mean([one.value - spread(one.value, one.reduced, one.bases).half > 0 for one in found]) > 0.1


def test_a_score_that_is_far_from_calibrated_has_an_interval_that_says_so() -> None:
    found = calibration_errors(4.0, 20)
    truth = np.mean([one.value for one in calibration_errors(4.0, 200)])
    resampling = resample(np.arange(12).astype(str), np.arange(12) % 2, 0, 0)
    for one in found:
        interval = estimate(one, resampling)
        assert one.by_chance < 0.1 * one.value
        assert interval.low > 0.05
        assert interval.high - one.value == pytest.approx(spread(one.value, one.reduced, one.bases).half)
    held = [estimate(one, resampling) for one in found]
    assert np.mean([one.low < truth < one.high for one in held]) > 0.8


def test_a_calibration_error_without_any_spread_has_none_of_chance() -> None:
    labels, called, who = split(*[(4, 2, 9, 1)] * 16)
    resampling = resample(who.astype(str), labels, 0, 0)
    sampled = metrics.measure(labels, 2.2 * called - 1.4, 0.5, resampling)["ece"]
    assert sampled.by_chance == pytest.approx(0, abs=1e-9)
    assert estimate(sampled, resampling).reason == metrics.SAME


def test_draws_that_leave_out_all_patients_with_idc_are_counted() -> None:
    labels, called, who = split(*[(3, 1, 8, 1)] * 3, *[(0, 2, 9, 0)] * 17)
    resampling = resample(who.astype(str), labels, 1000, 0)
    with_idc = np.unique(resampling.clusters[labels == 1])
    without = int(np.sum(resampling.weights[:, with_idc].sum(axis=1) == 0))
    assert len(with_idc) == 3
    assert without > 10
    assert curves.undefined_draws(labels, resampling) == without
    heights = curves.roc(labels, called.astype(float), resampling)[50].y
    assert heights.low is not None
    two = resample(np.where(who == 2, 1, who).astype(str), labels, 1000, 0)
    assert curves.roc(labels, called.astype(float), two)[50].y.low is None, "two patients with IDC carry no band"
    assert curves.sweep(labels, called.astype(float), two).specificity[50].y.low is not None


def test_one_patient_with_most_patches_is_told_by_the_degrees_of_freedom_and_not_by_an_interval_of_everything() -> None:
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(20), [1520, *[20] * 19])
    labels = rng.integers(0, 2, len(who))
    scores = 1.9 * labels + rng.normal(size=len(who)) + rng.normal(0, 0.3, 20)[who]
    resampling = resample(who.astype(str), labels, 0, 0)
    found = estimate(metrics.ranking(labels, scores, resampling)["auc"], resampling)
    assert found.low is not None
    assert found.high is not None
    assert 0.05 < found.high - found.low < 0.7


def of_three_patients(found: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """34 patients of 24 patches, of whom 3 have 4 with IDC each; that share of the 3 is found, each as a whole."""
    patient = np.repeat(np.arange(34), 24)
    labels = ((patient < 3) & (np.arange(len(patient)) % 24 < 4)).astype(np.int64)
    alarms = np.random.default_rng(0).random(len(patient)) < 0.1
    called = np.where(labels == 1, patient < 3 * found, alarms)
    return labels, called.astype(float), np.array([f"p{number:02}" for number in patient])


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1", "f1_public", "ppv_public", "npv_public"])
def test_what_is_made_from_a_rate_at_the_edge_is_no_surer_than_that_rate(name: str) -> None:
    labels, called, patients = of_three_patients(1.0)
    resampling = resample(patients, labels, 0, 0)
    found = at_threshold(labels, called, 0.5, resampling)
    sensitivity, derived = (estimate(found[one], resampling) for one in ("sensitivity", name))
    assert (sensitivity.value, sensitivity.high) == (1.0, 1.0)
    assert sensitivity.low == pytest.approx(0.2924, abs=1e-4)
    assert derived.value is not None
    assert derived.low is not None
    assert derived.high is not None
    assert derived.low <= derived.value <= derived.high <= 1
    if name == "balanced_accuracy":  # its specificity alone gave .944
        assert derived.low == pytest.approx(derived.value - (1 - 0.2924) / 2, abs=0.001)
        assert derived.high == pytest.approx(0.968, abs=0.001)


def test_a_rate_off_the_edge_leaves_nothing_open() -> None:
    labels, called, patients = of_three_patients(0.5)
    found = at_threshold(labels, called, 0.5, resample(patients, labels, 0, 0))
    assert 0 < found["sensitivity"].value < 1
    assert {one.slack for one in found.values()} == {(0.0, 0.0)}


def test_a_difference_of_what_is_made_from_a_rate_at_the_edge_is_no_surer_either() -> None:
    labels, called, patients = of_three_patients(1.0)
    resampling = resample(patients, labels, 0, 0)
    quieter = np.where(np.arange(len(called)) % 7 == 0, labels, called).astype(float)
    first, second = (at_threshold(labels, each, 0.5, resampling)["balanced_accuracy"] for each in (called, quieter))
    found = paired_difference("balanced_accuracy", first, second, resampling)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 0.7
    assert found.p is not None
    assert found.p > 0.05
