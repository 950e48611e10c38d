"""What a search teaches for the next one, on trials whose answer is known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from studies.findings.lessons import edges_of, lessons, rung_of
from studies.records import StudySummary, TrialResult

SPACE: dict[str, dict[str, Any]] = {
    "rate": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "dropout": {"kind": "float", "low": 0.0, "high": 0.5, "log": False},
    "depth": {"kind": "integer", "low": 1, "high": 3, "log": False},
    "activation": {"kind": "choices", "choices": ["relu", "gelu"]},
}


def study(trials: Sequence[TrialResult], pruner: str = "sha") -> StudySummary:
    return StudySummary("s-cnn", "cnn", {"epochs": 12, "pruner": pruner}, SPACE, tuple(trials), 0, 0, None)


def trial(number: int, at_rung: float, in_the_end: float, *, ignored: Sequence[str] = (), **params: Any) -> TrialResult:
    curve = ((3, at_rung), (12, in_the_end))
    drawn: dict[str, Any] = {"rate": 1e-3, "dropout": 0.2, "depth": 2, "activation": "relu"} | params
    attributes = {"best_epoch": 12, "ignored": list(ignored)}
    return TrialResult(number, "COMPLETE", in_the_end, drawn, curve, None, None, attributes)


def values(count: int, noise: float) -> list[TrialResult]:
    rng = np.random.default_rng(0)
    ends = 0.9 + 0.01 * np.arange(count)
    return [trial(n, float(end + noise * rng.normal()), float(end)) for n, end in enumerate(ends)]


@pytest.mark.parametrize(
    ("count", "noise", "said"),
    [
        (30, 0.0, "the rung can be trusted"),
        (200, 9.0, "the rung knew little of the end. Search with --pruner none, or with more --epochs"),
        (9, 0.06, "too few trials to tell whether the rung can be trusted"),
    ],
)
def test_a_rung_is_judged_by_the_trials_that_came_to_their_end(count: int, noise: float, said: str) -> None:
    rung = rung_of(study(values(count, noise)))
    assert rung is not None
    assert (rung.epoch, rung.trials) == (3, count)
    assert rung.low <= rung.correlation <= rung.high
    assert rung.words.endswith(said)


def test_nothing_is_said_of_a_rung_that_few_trials_passed_or_that_there_was_none_of() -> None:
    assert rung_of(study(values(7, 0.0))) is None
    assert rung_of(study(values(30, 0.0), pruner="median")) is None
    assert rung_of(study([trial(n, 0.9, 0.9) for n in range(20)])) is None


def test_an_end_of_the_space_where_the_best_lie_is_named() -> None:
    best = [trial(n, 0.9, 0.95 - 0.001 * n, rate=9.9e-3, dropout=0.0, depth=3) for n in range(4)]
    found = edges_of(study([*best, trial(4, 0.9, 0.9)]))
    assert [(edge.parameter, edge.upper, edge.bound, edge.leaders) for edge in found] == [("rate", True, 1e-2, 4)]
    assert lessons(None, found) == (
        "rate: the best trial, and 4 of the 5 best, lie at the upper end of its range (0.01): beyond it may be better "
        "ones, so widen it",
    )


def test_what_to_type_to_go_on_beyond_it_is_said_where_the_launch_has_told() -> None:
    searched = study([trial(n, 0.9, 0.95, rate=9.9e-3) for n in range(5)])
    told = {"rate": {"lower": "", "upper": "--set cnn.rate=0.0001..1.0"}}
    (edge,) = edges_of(replace(searched, settings={"ways_on": told}))
    assert edge.words.endswith("so widen it: --study NEW --warm-start s --set cnn.rate=0.0001..1.0")
    (edge,) = edges_of(replace(searched, settings={"ways_on": {"rate": {"lower": "", "upper": ""}}}))
    assert edge.words.endswith("beyond it may be better ones, but its model allows no more")


def test_the_lower_end_of_a_logarithmic_range_is_no_natural_one() -> None:
    found = edges_of(study([trial(n, 0.9, 0.95, rate=1.05e-4) for n in range(5)]))
    assert [(edge.parameter, edge.upper) for edge in found] == [("rate", False)]


def test_an_end_is_not_named_for_a_parameter_that_made_no_difference_or_for_one_trial_alone() -> None:
    assert edges_of(study([trial(n, 0.9, 0.95, rate=9.9e-3, ignored=("rate",)) for n in range(5)])) == ()
    assert edges_of(study([trial(0, 0.9, 0.99, rate=9.9e-3), *(trial(n, 0.9, 0.9) for n in range(1, 5))])) == ()
    assert edges_of(study([trial(n, 0.9, 0.95, rate=9.9e-3) for n in range(4)])) == ()
