"""What a search has cost."""

from studies.findings.costs import cost_of
from studies.records import BEST_EPOCH, StudySummary, TrialResult


def trial(number: int, state: str, **attributes: object) -> TrialResult:
    """One that a launch has trained, as far as it came."""
    trained = {BEST_EPOCH: 1} if state in ("COMPLETE", "PRUNED") else {}
    return TrialResult(number, state, None, {}, (), None, None, trained | attributes)


def study(*trials: TrialResult) -> StudySummary:
    return StudySummary("idc-cnn", "cnn", {"epochs": 12}, {}, trials, None, None, None)


def test_a_study_costs_what_its_trials_took_and_tells_what_they_were_spared() -> None:
    cost = cost_of(
        study(
            trial(0, "COMPLETE", seconds=24.0, epochs=12, cost={"saved": 3.0, "waiting": 5.0}),
            trial(1, "PRUNED", seconds=8.0, epochs=4, cost={"saved": 1.0, "waiting": 1.0}),
            trial(2, "FAIL", seconds=2.0, epochs=0, cost={"saved": 0.0, "waiting": 0.0}),
            trial(3, "RUNNING"),
            trial(4, "COMPLETE", seconds=6.0, epochs=12),  # of a version without a ledger of cost
        )
    )
    assert cost.used == 40.0
    assert cost.saved_by_pruning == 16.0  # 8 of 12 epochs, at 2 s each
    assert cost.saved_by_cache == 4.0
    assert cost.waiting == 6.0


def test_trials_that_wait_or_came_from_elsewhere_cost_nothing_here() -> None:
    """Who enqueues or adds a trial again brings its attributes along."""
    waiting = trial(0, "WAITING", seconds=24.0, epochs=12)
    added = TrialResult(1, "COMPLETE", 0.5, {}, (), None, None, {"seconds": 24.0, "epochs": 12})
    assert cost_of(study(waiting, added)).used == 0


def test_a_study_without_trials_costs_nothing() -> None:
    cost = cost_of(study())
    assert (cost.used, cost.waiting) == (0, 0)
