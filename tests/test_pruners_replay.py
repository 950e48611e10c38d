"""The replay of recorded curves through pruners."""

import pytest
from optuna.pruners import NopPruner, SuccessiveHalvingPruner, ThresholdPruner

from benchmarks.pruners import best_by_epoch, pruners, replay

CURVES = [[0.6, 0.7, 0.8], [0.5, 0.6, 0.95], [0.7, 0.8, 0.9]]


def test_without_pruning_every_epoch_is_trained_and_nothing_is_lost() -> None:
    found = replay(CURVES, NopPruner, orders=3)
    assert (found.trained, found.lost, found.worst) == (1.0, 0.0, 0.0)


def test_a_late_bloomer_that_is_pruned_is_a_loss() -> None:
    found = replay(CURVES, lambda: ThresholdPruner(lower=0.55), orders=3)
    assert found.trained == pytest.approx(7 / 9)
    assert found.lost == found.worst == pytest.approx(0.05)


def test_every_pruner_of_the_table_runs_and_leaves_a_whole_trial() -> None:
    curves = [[0.5 + 0.01 * number + 0.02 * epoch for epoch in range(12)] for number in range(8)]
    for name, make in pruners(12).items():
        found = replay(curves, make, orders=2)
        assert 0 < found.trained <= 1, name
        assert 0 <= found.lost < 0.1, name


def test_successive_halving_saves_epochs() -> None:
    curves = [[0.9 - 0.05 * number] * 9 for number in range(9)]
    assert replay(curves, lambda: SuccessiveHalvingPruner(1, 3), orders=2).trained < 0.5


def test_the_mean_of_the_best_so_far_never_falls() -> None:
    assert best_by_epoch([[0.5, 0.4, 0.6], [0.7, 0.8, 0.7]]) == pytest.approx([0.6, 0.65, 0.7])
