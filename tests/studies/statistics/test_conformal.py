"""Conformal sets: the promise is kept on new patients, whatever patients are like and however few."""

import numpy as np
import pytest
from scipy.special import expit

from studies.statistics.conformal import classes_within, fewest_patients, largest_error


def drawn(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, labels and patients: who has more patches is scored worse, and by an offset of one's own."""
    sizes = rng.integers(1, 80, patients)
    unit = np.repeat(np.arange(patients), sizes)
    labels = (rng.random(len(unit)) < rng.beta(1, 2, patients)[unit]).astype(np.int64)
    offset = rng.normal(0, 1.5, patients)[unit]
    logits = (2 * labels - 1) * (3 - sizes[unit] / 25) + offset + rng.normal(0, 1, len(unit))
    return expit(logits), labels, unit.astype(np.str_)


@pytest.mark.parametrize(("patients", "rate"), [(9, 0.1), (30, 0.1), (60, 0.05), (40, 0.3)])
def test_the_sets_hold_the_truth_as_often_as_promised(patients: int, rate: float) -> None:
    rng = np.random.default_rng(patients)
    held, within = [], []
    for _ in range(2000):
        error = largest_error(*drawn(rng, patients), rate)
        probability, label, _ = (column[:1] for column in drawn(rng, 1))  # a patch of a new patient
        held.append(classes_within(probability, error)[0, label[0]])
        within.append(abs(label - probability)[0] <= error)
    spread = 3 * np.sqrt(rate * (1 - rate) / len(held))
    assert np.mean(held) >= np.mean(within) >= 1 - rate - spread
    assert np.mean(within) <= 1 - rate + 1 / (patients + 1) + spread + 0.01, "no more is left open than has to be"


def test_patches_taken_for_patients_would_promise_too_much() -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(1000):
        probabilities, labels, _ = drawn(rng, 30)
        error = largest_error(probabilities, labels, np.arange(len(labels)).astype(np.str_), 0.1)
        probability, label, _ = (column[:1] for column in drawn(rng, 1))
        held.append(classes_within(probability, error)[0, label[0]])
    assert np.mean(held) != pytest.approx(0.9, abs=0.015), "else this test shows nothing about patients"


def test_fewer_patients_than_the_rate_takes() -> None:
    assert [fewest_patients(rate) for rate in (0.5, 0.1, 0.05, 0.01, 1 / 3)] == [1, 9, 19, 99, 2]
    nine = np.arange(9).astype(np.str_)
    assert largest_error(np.linspace(0.1, 0.9, 9), np.zeros(9, np.int64), nine, 0.1) == pytest.approx(0.9)


def test_a_set_is_never_empty() -> None:
    probabilities = np.array([0.0, 0.2, 0.5, 0.8, 1.0])
    for error in (0.1, 0.3, 0.6):
        assert classes_within(probabilities, error).tolist() == [[1, 0], [1, 0], [1, 1], [0, 1], [0, 1]]
    assert classes_within(probabilities, 0.85).tolist() == [[1, 0], [1, 1], [1, 1], [1, 1], [0, 1]]
