"""Studies without a best trial: why, and how they come to one."""

import pytest

from studies.errors import NoCompleteTrialError
from studies.records import BEST_EPOCH, StudySummary, TrialResult
from studies.storage.results import best_trial, failures, way_out

LAUNCH = "python -m search.launch --model cnn --study 'my s'"


def study(states: str, wanted: int, command: str = LAUNCH) -> StudySummary:
    """A study whose trials have these states, by a letter each, which is the reason of those that failed."""
    names = {"f": "FAIL", "g": "FAIL", "p": "PRUNED", "w": "WAITING"}
    trials = tuple(
        TrialResult(number, names[state], None, {}, (), None, None, {"failure": f"reason {state}", BEST_EPOCH: 1})
        for number, state in enumerate(states)
    )
    settings = {"trials": wanted, "command": command}
    return StudySummary("s-cnn", "cnn", {}, {}, trials, None, None, None, settings)


def test_failures_are_grouped_by_reason_with_their_trials() -> None:
    assert failures(study("gfffgpwf", 8).trials) == ["4 x reason f (trials 1-3, 7)", "2 x reason g (trials 0, 4)"]
    assert failures(study("g", 1).trials) == ["1 x reason g (trial 0)"]
    assert failures(()) == []


@pytest.mark.parametrize(
    ("states", "wanted", "command", "expected"),
    [
        ("", 3, LAUNCH, f"Search on with: {LAUNCH}"),
        ("ffw", 3, LAUNCH, f"Search on with: {LAUNCH}"),
        ("fff", 3, f"{LAUNCH} --trials 3", f"Mend this, then try 3 more: {LAUNCH} --trials 6"),
        ("fff", 2, f"{LAUNCH} --trials 2 --epochs 4", f"Mend this, then try 3 more: {LAUNCH} --epochs 4 --trials 6"),
        ("ff", 2, LAUNCH, f"Mend this, then try 2 more: {LAUNCH} --trials 4"),
    ],
)
def test_the_way_out_is_the_same_command_while_trials_are_left_and_more_of_them_then(
    states: str, wanted: int, command: str, expected: str
) -> None:
    assert way_out(study(states, wanted, command)) == expected


def test_no_best_trial_says_why_and_the_way_out() -> None:
    with pytest.raises(NoCompleteTrialError) as refused:
        best_trial(study("ffp", 3))
    assert str(refused.value) == (
        "no trial of study s-cnn is COMPLETE (2 FAIL, 1 PRUNED): 2 x reason f (trials 0-1). "
        f"Mend this, then try 3 more: {LAUNCH} --trials 6"
    )
