"""Paired tests against their oracles; verdicts that know when to be silent."""

import re

import numpy as np
import pytest
from MLstatkit import Delong_test
from scipy.stats import binomtest

from studies.findings.verdict import Verdict, judge
from studies.findings.weaknesses import Weakness, about_openings, about_patches
from studies.statistics import comparison as cmp
from studies.statistics.metrics import Estimate, estimate, measure
from studies.statistics.resampling import Resampling, resample

RNG = np.random.default_rng(5)
N = 900
LABELS = RNG.integers(0, 2, N)
WHO = RNG.integers(0, 45, N).astype(str)
GOOD = 1 / (1 + np.exp(-(2.4 * LABELS - 1.2 + RNG.normal(0, 1, N))))
FAIR = 1 / (1 + np.exp(-(1.2 * LABELS - 0.6 + RNG.normal(0, 1, N))))
RANDOM = RNG.random(N)


@pytest.fixture(scope="module")
def resampling() -> Resampling:
    return resample(WHO, LABELS, 2000, seed=2)


def contestant(name: str, scores: np.ndarray, resampling: Resampling) -> cmp.Contestant:
    right = (scores >= 0.5) == (LABELS == 1)
    return cmp.Contestant(name, scores, right, measure(LABELS, scores, 0.5, resampling))


def verdict_on(resampling: Resampling, doubts: tuple[Weakness, ...] = (), **scores: np.ndarray) -> Verdict:
    sides = [contestant(name, each, resampling) for name, each in scores.items()]
    aucs = [(side.name, estimate(side.measured["auc"], resampling)) for side in sides]
    return judge(cmp.compare_all(LABELS, sides, resampling), aucs, doubts)


def test_delong_equals_mlstatkit() -> None:
    ours = cmp.delong(LABELS, GOOD, FAIR)
    z, p, *_ = Delong_test(LABELS, FAIR, GOOD, return_ci=True, return_auc=True)
    assert ours.value is not None
    assert ours.standard_error is not None
    assert ours.value / ours.standard_error == pytest.approx(z)
    assert ours.p == pytest.approx(p)


def test_delong_of_ties_equals_the_comparison_of_all_pairs() -> None:
    labels, scores = LABELS[:80], np.round(FAIR[:80], 1)
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    spread = np.sqrt(wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative))
    other = cmp.delong(labels, scores, np.zeros(80))
    assert other.value == pytest.approx(wins.mean() - 0.5)
    assert other.standard_error == pytest.approx(spread)


def test_delong_reproduces_a_published_table() -> None:
    # Hanley & McNeil 1982, ratings of 109 CT images; area and standard error as in Stata's manual under "roctab"
    ratings = np.repeat(np.tile(np.arange(1.0, 6.0), 2), [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    labels = np.repeat([0, 1], [58, 51])
    against_nothing = cmp.delong(labels, ratings, np.zeros(109))
    assert against_nothing.value == pytest.approx(0.8932 - 0.5, abs=5e-5)
    assert against_nothing.standard_error == pytest.approx(0.0307, abs=5e-5)


def test_exact_mcnemar_equals_the_binomial_test_on_a_published_table() -> None:
    # Bland 2000, An Introduction to Medical Statistics: colds at 12 and 14 years, 212/144/256/707
    first = np.repeat([True, True, False, False], [212, 144, 256, 707])
    second = np.repeat([True, False, True, False], [212, 144, 256, 707])
    ours = cmp.exact_mcnemar(first, second)
    assert ours.p == pytest.approx(binomtest(144, 144 + 256).pvalue)
    assert ours.p is not None
    assert ours.p < 1e-7
    assert ours.value == pytest.approx((144 - 256) / 1319)


def test_holm_reproduces_the_textbook_example(resampling: Resampling) -> None:
    plain = cmp.delong(LABELS, GOOD, FAIR)
    tests = [cmp.replace(plain, p=p) for p in (0.01, 0.04, 0.03, 0.005)] + [cmp.replace(plain, p=None)]
    assert [one.p_holm for one in cmp._holm(tests)] == [pytest.approx(p) for p in (0.03, 0.06, 0.06, 0.02)] + [None]


def test_the_primary_difference_uses_the_same_draws_for_both(resampling: Resampling) -> None:
    nearly = GOOD + RNG.normal(0, 1e-3, N)
    pair = cmp.compare_all(
        LABELS, [contestant("a", GOOD, resampling), contestant("b", nearly, resampling)], resampling
    )[0]
    single = estimate(contestant("a", GOOD, resampling).measured["auc"], resampling)
    assert pair.primary.standard_error is not None
    assert pair.primary.standard_error < 0.05 * (single.high - single.low)


def test_two_copies_of_one_model_do_not_differ(resampling: Resampling) -> None:
    verdict = verdict_on(resampling, cnn=GOOD, twin=GOOD.copy())
    assert verdict.winner is None
    assert verdict.headline == "No difference was found between cnn and twin."


def test_a_model_against_a_random_one_is_named(resampling: Resampling) -> None:
    verdict = verdict_on(resampling, random=RANDOM, cnn=GOOD)
    assert (verdict.winner, verdict.strength) == ("cnn", "shows")
    assert verdict.headline == "cnn separates IDC from other tissue better than random."
    low, high = (float(x) for x in re.search(r"interval (0\.\d+) to (0\.\d+)", verdict.detail).groups())
    assert 0 < low < high


def test_two_models_of_equal_strength_report_what_could_have_been_seen(resampling: Resampling) -> None:
    noise = np.random.default_rng(1)
    other = 1 / (1 + np.exp(-(2.4 * LABELS - 1.2 + noise.normal(0, 1, N))))
    verdict = verdict_on(resampling, cnn=GOOD, vgg16=other)
    assert verdict.winner is None
    assert "this test could have seen a difference of 0.0" in verdict.detail


def test_the_best_of_three_must_beat_both(resampling: Resampling) -> None:
    verdict = verdict_on(resampling, a=RANDOM, b=GOOD, c=FAIR)
    assert verdict.winner == "b"
    assert "a and c" in verdict.headline
    undecided = verdict_on(resampling, a=RANDOM, b=GOOD, c=GOOD.copy())
    assert undecided.winner is None


def test_primary_p_values_are_adjusted_over_all_pairs(resampling: Resampling) -> None:
    sides = [contestant(name, each, resampling) for name, each in (("a", RANDOM), ("b", GOOD), ("c", FAIR))]
    pairs = cmp.compare_all(LABELS, sides, resampling)
    assert len(pairs) == 3
    assert all(pair.primary.p_holm >= pair.primary.p for pair in pairs)
    assert any(pair.primary.p_holm > pair.primary.p for pair in pairs)


@pytest.mark.parametrize(
    "doubts",
    [
        about_patches(synthetic=False, known=False, patients=45),
        about_patches(synthetic=False, known=True, patients=12),
        about_openings(3),
    ],
    ids=["no ids", "few patients", "reopened"],
)
def test_a_serious_weakness_allows_no_more_than_a_suggestion(resampling: Resampling, doubts: list[Weakness]) -> None:
    verdict = verdict_on(resampling, tuple(doubts), cnn=GOOD, random=RANDOM)
    assert verdict.strength == "suggests"
    assert "suggest" in verdict.headline


def test_a_single_model_is_reported_without_an_opponent() -> None:
    verdict = judge((), [("cnn", Estimate(0.9, 0.85, 0.93))], ())
    assert verdict.headline == "cnn reached an AUC of 0.900 (95\u00a0% interval 0.850 to 0.930) on the test split."


def test_with_few_patients_a_single_model_is_not_praised() -> None:
    few = tuple(about_patches(synthetic=False, known=True, patients=3))
    verdict = judge((), [("cnn", Estimate(0.986, None, None))], few)
    assert verdict.headline == "cnn reached an AUC of 0.986 on a test split of too few patients to be sure of it."


def test_with_four_patients_there_is_neither_an_interval_nor_a_p() -> None:
    four = resample(np.array([f"p{k % 4}" for k in range(N)]), LABELS, 300, 0)
    pair = cmp.compare_all(LABELS, [contestant("a", GOOD, four), contestant("b", FAIR, four)], four)[0]
    assert pair.primary.value is not None
    assert (pair.primary.low, pair.primary.p, pair.smallest_detectable) == (None, None, None)
    verdict = judge((pair,), [("a", Estimate(0.9, None, None)), ("b", Estimate(0.8, None, None))], ())
    assert verdict.winner is None
    assert verdict.detail.endswith("the test split is too small to say how sure that is.")


def test_what_could_have_been_seen_is_2_8_standard_errors_with_many_patients_and_more_with_few(
    resampling: Resampling,
) -> None:
    many = resample(np.arange(N).astype(str), LABELS, 10, 0)
    assert many.power_factor == pytest.approx(2.8, abs=0.01)
    few = resample(np.array([f"p{k % 6}" for k in range(N)]), LABELS, 10, 0)
    assert few.power_factor > 3.4
    sides = [contestant("a", GOOD, resampling), contestant("b", FAIR, resampling)]
    pair = cmp.compare_all(LABELS, sides, resampling)[0]
    assert pair.primary.standard_error is not None
    assert pair.smallest_detectable == pytest.approx(resampling.power_factor * pair.primary.standard_error)
    assert pair.smallest_detectable > pair.primary.high - pair.primary.value


def test_a_test_split_that_could_see_nothing_says_so(resampling: Resampling) -> None:
    sides = [contestant("a", GOOD, resampling), contestant("b", GOOD + 1e-9, resampling)]
    pair = cmp.replace(cmp.compare_all(LABELS, sides, resampling)[0], smallest_detectable=0.7)
    verdict = judge((pair,), [("a", Estimate(0.9, 0.1, 1.0)), ("b", Estimate(0.9, 0.1, 1.0))], ())
    assert "could not have seen even the largest difference" in verdict.detail


def test_too_few_patches_of_a_class_leave_delong_undefined() -> None:
    one = cmp.delong(np.array([1, 0, 0]), np.arange(3.0), np.arange(3.0))
    assert (one.value, one.p) == (None, None)


@pytest.mark.parametrize("scores", [GOOD, np.where(LABELS == 1, 0.9, 0.1), np.where(LABELS == 1, 0.1, 0.9)])
def test_an_interval_within_one_patient_stays_in_range(scores: np.ndarray) -> None:
    found = cmp.delong_interval(LABELS, scores)
    assert found is not None
    value, low, high = found
    assert 0 <= low <= value <= high <= 1
    assert high > low
