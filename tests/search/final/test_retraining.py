"""Which members are trained first."""

from pathlib import Path

import pytest

from search.final.retraining import Members, candidates, longest_first
from studies.records import StudySummary, TrialResult


def trial(number: int, state: str, value: float, seconds: float | None, epochs: int) -> TrialResult:
    told = {} if seconds is None else {"seconds": seconds, "epochs": epochs}
    attributes = {"best_epoch": epochs, **told}
    return TrialResult(number, state, value, {"width": number}, {}, None, None, attributes)


def study(model: str, *trials: TrialResult) -> StudySummary:
    return StudySummary(f"idc-{model}", model, {"epochs": 4}, {}, trials, 1, 0, None)


@pytest.fixture
def both() -> list[StudySummary]:
    """Trial 0 is the default one; that of cnn was pruned after an epoch of 2 s, that of vgg16 tells of no time."""
    cnn = study("cnn", trial(0, "PRUNED", 0.7, 2.0, 1), trial(1, "COMPLETE", 0.9, 6.0, 2))
    vgg16 = study("vgg16", trial(0, "COMPLETE", 0.8, None, 4), trial(1, "COMPLETE", 0.9, 40.0, 4))
    return [cnn, vgg16]


def test_a_member_is_expected_to_go_at_the_pace_of_its_trial(both: list[StudySummary]) -> None:
    found = {(one.model, one.label): one.seconds for one in candidates(both[0], 1) + candidates(both[1], 1)}
    assert found == {
        ("cnn", "best"): 6.0,
        ("cnn", "default"): 8.0,  # to the end of its schedule
        ("vgg16", "best"): 40.0,
        ("vgg16", "default"): None,
    }


def test_long_members_are_handed_out_first_and_unknown_ones_before_them(
    both: list[StudySummary], tmp_path: Path
) -> None:
    wanted = [candidate for one in both for candidate in candidates(one, 1)]
    order = [(one.model, one.label) for one in longest_first(wanted)]
    assert order == [("vgg16", "default"), ("vgg16", "best"), ("cnn", "default"), ("cnn", "best")]
    members = Members(wanted, folds=3, folder=tmp_path, lock_digest="a" * 64, check=lambda: None)
    jobs = [job for job in iter(members.next_job, None) if job is not None]
    folds = [(fold, model, label) for model, label in order for fold in range(3)]
    assert [(job.fold, job.model) for job in jobs] == [(fold, model) for fold, model, _ in folds]
    assert jobs[-1].label == "cnn best, fold 3 of 3"
    assert len({job.seed for job in jobs}) == len(jobs)


def test_the_seed_of_a_member_does_not_depend_on_its_turn(both: list[StudySummary], tmp_path: Path) -> None:
    def seeds(order: list[StudySummary]) -> dict[str, int]:
        wanted = [candidate for one in order for candidate in candidates(one, 1)]
        members = Members(wanted, folds=3, folder=tmp_path, lock_digest="a" * 64, check=lambda: None)
        return {job.label: job.seed for job in iter(members.next_job, None) if job is not None}

    assert seeds(both) == seeds(both[::-1])
