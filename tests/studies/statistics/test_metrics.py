"""Metrics against scikit-learn, intervals over patients against what theory says."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn import metrics as sk

from studies.statistics import metrics as s
from studies.statistics.binned import BINS, equal_mass_bins
from studies.statistics.comparison import delong_interval
from studies.statistics.intervals import freedom, spread
from studies.statistics.resampling import GROUPS, Base, Resampling, effective_number, resample

RNG = np.random.default_rng(3)
N, PATIENTS = 600, 30
LABELS = RNG.integers(0, 2, N)
LOGITS = logit(np.round(np.clip(0.25 * LABELS + RNG.beta(2, 3, N) * 0.75, 0.01, 0.99), 2))  # rounded: with ties
PROBABILITIES = expit(LOGITS)
WHO = np.array([f"p{k}" for k in RNG.integers(0, PATIENTS, N)])


@pytest.fixture(scope="module")
def resampling() -> Resampling:
    return resample(WHO, LABELS, 1000, seed=1)


@pytest.fixture(scope="module")
def measured(resampling: Resampling) -> dict[str, s.Sampled]:
    return s.measure(LABELS, LOGITS, 0.4, resampling)


CALLED = (PROBABILITIES >= 0.4).astype(int)
BY_SKLEARN = {
    "auc": sk.roc_auc_score(LABELS, PROBABILITIES),
    "average_precision": sk.average_precision_score(LABELS, PROBABILITIES),
    "balanced_accuracy": sk.balanced_accuracy_score(LABELS, CALLED),
    "f1": sk.f1_score(LABELS, CALLED),
    "sensitivity": sk.recall_score(LABELS, CALLED),
    "specificity": sk.recall_score(LABELS, CALLED, pos_label=0),
    "ppv": sk.precision_score(LABELS, CALLED),
    "npv": sk.precision_score(LABELS, CALLED, pos_label=0),
    "brier": sk.brier_score_loss(LABELS, PROBABILITIES),
    "log_loss": sk.log_loss(LABELS, PROBABILITIES),
}


@pytest.mark.parametrize("name", BY_SKLEARN)
def test_a_metric_equals_that_of_scikit_learn(name: str, measured: dict[str, s.Sampled]) -> None:
    assert measured[name].value == pytest.approx(BY_SKLEARN[name], abs=1e-12)


def test_every_metric_that_is_planned_by_key_is_measured(measured: dict[str, s.Sampled]) -> None:
    assert set(s.METRICS) - set(measured) == {"calibration_intercept", "calibration_slope"}


def test_a_patient_of_whom_nine_tenths_are_taken_away_counts_for_one(
    resampling: Resampling, measured: dict[str, s.Sampled]
) -> None:
    weight = np.where(resampling.clusters == 7, 0.1, 1.0)
    by_sklearn = {
        "auc": sk.roc_auc_score(LABELS, PROBABILITIES, sample_weight=weight),
        "average_precision": sk.average_precision_score(LABELS, PROBABILITIES, sample_weight=weight),
        "brier": sk.brier_score_loss(LABELS, PROBABILITIES, sample_weight=weight),
        "log_loss": sk.log_loss(LABELS, PROBABILITIES, sample_weight=weight),
        "f1": sk.f1_score(LABELS, CALLED, sample_weight=weight),
        "ppv": sk.precision_score(LABELS, CALLED, sample_weight=weight),
    }
    for name, value in by_sklearn.items():
        assert measured[name].reduced[7] == pytest.approx(value), name
        assert measured[name].reduced.shape == (PATIENTS,)


def test_a_rate_s_spread_over_equal_patients_is_that_of_their_rates() -> None:
    rng = np.random.default_rng(0)
    right = rng.binomial(20, rng.beta(8, 2, 12))
    called = (np.arange(240) % 20 < np.repeat(right, 20)).astype(float)
    who, labels = np.repeat(np.arange(12), 20).astype(str), np.ones(240, dtype=int)
    sampled = s.at_threshold(labels, called, 0.5, resample(who, labels, 0, 0))["sensitivity"]
    found = spread(sampled.value, sampled.reduced, sampled.bases)
    assert 1 <= found.error / (np.std(right / 20, ddof=1) / np.sqrt(12)) < 1.04  # 1 / (1 - .9 / 12) for sqrt(12 / 11)
    assert found.freedom == pytest.approx(11)


def base(counts: np.ndarray) -> Base:
    """Patients with so many patches each."""
    place = np.repeat(np.arange(len(counts)), counts)
    return resample(place.astype(str), np.ones(len(place), dtype=int), 0, 0).base(np.ones(len(place)))


def test_degrees_of_freedom_are_those_of_bell_and_mccaffrey() -> None:
    assert freedom([base(np.full(12, 20))]) == pytest.approx(11)
    assert freedom([base(np.full(12, 20)), base(np.full(12, 5))]) == pytest.approx(11)
    assert freedom([base(np.array([960, *[20] * 11]))]) < 1.5, "one patient has four of five patches"
    skewed = freedom([base(np.array([150, 120, 60, 40, 30, 20, 20, 15, 10, 10]))])
    assert 2 < skewed < 5


def test_each_draw_takes_as_many_patients_as_there_are(resampling: Resampling) -> None:
    assert resampling.patients == PATIENTS
    assert set(resampling.weights.sum(axis=1).tolist()) == {PATIENTS}


def test_the_same_seed_draws_the_same_patients() -> None:
    assert np.array_equal(resample(WHO, LABELS, 50, 4).weights, resample(WHO, LABELS, 50, 4).weights)
    assert not np.array_equal(resample(WHO, LABELS, 50, 4).weights, resample(WHO, LABELS, 50, 5).weights)


def test_sensitivity_at_a_specificity_is_the_best_point_of_the_roc_curve(measured: dict[str, s.Sampled]) -> None:
    alarms, hits, _ = sk.roc_curve(LABELS, PROBABILITIES, drop_intermediate=False)
    assert measured["sensitivity_at_90_specificity"].value == pytest.approx(hits[alarms <= 0.1].max())
    assert measured["sensitivity_at_95_specificity"].value == pytest.approx(hits[alarms <= 0.05].max())


def test_rates_at_the_public_prevalence_follow_from_bayes() -> None:
    labels = np.array([1] * 100 + [0] * 100)
    probabilities = np.array([0.9] * 80 + [0.1] * 20 + [0.9] * 10 + [0.1] * 90)  # sensitivity .8, specificity .9
    who = np.array([f"p{k % 20}" for k in range(200)])
    rates = s.at_threshold(labels, probabilities, 0.5, resample(who, labels, 100, 0))
    assert rates["ppv_public"].value == pytest.approx(0.8 * 0.284 / (0.8 * 0.284 + 0.1 * 0.716))
    assert rates["npv_public"].value == pytest.approx(0.9 * 0.716 / (0.9 * 0.716 + 0.2 * 0.284))
    precision = rates["ppv_public"].value
    assert rates["f1_public"].value == pytest.approx(2 * precision * 0.8 / (precision + 0.8))


def test_the_calibration_error_weighs_each_bin_by_its_patches(measured: dict[str, s.Sampled]) -> None:
    bins = equal_mass_bins(PROBABILITIES)
    by_hand = sum(
        np.mean(bins == k) * abs(LABELS[bins == k].mean() - PROBABILITIES[bins == k].mean()) for k in np.unique(bins)
    )
    assert measured["ece"].value == pytest.approx(by_hand)
    assert len(np.unique(bins)) == BINS


def test_an_interval_holds_its_value_and_stays_within_the_scale(
    resampling: Resampling, measured: dict[str, s.Sampled]
) -> None:
    for name, sampled in measured.items():
        one = s.estimate(sampled, resampling)
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high, name
        assert name in ("log_loss", "ece") or 0 < one.low < one.high < 1, name


def test_patients_who_differ_widen_the_interval_beyond_that_of_single_patches() -> None:
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(20), 50)
    labels = (rng.random(1000) < rng.beta(0.7, 0.7, 20)[who]).astype(int)
    scores = labels + rng.normal(0, 1, 1000) + rng.normal(0, 1.5, 20)[who]
    by_patient = resample(who.astype(str), labels, 800, 0)
    by_patch = resample(np.full(1000, ""), labels, 800, 0)
    widths = []
    for resampling in (by_patient, by_patch):
        one = s.estimate(s.ranking(labels, scores, resampling)["auc"], resampling)
        assert one.low is not None
        assert one.high is not None
        widths.append(one.high - one.low)
    assert widths[0] > 1.5 * widths[1]


def test_patches_of_unknown_patients_are_dealt_to_groups_and_marked() -> None:
    unknown = resample(np.full(N, ""), LABELS, 10, 0)
    assert (unknown.patients, unknown.known) == (GROUPS, False)
    assert set(np.bincount(unknown.clusters)) == {N // GROUPS}
    assert resample(WHO, LABELS, 10, 0).known
    few = resample(np.full(30, ""), LABELS[:30], 10, 0)
    assert few.patients == 30


def test_intervals_of_unknown_patients_are_those_of_independent_patches() -> None:
    unknown = resample(np.full(N, ""), LABELS, 0, 0)
    found = s.estimate(s.ranking(LABELS, PROBABILITIES, unknown)["auc"], unknown)
    naive = delong_interval(LABELS, PROBABILITIES)
    assert naive is not None
    assert found.low == pytest.approx(naive[1], abs=0.006)
    assert found.high == pytest.approx(naive[2], abs=0.006)


def test_why_there_is_no_interval_speaks_of_patches_where_patients_are_unknown() -> None:
    for count, with_idc, reason in (
        (30, 2, "it rests on 2 patches; an interval takes 3"),
        (30, 1, "it rests on 1 patch; an interval takes 3"),
        (4, 2, "there are 4 patches; an interval takes 5"),
    ):
        labels = (np.arange(count) < with_idc).astype(np.int64)
        unknown = resample(np.full(count, ""), labels, 0, 0)
        found = s.estimate(s.ranking(labels, PROBABILITIES[:count], unknown)["auc"], unknown)
        assert (found.low, found.reason) == (None, reason)


def test_the_memory_of_unknown_patients_is_bounded() -> None:
    count = 226_000
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, count), rng.random(count)
    tracemalloc.start()
    resampling = resample(np.full(count, ""), labels, 2000, 0)
    s.measure(labels, scores, 0.5, resampling)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 700e6  # bytes; 3.6 GB when each patch was drawn by itself


def test_saturated_probabilities_keep_their_order_and_their_logarithm(
    resampling: Resampling, measured: dict[str, s.Sampled]
) -> None:
    steep = s.measure(LABELS, LOGITS * 300, 0.4, resampling)
    assert np.mean(expit(LOGITS * 300) == 1) > 0.2, "these have lost their order"
    for name in ("auc", "average_precision", "sensitivity_at_90_specificity", "sensitivity_at_95_specificity"):
        assert steep[name].value == measured[name].value, name
        assert np.array_equal(steep[name].reduced, measured[name].reduced), name
    wrong = np.where(LABELS == 1, -LOGITS, LOGITS) * 300
    assert wrong.max() > 100, "36 is all that a clipped probability costs"
    assert steep["log_loss"].value == pytest.approx(np.mean(np.log1p(np.exp(-np.abs(wrong))) + np.maximum(wrong, 0)))
    assert np.array_equal(equal_mass_bins(LOGITS * 300), equal_mass_bins(LOGITS))


def test_constant_scores_have_an_auc_of_one_half(resampling: Resampling) -> None:
    flat = s.measure(LABELS, np.full(N, -0.9), 0.4, resampling)
    assert s.estimate(flat["auc"], resampling) == s.Estimate(0.5, None, None, s.SAME)
    assert flat["ppv"].value != flat["ppv"].value
    assert s.estimate(flat["ppv"], resampling) == s.Estimate(None, None, None)
    sensitivity = s.estimate(flat["sensitivity"], resampling)
    counts = np.bincount(resampling.clusters[LABELS == 1])
    assert sensitivity.value == 0
    assert sensitivity.high == pytest.approx(1 - 0.025 ** (np.sum(counts**2) / counts.sum() ** 2))


def test_one_class_leaves_ranking_undefined_and_does_not_crash() -> None:
    who = np.array(["a", "b", "c"])
    labels = np.ones(3, dtype=int)
    resampling = resample(who, labels, 20, 0)
    only = s.measure(labels, np.array([-1.4, 0.4, 2.2]), 0.5, resampling)
    for name in ("auc", "average_precision", "balanced_accuracy", "specificity"):
        assert s.estimate(only[name], resampling).value is None, name
    assert only["sensitivity"].value == pytest.approx(2 / 3)
    assert np.isnan(s.auc(np.zeros(3, dtype=int), np.arange(3.0)))
    assert np.isnan(s.balanced_accuracy(np.zeros(3, dtype=int), np.arange(3.0), 0.5))


def test_patients_of_equal_weight_all_count_and_a_dominant_one_counts_for_most() -> None:
    equal = np.repeat(np.arange(12), 10)
    labels = np.tile([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 12)
    assert effective_number(equal, labels) == pytest.approx(12)
    lopsided = np.where(labels == 1, 0, equal)  # one patient holds all IDC
    assert effective_number(lopsided, labels) == 1
    counts = np.repeat([0, 1, 2], [8, 1, 1])
    assert effective_number(counts, np.ones(10, dtype=int)) == pytest.approx(100 / 66)


@pytest.mark.parametrize("patients", [1, 4])
def test_a_few_patients_have_no_interval(patients: int) -> None:
    resampling = resample(np.array([f"p{k % patients}" for k in range(40)]), LABELS[:40], 20, 0)
    one = s.estimate(s.ranking(LABELS[:40], PROBABILITIES[:40], resampling)["auc"], resampling)
    assert one.value is not None
    assert (one.low, one.high) == (None, None)


def test_no_patches_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no patches to draw from"):
        resample(np.array([], dtype=str), np.array([], dtype=int), 10, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=4, max_size=60))
def test_auc_and_average_precision_agree_with_scikit_learn_on_any_ties(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([a for a, _ in rows]), np.array([float(b) for _, b in rows])
    if len(np.unique(labels)) == 2:
        assert s.auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))
        assert s.average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores))


def test_an_auc_closer_to_one_than_half_a_patch_lies_within_its_interval() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 45)
    scores = labels * 2.0 + rng.normal(size=90) * 0.3
    scores[0], scores[45] = 1.05, 1.0  # one pair of 2,025 in the wrong order
    patients = np.array([f"P{row % 6}" for row in range(90)])
    resampling = resample(patients, labels, 500, 0)
    found = s.estimate(s.ranking(labels, scores, resampling)["auc"], resampling)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.value > 1 - 0.5 / 91
    assert found.low < found.value < found.high
