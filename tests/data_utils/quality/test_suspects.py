"""Simple models out of fold, and the labels that they doubt."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from data_utils.quality.suspects import find_suspects, out_of_fold


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that tell the classes apart, labels, and the patient of each of 600 patches."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    features = rng.normal(0, 1, (600, 5)) + 2.2 * labels[:, None] * np.array([1, 0.5, 0, 0, 0])
    return features, labels, np.arange(600) // 12


def test_every_patch_is_scored_by_a_model_that_did_not_see_its_patient(drawn: tuple[np.ndarray, ...]) -> None:
    features, labels, patients = drawn
    found = out_of_fold(features, labels, patients, 0)
    assert found is not None
    assert sorted(set(found.fold)) == [0, 1, 2, 3, 4]
    assert all(len(set(found.fold[patients == patient])) == 1 for patient in set(patients))
    assert roc_auc_score(labels, found.probabilities) > 0.9


def test_what_tells_patients_apart_but_not_classes_is_worth_nothing() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(40), 10)
    labels = np.repeat(rng.permutation(40) % 2, 10)  # each patient of one class
    features = np.eye(40)[patients] + rng.normal(0, 0.01, (400, 40))  # says who it is
    found = out_of_fold(features, labels, patients, 0)
    assert found is not None
    assert roc_auc_score(labels, found.probabilities) < 0.7
    leaking = out_of_fold(features, labels, np.arange(400), 0)
    assert leaking is not None
    assert roc_auc_score(labels, leaking.probabilities) > 0.99


@pytest.mark.parametrize(("owners", "count"), [([0, 0, 1, 1], None), ([0, 1, 2, 3], 2)])
def test_there_are_as_many_folds_as_patients_of_each_class_allow(owners: list[int], count: int | None) -> None:
    labels = np.array([0, 0, 1, 1]) if count is None else np.array([0, 1, 0, 1])
    found = out_of_fold(np.random.default_rng(0).normal(size=(4, 2)), labels, np.array(owners), 0)
    assert (None if found is None else len(set(found.fold))) == count


def test_flipped_labels_come_first(drawn: tuple[np.ndarray, ...]) -> None:
    features, labels, patients = drawn
    flipped = np.random.default_rng(2).choice(600, 40, replace=False)
    wrong = labels.copy()
    wrong[flipped] ^= 1
    found = out_of_fold(features, wrong, patients, 0)
    assert found is not None
    suspects = find_suspects(wrong, found.probabilities)
    assert sorted(suspects.order.tolist()) == list(range(600))
    assert np.isin(flipped, suspects.order[:80]).sum() > 24
    assert suspects.doubted[suspects.order[:20]].all()
    given = np.where(wrong == 1, found.probabilities, 1 - found.probabilities)
    assert given[suspects.order].tolist() == sorted(given.tolist())
