"""Over patches and over patients: what each of them counts, and when they are told to disagree."""

import re

import numpy as np
import pytest

from studies.findings.weaknesses import about_estimands
from studies.statistics.estimands import COMPARED, Estimands, estimands
from studies.statistics.intervals import too_few
from studies.statistics.metrics import at_threshold, by_class, estimate, measure
from studies.statistics.resampling import MOST_PATIENTS, resample


def found(labels: np.ndarray, logits: np.ndarray, who: np.ndarray) -> Estimands:
    resampling = resample(who, labels, 500, 0)
    measured = {"cnn": measure(labels, logits, 0.5, resampling)}
    return estimands(labels, {"cnn": (logits, 0.5)}, measured, resampling)["cnn"]


def test_the_mean_over_patients_is_that_of_all_pairs_of_patients() -> None:
    rng = np.random.default_rng(0)
    who, labels = rng.integers(0, 8, 200), rng.integers(0, 2, 200)
    scores = np.round(np.clip(0.3 * labels + rng.random(200) * 0.7, 0, 1), 2)
    one = found(labels, scores - 0.5, who.astype(str))

    def called(label: int) -> float:
        return float(np.mean([(scores[(who == k) & (labels == label)] >= 0.5).mean() for k in range(8)]))

    pairs = [
        np.mean(
            [
                (a > b) + 0.5 * (a == b)
                for a in scores[(who == i) & (labels == 1)]
                for b in scores[(who == j) & (labels == 0)]
            ]
        )
        for i in range(8)
        for j in range(8)
    ]
    patients = {metric: each.patients.value for metric, each in one.metrics.items()}
    assert patients == pytest.approx(
        {
            "auc": np.mean(pairs),
            "sensitivity": called(1),
            "specificity": 1 - called(0),
            "balanced_accuracy": (called(1) + 1 - called(0)) / 2,
        }
    )
    within = [np.mean(pairs[9 * k]) for k in range(8)]
    assert one.within.value == pytest.approx(np.mean(within))
    assert one.ranked == 8
    assert one.within.low < one.within.value < one.within.high


def lesions(large: int, skill_of_large: float, skill_of_small: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thirty patients; ten of them have ``large`` patches, the others ten."""
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(30), np.where(np.arange(30) < 10, large, 10))
    labels = np.tile([0, 1], len(who) // 2)
    skill = np.where(who < 10, skill_of_large, skill_of_small)
    return labels, skill * (labels - 0.5) + rng.normal(0, 1, len(who)), who.astype(str)


def test_where_large_lesions_are_easier_the_two_disagree_and_it_is_a_weakness() -> None:
    labels, logits, who = lesions(200, 3.0, 0.6)
    one = found(labels, logits, who)
    assert one.metrics["auc"].patches.value > one.metrics["auc"].patients.value + 0.1
    weak = about_estimands({"cnn": one})
    assert [each.name for each in weak] == ["Patches and patients disagree"]
    assert re.fullmatch(
        r"The AUC of cnn is 0\.9\d+ over patches, and 0\.\d+ where every patient counts the same; "
        r"the balanced accuracy of cnn 0\.\d+ and 0\.\d+: the first is mostly that of the patients with most patches\.",
        weak[0].meaning,
    )


def test_of_several_models_it_is_one_weakness() -> None:
    one = found(*lesions(200, 3.0, 0.6))
    (weak,) = about_estimands({"cnn": one, "vgg16": one})
    assert weak.meaning.count("the balanced accuracy of vgg16 0.") == weak.meaning.count("the AUC of vgg16 0.") == 1


def test_where_all_patients_are_alike_they_agree() -> None:
    assert about_estimands({"cnn": found(*lesions(200, 2.0, 2.0))}) == []
    equal = found(*lesions(10, 2.0, 2.0)).metrics["auc"]
    assert (equal.patches.value, equal.patches.low) == pytest.approx((equal.patients.value, equal.patients.low))
    assert equal.difference.value == pytest.approx(0)
    assert equal.difference.p is None


def test_without_patient_ids_there_is_only_one() -> None:
    labels, logits, who = lesions(10, 2.0, 2.0)
    resampling = resample(np.full(len(who), ""), labels, 50, 0)
    measured = {"cnn": measure(labels, logits, 0.5, resampling)}
    assert estimands(labels, {"cnn": (logits, 0.5)}, measured, resampling) == {}


def test_patients_of_one_class_have_no_auc_of_their_own() -> None:
    labels, logits, who = lesions(10, 2.0, 2.0)
    labels = np.where(np.isin(who.astype(int), [3, 4]), 0, labels)
    assert found(labels, logits, who).ranked == 28


def test_a_perfect_score_is_one_over_patients_too_with_an_interval() -> None:
    rng = np.random.default_rng(0)
    place = np.repeat(np.arange(12), rng.integers(3, 40, 12))
    labels = rng.integers(0, 2, len(place))
    logits = (2 * labels - 1) * (1 + rng.random(len(place)))
    resampling = resample(np.array([f"p{k}" for k in place]), labels, 0, 0)
    measured = {"cnn": measure(labels, logits, 0.5, resampling)}
    one = estimands(labels, {"cnn": (logits, 0.5)}, measured, resampling)["cnn"].metrics["auc"]
    assert one.patients.value == one.patients.high == 1
    assert one.patients.low is not None
    assert one.patients.low > 0.7


def test_more_patients_than_are_drawn_apart_still_count_each_for_itself() -> None:
    count = MOST_PATIENTS + 500
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 5, count)
    place = np.repeat(np.arange(count), sizes)
    labels = rng.integers(0, 2, len(place))
    right = rng.random(len(place)) < (sizes / 5)[place]  # larger lesions are easier
    logits = np.where(right, 1.0, -1.0) * (2 * labels - 1) * (1 + rng.random(len(place)))
    who = np.array([f"p{k}" for k in place])
    resampling = resample(who, labels, 0, 0)
    assert resampling.patients == MOST_PATIENTS
    called = {name: one for name, one in measure(labels, logits, 0.5, resampling).items() if name in COMPARED}
    one = estimands(labels, {"cnn": (logits, 0.5)}, {"cnn": called}, resampling)["cnn"]

    def mean_of(label: int) -> float:
        inside = labels == label
        own, all_of = (np.bincount(place[inside], each[inside], count) for each in (right, np.ones(len(place))))
        return float(np.mean(own[all_of > 0] / all_of[all_of > 0]))

    assert one.metrics["sensitivity"].patients.value == pytest.approx(mean_of(1))
    assert one.metrics["specificity"].patients.value == pytest.approx(mean_of(0))
    assert one.metrics["sensitivity"].patches.value > mean_of(1) + 0.05, "over patches it is another number"
    own = np.bincount(place, labels, count)
    both = np.flatnonzero((own > 0) & (own < sizes))
    assert one.ranked == len(both)
    pairs = [
        np.subtract.outer(logits[(place == k) & (labels == 1)], logits[(place == k) & (labels == 0)]) for k in both
    ]
    assert one.within.value == pytest.approx(np.mean([np.mean(pair > 0) for pair in pairs]))
    assert one.within.low < one.within.value < one.within.high


def test_a_rate_of_one_rests_on_patients_and_not_on_the_groups_they_are_dealt_to() -> None:
    patients = np.array([f"p{k}" for k in range(3000)])
    labels = np.ones(3000, dtype=int)
    labels[:5] = 0
    sampled = at_threshold(labels, labels.astype(float), 0.5, resample(patients, labels, 0, 0))["sensitivity"]
    assert sampled.bases[0].count == 2995
    found = estimate(sampled, resample(patients, labels, 0, 0))
    assert (found.value, found.low) == (1.0, pytest.approx(0.025 ** (1 / 2995)))  # Clopper & Pearson
    unknown = resample(np.full(3000, ""), labels, 0, 0)
    of_patches = estimate(at_threshold(labels, labels.astype(float), 0.5, unknown)["sensitivity"], unknown)
    assert of_patches.low == pytest.approx(0.025 ** (1 / 2995)), "each patch stands for a patient, not each group"


def test_three_patients_are_enough_though_two_of_them_share_a_group() -> None:
    patients, labels = np.array([f"p{k:04}" for k in range(2500)] * 2), np.zeros(5000, dtype=int)
    groups = resample(patients, labels, 0, 0).clusters[:2500]
    twice = np.flatnonzero(groups == np.flatnonzero(np.bincount(groups) == 2)[0])
    with_idc = [*twice, np.flatnonzero(groups != groups[twice[0]])[0]]
    labels[with_idc] = 1
    resampling = resample(patients, labels, 0, 0)
    assert len(np.unique(resampling.clusters[with_idc])) == 2
    assert too_few(by_class(labels, resampling)) is None
    labels[with_idc[:1]] = 0
    assert too_few(by_class(labels, resampling)) == "it rests on 2 patients; an interval takes 3"
