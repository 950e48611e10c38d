"""The gain of choosing: what it is, and that choosing among equals gains nothing by it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from studies.final_models import Gain
from studies.statistics.ensembles import combined, on_one_scale, selected
from studies.statistics.metrics import auc
from studies.statistics.nested import chosen_by_others, in_words, nested_gain, nested_over_control

Scores = dict[str, np.ndarray]
PATIENTS = np.repeat(np.arange(40), 6)
LABELS = np.tile([0, 1, 0, 0, 1, 0], 40)
FOLD = PATIENTS % 5
NAMES = PATIENTS.astype(str)


def made(rng: np.random.Generator, skills: dict[str, float]) -> Scores:
    return {label: skill * LABELS + rng.normal(0, 1, len(LABELS)) for label, skill in skills.items()}


def test_it_is_the_mean_difference_within_folds_of_what_the_other_folds_choose() -> None:
    scores = made(np.random.default_rng(3), {"best": 2.0, "other": 1.9, "default": 1.0})
    scores["other"] = 5 * scores["other"] + 20  # scores of other configurations lie on other scales
    found = nested_gain(LABELS, NAMES, FOLD, scores, "default")
    gaps = []
    for fold in range(5):
        inside, outside = fold == FOLD, fold != FOLD
        best = max(scores, key=lambda label: roc_auc_score(LABELS[outside], scores[label][outside]))
        assert found.chosen[fold] == best
        one, default = (roc_auc_score(LABELS[inside], scores[label][inside]) for label in (best, "default"))
        gaps.append(one - default)
    assert found.value == pytest.approx(np.mean(gaps), abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high
    assert (found.patients, found.patches, found.reason) == (40, 240, "")


def test_choosing_among_equals_gains_nothing_by_it_though_the_best_of_them_always_looks_better() -> None:
    rng = np.random.default_rng(5)
    draws = [made(rng, dict.fromkeys(("a", "b", "c", "d", "default"), 1.2)) for _ in range(60)]
    nested = [nested_gain(LABELS, NAMES, FOLD, scores, "default") for scores in draws]
    naive = [max(auc(LABELS, each) for each in scores.values()) - auc(LABELS, scores["default"]) for scores in draws]
    assert np.mean(naive) > 0.02
    assert abs(np.mean([one.value for one in nested])) < 0.015  # its standard error is .006
    shown = [one.low is not None and one.low > 0 for one in nested]
    assert np.mean(shown) <= 0.1


def test_where_the_default_one_is_the_best_nothing_is_gained_and_no_interval_is_made_up() -> None:
    scores = made(np.random.default_rng(1), {"best": 0.5, "default": 2.0})
    found = nested_gain(LABELS, NAMES, FOLD, scores, "default")
    assert (found.chosen, found.value, found.low) == (("default",) * 5, 0.0, None)
    twins = dict.fromkeys(("best", "default"), scores["default"])
    assert nested_gain(LABELS, NAMES, FOLD, twins, "default") == found


def test_patches_stand_for_patients_where_these_are_unknown() -> None:
    scores = made(np.random.default_rng(2), {"best": 2.0, "default": 1.0})
    found: Gain = nested_gain(LABELS, np.full(len(LABELS), ""), FOLD, scores, "default")
    assert found.patients == 0
    assert found.low is not None


def test_over_a_control_each_folds_ensemble_is_held_against_as_many_networks_of_the_same_models() -> None:
    rng = np.random.default_rng(4)
    scores = made(rng, {"best": 2.0, "other": 1.9, "default": 0.8})
    control = made(rng, {"control-1": 0.8, "control-2": 0.8, "control-3": 0.8})
    control["control-2"] = 9 * control["control-2"]
    chosen = chosen_by_others(LABELS, FOLD, scores)
    labels = ["control-1", "control-2", "control-3"]
    instead = [dict(zip(labels, counts.values(), strict=False)) for counts in chosen]
    instead[1] = {"control-3": 2}
    found = nested_over_control(LABELS, NAMES, FOLD, scores, control, list(zip(chosen, instead, strict=True)))
    assert found.chosen == tuple(map(in_words, chosen))
    assert found.low is not None
    assert 0 < found.low < found.value
    gaps = []
    for fold in range(5):
        inside, outside = fold == FOLD, fold != FOLD
        _, counts = selected(LABELS, FOLD, scores, outside)
        one = combined(on_one_scale(LABELS, scores, outside), counts)[inside]
        mean = combined(on_one_scale(LABELS, control, outside), instead[fold])[inside]
        gaps.append(roc_auc_score(LABELS[inside], one) - roc_auc_score(LABELS[inside], mean))
    assert found.value == pytest.approx(np.mean(gaps), abs=1e-12)
