"""Paired tests against their oracles; verdicts that know when to be silent."""

import re

import numpy as np
import pytest
from MLstatkit import Delong_test
from scipy.special import logit
from scipy.stats import binomtest

from studies.findings.verdict import Verdict, judge
from studies.findings.weaknesses import Weakness, about_classes, about_openings, about_patches
from studies.statistics import comparison as cmp
from studies.statistics.metrics import Estimate, estimate, measure
from studies.statistics.obuchowski import obuchowski
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
    logits, right = logit(scores), (scores >= 0.5) == (LABELS == 1)
    return cmp.Contestant(name, logits, right, measure(LABELS, logits, 0.5, resampling))


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


def test_adjusted_p_and_interval_cannot_contradict_each_other() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        tests = [
            cmp.simultaneous([cmp._difference("d", value, 0.01, 18.0)])[0] for value in rng.normal(0.024, 0.012, 3)
        ]
        for test in cmp.simultaneous([*tests, cmp.Difference("undefined", None)])[:3]:
            assert (test.p_adjusted < 0.05) == (test.low > 0 or test.high < 0)
            assert test.p_adjusted == pytest.approx(min(1, 3 * test.p))
    single = cmp.simultaneous([cmp._difference("d", 0.02, 0.01, 18.0)])[0]
    assert single.p_adjusted == single.p
    assert (single.low, single.high) == pytest.approx((0.02 - 2.1009 * 0.01, 0.02 + 2.1009 * 0.01), abs=1e-6)


def test_three_intervals_hold_all_three_differences_at_once(resampling: Resampling) -> None:
    rng = np.random.default_rng(4)
    held = []
    for _ in range(2000):
        noise = rng.normal(0, 0.01, 3)  # of three equal models
        pairs = [noise[0] - noise[1], noise[0] - noise[2], noise[1] - noise[2]]
        tests = cmp.simultaneous([cmp._difference("d", value, 0.01 * np.sqrt(2), 1e6) for value in pairs])
        held.append(all(test.low < 0 < test.high for test in tests))
    assert np.mean(held) > 0.945


def test_delong_and_mcnemar_are_in_no_family(resampling: Resampling) -> None:
    pair = cmp.compare_all(LABELS, [contestant("a", GOOD, resampling), contestant("b", FAIR, resampling)], resampling)[
        0
    ]
    assert [test.statistic for test in pair.secondary] == [
        "Difference of balanced accuracy",
        "Difference of Brier score",
    ]
    assert [test.statistic for test in pair.naive] == ["DeLong test", "Exact McNemar test"]
    assert all(test.p_adjusted is None for test in pair.naive)
    assert all(test.p_adjusted == pytest.approx(min(1, 2 * test.p)) for test in pair.secondary)


def test_the_primary_difference_uses_the_same_draws_for_both(resampling: Resampling) -> None:
    nearly = GOOD + RNG.normal(0, 1e-3, N)
    pair = cmp.compare_all(
        LABELS, [contestant("a", GOOD, resampling), contestant("b", nearly, resampling)], resampling
    )[0]
    single = estimate(contestant("a", GOOD, resampling).measured["auc"], resampling)
    assert pair.primary.standard_error is not None
    assert pair.primary.standard_error < 0.05 * (single.high - single.low)


PERFECT = np.where(LABELS == 1, 0.9, 0.1)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (GOOD, GOOD.copy(), "both give every patch the same score."),
        (GOOD, 1 / (1 + np.exp(-(np.log(GOOD / (1 - GOOD)) / 3 + 1))), "both rank the patches in the same order."),
        (PERFECT, PERFECT + RNG.uniform(0, 0.01, N), "both tell the classes of the test split apart without an error"),
    ],
    ids=["the same scores", "the same ranking", "two perfect models"],
)
def test_models_without_a_difference_are_told_apart_by_what_they_share(
    resampling: Resampling, first: np.ndarray, second: np.ndarray, said: str
) -> None:
    verdict = verdict_on(resampling, cnn=first, twin=second)
    assert verdict.winner is None
    assert verdict.headline == "No difference was found between cnn and twin."
    assert said in verdict.detail


def test_a_difference_that_no_draw_changes_has_neither_an_interval_nor_a_p(resampling: Resampling) -> None:
    sides = [contestant("constant", np.full(N, 0.5), resampling), contestant("perfect", PERFECT, resampling)]
    pair = cmp.compare_all(LABELS, sides, resampling)[0]
    for test in (pair.primary, pair.naive[0]):
        assert (test.value, test.low, test.high, test.p, test.p_adjusted) == (-0.5, None, None, None, None)
    verdict = verdict_on(resampling, constant=np.full(N, 0.5), perfect=PERFECT)
    assert verdict.headline == "It cannot be said whether perfect and constant differ."
    assert verdict.detail == (
        "The AUCs differ by 0.500; that is the same whichever patient is taken away, so there is neither an interval "
        "nor a p."
    )


def test_a_model_against_a_random_one_is_named(resampling: Resampling) -> None:
    verdict = verdict_on(resampling, random=RANDOM, cnn=GOOD)
    assert (verdict.winner, verdict.strength) == ("cnn", "shows")
    assert verdict.headline == "cnn separates IDC from other tissue better than random."
    low, high = (float(x) for x in re.search(r"interval (0\.\d+) to (0\.\d+)", verdict.detail).groups())
    assert 0 < low < high


def test_what_cannot_be_excluded_is_the_far_end_of_the_interval(resampling: Resampling) -> None:
    noise = np.random.default_rng(1)
    other = 1 / (1 + np.exp(-(2.4 * LABELS - 1.2 + noise.normal(0, 1, N))))
    verdict = verdict_on(resampling, cnn=GOOD, vgg16=other)
    assert verdict.winner is None
    low, high, open_to, found = (
        float(number.replace("−", "-"))
        for number in re.search(
            r"interval (\S+) to (\S+), p .*up to (\S+) cannot be excluded\. .*a true difference of (\S+) or more",
            verdict.detail,
        ).groups()
    )
    assert open_to == max(-low, high)
    assert found > (high - low) / 2


def test_a_difference_of_a_single_patch_is_told_with_digits_that_show_it(resampling: Resampling) -> None:
    moved, one = GOOD.copy(), int(np.argsort(GOOD)[N // 2])
    others = np.sort(GOOD[LABELS[one] != LABELS])
    first = np.searchsorted(others, GOOD[one])
    moved[one] = others[first : first + 2].mean()  # past one patch of the other class
    detail = verdict_on(resampling, cnn=GOOD, other=moved).detail
    value, low, high, open_to = (
        float(number.replace("−", "-"))
        for number in re.search(
            r"differ by (\S+) \(95.* interval (\S+) to (\S+), p .*up to (\S+) cannot", detail
        ).groups()
    )
    assert 0 < value < 0.0005
    assert low < 0 < value < high == open_to


def paired(low: float, high: float, *, p: float = 0.2, second: str = "vgg16", spread: float = 0.01) -> cmp.Comparison:
    """The difference of cnn and another, with an interval."""
    primary = cmp.Difference("d", (low + high) / 2, low, high, spread, 20.0, p, p)
    return cmp.Comparison("cnn", second, primary, (), (), 0.03, cmp.Agreement(1, 1, 1, 1))


def judged(*pairs: cmp.Comparison, margin: float | None = 0.02, doubts: tuple[Weakness, ...] = ()) -> Verdict:
    others = {pair.second: Estimate(0.9, 0.88, 0.92) for pair in pairs}
    models = [("cnn", Estimate(0.92, 0.9, 0.94)), *others.items()]
    return judge(pairs, models, doubts, margin)


def test_an_interval_within_the_margin_makes_models_equivalent() -> None:
    verdict = judged(paired(-0.008, 0.015))
    assert (verdict.winner, verdict.claim, verdict.strength) == (None, "equivalent", "shows")
    assert verdict.headline == "cnn and vgg16 are equivalent within an AUC of 0.02."
    assert verdict.detail == (
        "The AUCs differ by 0.003 (95\u00a0% interval −0.008 to 0.015, p = 0.200); the whole interval lies within the "
        "margin of 0.02 that was planned before."
    )
    weak = judged(paired(-0.008, 0.015), doubts=tuple(about_openings(2)))
    assert weak.headline == "The test split suggests that cnn and vgg16 are equivalent within an AUC of 0.02."
    assert weak.strength == "suggests"
    assert "because of: test split reopened" in weak.detail


def test_a_lower_end_within_the_margin_makes_a_model_not_worse() -> None:
    verdict = judged(paired(-0.008, 0.035))
    assert (verdict.winner, verdict.claim, verdict.strength) == (None, "not worse", "shows")
    assert verdict.headline == (
        "No difference was found between cnn and vgg16; cnn is not worse by more than an AUC of 0.02."
    )
    assert "up to 0.035 cannot be excluded, more than the margin of 0.02 that was planned before" in verdict.detail


@pytest.mark.parametrize(("ends", "margin"), [((-0.03, 0.035), 0.02), ((-0.02, 0.02), 0.02), ((-0.001, 0.002), None)])
def test_without_a_margin_or_beyond_it_nothing_is_claimed(ends: tuple[float, float], margin: float | None) -> None:
    verdict = judged(paired(*ends), margin=margin)
    assert (verdict.winner, verdict.claim, verdict.strength) == (None, "none", "none")
    assert verdict.headline == "No difference was found between cnn and vgg16."
    assert ("margin" in verdict.detail) == (margin is not None)


def test_a_lead_below_the_margin_is_a_lead_and_is_told_to_be_small() -> None:
    verdict = judged(paired(0.003, 0.015, p=0.004))
    assert (verdict.winner, verdict.claim) == ("cnn", "better")
    assert verdict.detail.endswith("The lead is below the margin of 0.02 that was planned before.")
    assert "margin" not in judged(paired(0.003, 0.025, p=0.01)).detail


def test_all_pairs_must_lie_within_the_margin() -> None:
    others = cmp.replace(paired(-0.009, 0.012, second="third"), first="vgg16")
    both = judged(paired(-0.008, 0.015), paired(-0.009, 0.012, second="third"), others)
    assert both.headline == "cnn, vgg16 and third are equivalent within an AUC of 0.02."
    apart = cmp.replace(others, primary=paired(-0.009, 0.025).primary)
    assert judged(paired(-0.008, 0.015), paired(-0.009, 0.012, second="third"), apart).claim == "not worse"
    one = judged(paired(-0.008, 0.015), paired(-0.03, 0.012, second="third"))
    assert one.headline == "No difference was found between cnn and vgg16 and third."
    assert one.claim == "none"
    assert "cnn and third differ by" in one.detail


def test_intervals_that_hold_together_say_so() -> None:
    wide = cmp.replace(paired(-0.003, 0.047).primary, p=0.02, p_adjusted=0.06)
    verdict = judged(cmp.replace(paired(-0.003, 0.047), primary=wide), paired(-0.01, 0.05, second="third"), margin=None)
    assert "(simultaneous 95\u00a0% interval −0.003 to 0.047, adjusted p = 0.060)" in verdict.detail


def test_the_best_of_three_must_beat_both(resampling: Resampling) -> None:
    verdict = verdict_on(resampling, a=RANDOM, b=GOOD, c=FAIR)
    assert verdict.winner == "b"
    assert "a and c" in verdict.headline
    undecided = verdict_on(resampling, a=RANDOM, b=GOOD, c=GOOD.copy())
    assert undecided.winner is None


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


def test_with_few_patients_of_a_class_a_single_model_is_not_praised() -> None:
    few = tuple(about_classes(np.repeat([f"p{k}" for k in range(40)], 5), (np.arange(200) < 3).astype(np.int64)))
    verdict = judge((), [("cnn", Estimate(0.986, None, None))], few)
    assert verdict.headline.endswith("on a test split of too few patients with IDC to be sure of it.")


def test_a_test_split_of_one_class_has_no_auc_to_differ(resampling: Resampling) -> None:
    undefined = cmp.replace(paired(-0.1, 0.1), primary=cmp.Difference("d", None))
    verdict = judge((undefined,), [("cnn", Estimate(None, None, None)), ("vgg16", Estimate(None, None, None))], ())
    assert verdict.headline == "It cannot be said whether cnn and vgg16 differ."
    assert verdict.detail == "The test split holds one class only, so that there is no AUC."


def test_with_four_patients_there_is_neither_an_interval_nor_a_p() -> None:
    four = resample(np.array([f"p{k % 4}" for k in range(N)]), LABELS, 300, 0)
    pair = cmp.compare_all(LABELS, [contestant("a", GOOD, four), contestant("b", FAIR, four)], four)[0]
    assert pair.primary.value is not None
    assert (pair.primary.low, pair.primary.p, pair.smallest_detectable) == (None, None, None)
    verdict = judge((pair,), [("a", Estimate(0.9, None, None)), ("b", Estimate(0.8, None, None))], ())
    assert verdict.winner is None
    assert verdict.detail.endswith(
        "the test split is too small to say how sure that is (there are 4 patients; an interval takes 5)."
    )
    assert verdict.headline == "It cannot be said whether a and b differ."


def test_what_is_found_with_80_percent_power_is_2_8_standard_errors_with_many_patients_and_more_with_few() -> None:
    many, few = (cmp._difference("d", 0.0, 1.0, freedom) for freedom in (1e6, 5.0))
    assert cmp.detectable(many) == pytest.approx(2.8, abs=0.01)
    assert cmp.detectable(few) > 3.4
    assert cmp.detectable(many, 3) == pytest.approx(2.394 + 0.8416, abs=1e-3), "as one of three, by its wider interval"
    assert cmp.detectable(cmp.Difference("d", 0.1)) is None


def test_a_test_split_that_could_see_nothing_says_so() -> None:
    pair = cmp.replace(paired(-0.6, 0.7), smallest_detectable=0.7)
    assert "cannot find even the largest difference" in judged(pair, margin=None).detail
    wider = cmp.replace(paired(-0.9, 1.3), smallest_detectable=1.4)
    for margin in (None, 0.02):
        assert "; no difference whatever can be excluded, and such a test" in judged(wider, margin=margin).detail


def test_too_few_patches_of_a_class_leave_delong_undefined() -> None:
    single = cmp.delong(np.array([1, 0, 0]), np.arange(3.0), np.array([2.0, 0.0, 1.0]))
    assert (single.value, single.low, single.p) == (-1.0, None, None)
    assert cmp.delong(np.zeros(3), np.arange(3.0), np.arange(3.0)).value is None


def test_a_patient_with_a_single_patch_of_a_class_has_an_auc_without_an_interval() -> None:
    assert cmp.delong_interval(np.array([1, 0, 0]), np.array([0.5, 0.2, 0.9])) == (0.5, None, None)
    assert cmp.delong_interval(np.array([1, 1, 0, 0]), np.full(4, 0.3)) == (0.5, None, None), "no spread, no interval"
    assert cmp.delong_interval(np.zeros(3), np.arange(3.0)) is None


@pytest.mark.parametrize("scores", [GOOD, np.where(LABELS == 1, 0.9, 0.1), np.where(LABELS == 1, 0.1, 0.9)])
def test_an_interval_within_one_patient_stays_in_range(scores: np.ndarray) -> None:
    found = cmp.delong_interval(LABELS, scores)
    assert found is not None
    value, low, high = found
    assert 0 <= low <= value <= high <= 1
    assert high > low


def test_obuchowski_s_variance_of_one_patch_a_patient_is_that_of_delong(resampling: Resampling) -> None:
    alone = resample(np.arange(N).astype(str), LABELS, 0, 0)
    value, error = obuchowski(LABELS, alone, GOOD, FAIR)
    naive = cmp.delong(LABELS, GOOD, FAIR)
    assert (value, error) == pytest.approx((naive.value, naive.standard_error), rel=1e-9)
    clustered = cmp.compare_all(
        LABELS, [contestant("a", GOOD, resampling), contestant("b", FAIR, resampling)], resampling
    )
    (pair,) = clustered
    assert pair.second_opinion is not None
    assert pair.second_opinion.value == pytest.approx(pair.primary.value)
    assert pair.second_opinion.standard_error == pytest.approx(pair.primary.standard_error, rel=0.05)


def test_an_interval_that_holds_with_others_says_so_at_a_p_of_1_too() -> None:
    labels, patients = np.tile([0, 1], 60), np.repeat([f"p{k:02}" for k in range(30)], 4)
    scores = np.random.default_rng(0).normal(size=120) + labels
    models = {"one": scores, "turned": scores.reshape(30, 4)[::-1].ravel(), "worst": -scores}
    drawn = resample(patients, labels, 0, 0)
    measured = {name: measure(labels, each, 0.5, drawn) for name, each in models.items()}
    entered = [
        cmp.Contestant(name, each, (each >= 0) == (labels == 1), measured[name]) for name, each in models.items()
    ]
    pairs = cmp.compare_all(labels, entered, drawn)
    verdict = judge(pairs, [(name, estimate(measured[name]["auc"], drawn)) for name in models], ())
    assert pairs[0].primary.p == 1
    assert "simultaneous 95\u00a0% interval" in verdict.detail
