"""Which members are trained first, and what is concluded from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from search.final.candidates import Candidate, are_planned, candidates, in_turn, planned_finalists
from search.final.member_files import member_folder
from search.final.plan import decides_the_same, digest_of, frozen
from search.final.race import Rows
from search.final.retraining import Members, Retrained, conclude
from studies.final_models import CandidateResult, FinalModel, Fit, MemberResult
from studies.records import AnalysisPlan, StudySummary, TrialResult, to_json
from studies.statistics.metrics import balanced_accuracy


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
    order = [(one.model, one.label) for one, fold in in_turn(wanted, 3, racing=False) if fold == 0]
    assert order == [("vgg16", "default"), ("vgg16", "best"), ("cnn", "default"), ("cnn", "best")]
    members = Members(wanted, folds=3, folder=tmp_path, lock_digest="a" * 64, check=lambda: None)
    jobs = [job for job in iter(members.next_job, None) if job is not None]
    folds = [(fold, model, label) for model, label in order for fold in range(3)]
    assert [(job.fold, job.model) for job in jobs] == [(fold, model) for fold, model, _ in folds]
    assert jobs[-1].label == "cnn best, fold 3 of 3"
    assert len({job.seed for job in jobs}) == len(jobs)


def test_in_a_race_all_go_through_a_fold_before_the_next_and_the_default_ones_first(both: list[StudySummary]) -> None:
    wanted = [candidate for one in both for candidate in candidates(one, 1)]
    order = [(fold, one.model, one.label) for one, fold in in_turn(wanted, 2, racing=True)]
    first = [("vgg16", "default"), ("cnn", "default"), ("vgg16", "best"), ("cnn", "best")]
    assert order == [(fold, *member) for fold in (0, 1) for member in first]


def test_the_number_of_finalists_follows_from_the_configurations_of_a_plan() -> None:
    trials = [trial(number, "COMPLETE", value, 2.0, 4) for number, value in enumerate((0.8, 0.9, 0.7, 0.6))]
    searched = study("cnn", *trials)

    def plan(numbers: tuple[int, ...]) -> AnalysisPlan:
        made = tuple(CandidateResult(f"{number}", number, {}, 0.9, 4, (), 0.9, 0.9) for number in numbers)
        model = FinalModel("cnn", made, f"{numbers[0]}", 1.0, 0.5, "", "random")
        return AnalysisPlan("idc", "f", "l", (model,), (), "p", ("p",), 100, 0, {})

    found = [planned_finalists(plan(numbers), [searched]) for numbers in ((1, 0), (1, 0, 2), (1, 0, 2, 3), (1, 2))]
    assert found == [1, 3, 4, None], "with two, the default one is among the best as well"
    assert [are_planned(plan((1, 0)), [searched], number) for number in (1, 2, 3)] == [True, True, False]
    assert are_planned(plan((1, 0, 2, 3)), [searched], 100), "as typed for a study that has fewer"


def test_the_seed_of_a_member_does_not_depend_on_its_turn(both: list[StudySummary], tmp_path: Path) -> None:
    def seeds(order: list[StudySummary]) -> dict[str, int]:
        wanted = [candidate for one in order for candidate in candidates(one, 1)]
        members = Members(wanted, folds=3, folder=tmp_path, lock_digest="a" * 64, check=lambda: None)
        return {job.label: job.seed for job in iter(members.next_job, None) if job is not None}

    assert seeds(both) == seeds(both[::-1])


# --- what is concluded ----------------------------------------------------------------------------------------------

LABELS = np.tile([0, 0, 1], 80)
PATIENTS = np.repeat(np.arange(24), 10).astype(str)


def stored(candidate: Candidate, folder: Path, logits: np.ndarray) -> Candidate:
    """Its three members as workers leave them; each scores every third row."""
    place = member_folder(folder, candidate)
    place.mkdir(parents=True)
    for fold in range(3):
        rows = np.arange(fold, len(logits), 3)
        np.savez(place / f"member_{fold}.npz", rows=rows, logits=np.repeat(logits[rows, None], 8, axis=1))
        (place / f"member_{fold}.safetensors").touch()
        (place / f"member_{fold}.json").write_text(to_json(MemberResult(fold, fold, 2, 1.0, 0.9, f"{fold}" * 64)))
    return candidate


@pytest.fixture
def concluded(both: list[StudySummary], tmp_path: Path) -> Retrained:
    """The default configuration scores on another scale and level than the best one."""
    rng = np.random.default_rng(2)
    signal = 3 * (2 * LABELS - 1) + rng.normal(0, 2.5, len(LABELS))
    scores = {"best": signal, "default": 4 * (signal + rng.normal(0, 1.5, len(LABELS))) + 9}
    wanted = [stored(one, tmp_path, scores[one.label]) for one in candidates(both[0], 1)]
    rows = Rows(LABELS, PATIENTS, np.arange(len(LABELS)) % 3)
    return conclude(wanted, tmp_path, rows=rows, race=None, weights="random")


def test_each_configuration_is_judged_by_its_own_temperature_and_threshold(concluded: Retrained) -> None:
    final = concluded.final
    assert final.chosen == "best"
    assert (final.temperature, final.threshold) == (final.fit_of("best").temperature, final.fit_of("best").threshold)
    own = final.fit_of("default")
    assert own.temperature > 2 * final.temperature
    assert own.threshold > final.threshold + 0.2

    def reached(fit: Fit) -> float:
        return balanced_accuracy(LABELS, expit(concluded.logits["default"] / fit.temperature), fit.threshold)

    assert reached(own) == final.candidate("default").out_of_fold_balanced_accuracy
    assert reached(own) > reached(final.fit_of("best")) + 0.05, "as it was judged before"


def plan_of(retrained: Retrained) -> AnalysisPlan:
    return AnalysisPlan("idc", "f", "l", (retrained.final,), (), "p", ("p", "q"), 100, 0, {"planned": "a"})


def test_what_was_frozen_by_an_earlier_rule_stays_as_long_as_members_are_the_same(concluded: Retrained) -> None:
    before = replace(
        concluded.final,
        threshold=0.123,
        threshold_rule="by an earlier rule",
        candidates=tuple(replace(one, fit=None) for one in concluded.final.candidates),
    )
    old = replace(plan_of(concluded), models=(before,), statistics=("p",))
    assert frozen(concluded.final, old) == before
    assert before.fit_of("default").threshold == 0.123, "all shared one fit"
    now = replace(plan_of(concluded), models=(frozen(concluded.final, old),))
    assert decides_the_same(old, now)
    one = concluded.final.candidates[0]
    other = replace(one, members=(replace(one.members[0], sha256="e" * 64), *one.members[1:]))
    retrained = replace(concluded.final, candidates=(other, *concluded.final.candidates[1:]))
    assert frozen(retrained, old) == retrained
    assert not decides_the_same(old, replace(now, models=(retrained,)))


def test_another_margin_is_another_plan(concluded: Retrained) -> None:
    plan = plan_of(concluded)
    assert plan.margin is None
    assert not decides_the_same(plan, replace(plan, margin=0.02))
    assert digest_of(plan) != digest_of(replace(plan, margin=0.02))
