"""What is averaged: it helps on the rows that it was selected by, and what it gains is told by others."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from studies.statistics.ensembles import combined, greedy, on_one_scale, selected, two_best
from studies.statistics.nested import nested_ensemble

PATIENTS = np.repeat(np.arange(60), 6)
LABELS = np.tile([0, 1, 0, 0, 1, 0], 60)
FOLD = PATIENTS % 5
NAMES = PATIENTS.astype(str)
ALL = np.ones(len(LABELS), np.bool_)


def made(seed: int, **skills: float) -> dict[str, np.ndarray]:
    """Scores whose errors have nothing in common."""
    rng = np.random.default_rng(seed)
    return {name: skill * (2 * LABELS - 1) + rng.normal(0, 1.5, len(LABELS)) for name, skill in skills.items()}


def test_greedy_selection_takes_the_best_first_and_goes_on_as_long_as_it_helps() -> None:
    scores = made(0, a=1.0, b=1.2, c=1.1, useless=0.0)
    counts = greedy(LABELS, scores)
    assert next(iter(counts)) == max(scores, key=lambda name: roc_auc_score(LABELS, scores[name]))
    assert set(counts) == {"a", "b", "c"}
    reached = roc_auc_score(LABELS, combined(scores, counts))
    assert reached > max(roc_auc_score(LABELS, each) for each in scores.values())
    for name, each in scores.items():
        one_more = combined(scores, counts | {name: counts.get(name, 0) + 1})
        assert roc_auc_score(LABELS, one_more) <= reached, f"{name}: it would not have stopped: {each[:1]}"


def test_a_configuration_that_is_taken_twice_has_twice_the_weight() -> None:
    scores = {"a": np.array([1.0, 4.0]), "b": np.array([4.0, 1.0])}
    np.testing.assert_allclose(combined(scores, {"a": 2, "b": 1}), [2.0, 3.0])


def test_copies_of_one_add_nothing_to_it() -> None:
    scores = made(1, a=1.0)
    assert sum(greedy(LABELS, scores | {"copy": scores["a"]}).values()) == 1


def test_the_two_best_are_averaged_plainly() -> None:
    assert two_best(LABELS, made(2, a=0.3, b=1.5, c=1.2)) == {"b": 1, "c": 1}


def test_what_may_not_be_taken_together_is_not() -> None:
    scores = made(2, a=0.3, b=1.5, c=1.2)

    def within(names: Sequence[str]) -> bool:
        return not {"b", "c"} <= set(names)

    assert two_best(LABELS, scores, within) == {"b": 1, "a": 1}
    assert two_best(LABELS, scores, lambda names: len(names) == 1) == {"b": 1}
    counts = greedy(LABELS, scores, within)
    assert "b" in counts
    assert "c" not in counts
    assert "c" in greedy(LABELS, scores)
    assert "c" not in selected(LABELS, FOLD, scores, ALL, within)[1]


def test_scores_on_other_scales_are_brought_to_one() -> None:
    scores = made(3, a=1.0, b=1.0)
    wide = scores | {"b": 10 * scores["b"]}
    one, other = (on_one_scale(LABELS, each, ALL) for each in (scores, wide))
    np.testing.assert_allclose(one["b"], other["b"], rtol=1e-3)
    assert selected(LABELS, FOLD, scores, ALL) == selected(LABELS, FOLD, wide, ALL)


def test_rows_of_a_fold_that_is_left_out_have_no_part_in_what_is_selected() -> None:
    scores = made(4, a=0.8, b=0.9, c=0.7)
    rows = FOLD != 2
    other = {name: np.where(rows, each, -7.0 * each) for name, each in scores.items()}
    assert selected(LABELS, FOLD, scores, rows) == selected(LABELS, FOLD, other, rows)


def test_unlike_models_gain_and_copies_do_not() -> None:
    scores = made(5, a=0.8, b=0.8, c=0.8)
    gain = nested_ensemble(LABELS, NAMES, FOLD, scores, scores["a"])
    assert gain.low is not None
    assert 0 < gain.low < gain.value
    assert len(gain.chosen) == 5
    copies = nested_ensemble(LABELS, NAMES, FOLD, {"a": scores["a"], "b": scores["a"]}, scores["a"])
    assert copies.value == pytest.approx(0, abs=1e-12)


def test_selecting_among_models_whose_errors_are_the_same_gains_nothing_by_it() -> None:
    rng = np.random.default_rng(6)
    values = []
    for _ in range(12):
        shared = (2 * LABELS - 1) + rng.normal(0, 1.5, len(LABELS))
        scores = {name: shared + rng.normal(0, 0.02, len(LABELS)) for name in "abcd"}
        values.append(nested_ensemble(LABELS, NAMES, FOLD, scores, scores["a"]).value)
    assert abs(np.mean(values)) < 0.002


def test_the_single_one_is_the_same_for_all_folds_and_not_the_worst_of_equals_in_each() -> None:
    skills = {"a": np.where(FOLD < 2, 2.0, 0.9), "b": np.where(FOLD < 2, 0.9, 2.0)}
    noise = np.random.default_rng(7).normal(0, 1, len(LABELS))  # the same in both: their mean gains little
    scores = {name: skill * LABELS + noise for name, skill in skills.items()}
    gain = nested_ensemble(LABELS, NAMES, FOLD, scores, scores["b"])
    gaps = []
    for fold in np.unique(FOLD):
        inside, outside = fold == FOLD, fold != FOLD
        _, counts = selected(LABELS, FOLD, scores, outside)
        mean = combined(on_one_scale(LABELS, scores, outside), counts)
        gaps.append(roc_auc_score(LABELS[inside], mean[inside]) - roc_auc_score(LABELS[inside], scores["b"][inside]))
    assert gain.value == pytest.approx(np.mean(gaps), abs=1e-12)

    def reached(name: str, rows: np.ndarray) -> float:
        return float(roc_auc_score(LABELS[rows], scores[name][rows]))

    folds = [fold == FOLD for fold in range(5)]
    by_others = [max(scores, key=lambda name, rows=~inside: reached(name, rows)) for inside in folds]
    nested = np.mean([reached(name, inside) for name, inside in zip(by_others, folds, strict=True)])
    assert nested < np.mean([reached("b", inside) for inside in folds]) - 0.01
