"""Over patches and over patients: what each of them counts, and when they are told to disagree."""

import numpy as np
import pytest

from studies.findings.weaknesses import about_estimands
from studies.statistics.estimands import Estimands, estimands
from studies.statistics.metrics import measure
from studies.statistics.resampling import resample


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
    assert {each.name for each in weak} == {"Patches and patients disagree"}
    assert weak[0].meaning.startswith("The AUC of cnn is 0.9")
    assert weak[0].meaning.endswith("the first is mostly that of the patients with most patches.")


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
