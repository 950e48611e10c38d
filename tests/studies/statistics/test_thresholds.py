"""The threshold's rule: where another threshold gains it is taken, where it gains nothing hardly ever."""

import numpy as np
import pytest
from scipy.special import expit

from studies.statistics.metrics import balanced_accuracy
from studies.statistics.thresholds import choose_threshold

Split = tuple[np.ndarray, np.ndarray, np.ndarray]


def patients_of(seed: int, shift: float = 0.0, patients: int = 60) -> Split:
    """Out-of-fold probabilities, labels and patients: skewed sizes, shares of IDC and levels that differ by patient."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.lognormal(3.4, 0.7, patients), 10, 150).astype(int)
    share = np.where(rng.random(patients) < 0.15, 0.0, rng.beta(0.8, 1.6, patients))
    who = np.repeat(np.arange(patients), sizes)
    labels = (rng.random(len(who)) < share[who]).astype(np.int64)
    signal = 1.9 * (2 * labels - 1) + rng.normal(0, 0.4, patients)[who] + rng.normal(0, 1.4, len(who))
    prevalence = np.log(labels.mean() / (1 - labels.mean()))
    return expit(signal + prevalence + shift), labels, who.astype(str)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        choose_threshold(np.full(9, 0.5), np.zeros(9, dtype=np.int64), np.arange(9).astype(str))


def test_where_another_threshold_gains_nothing_the_prevalence_is_kept_in_nineteen_of_twenty() -> None:
    found = [choose_threshold(*patients_of(seed), draws=200) for seed in range(40)]
    kept = [one.rule.startswith("development prevalence") for one in found]
    assert sum(kept) >= 38


def test_where_the_probabilities_are_shifted_the_best_one_is_taken() -> None:
    probabilities, labels, who = patients_of(1, shift=2.5)
    found = choose_threshold(probabilities, labels, who, draws=200)
    assert found.rule.startswith("best balanced accuracy out of fold: gains 0.")
    chosen, low, high = found.chosen.value, found.chosen.low, found.chosen.high
    assert chosen is not None
    assert low <= chosen <= high
    assert low > labels.mean()
    best = max(balanced_accuracy(labels, probabilities, one) for one in np.unique(probabilities))
    assert balanced_accuracy(labels, probabilities, chosen) > best - 0.003


def test_the_prevalence_has_an_interval_over_patients() -> None:
    probabilities, labels, who = patients_of(2)
    found = choose_threshold(probabilities, labels, who, draws=400)
    assert found.chosen.value == labels.mean()
    shares = np.array([labels[np.isin(who, one)].mean() for one in np.array_split(np.unique(who), 6)])
    assert found.chosen.low < labels.mean() < found.chosen.high
    assert 0.5 < (found.chosen.high - found.chosen.low) / (4 * shares.std(ddof=1) / np.sqrt(6)) < 2


@pytest.mark.parametrize("patients", [1, 4])
def test_over_too_few_patients_there_is_no_number_that_is_none(patients: int) -> None:
    probabilities, labels, who = patients_of(3)
    found = choose_threshold(probabilities, labels, (np.arange(len(who)) % patients).astype(str), draws=50)
    assert (found.chosen.value, found.chosen.low) == (labels.mean(), None)
    assert found.rule == (
        "development prevalence: too few patients have both kinds of patches for another threshold to be judged"
    )


def test_one_patient_with_all_idc_leaves_nobody_to_judge_by() -> None:
    who = np.repeat(np.arange(8), 10).astype(str)
    labels = (who == "3").astype(np.int64)
    found = choose_threshold(np.linspace(0.01, 0.99, 80), labels, who, draws=100)
    assert "nan" not in found.rule
    assert found.chosen.value == labels.mean()


def test_patches_of_unknown_patients_are_drawn_one_by_one() -> None:
    probabilities, labels, who = patients_of(1, shift=2.5)
    found = choose_threshold(probabilities, labels, np.full(len(who), ""), draws=100)
    assert found.rule.startswith("best balanced accuracy")
    assert "on patches by which it was not chosen, more than one standard error" in found.rule
