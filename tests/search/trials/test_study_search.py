"""What the driver writes down, without Ray: reports in, rows in the database out."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import optuna
import pytest
from optuna.distributions import json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from searches import searching
from sqlalchemy import event
from stored import id_of

from models._registry import load_model
from search.comparison import space_of
from search.training.jobs import EpochReport, Job
from search.training.seeds import derive_seed
from search.trials.enqueue import enqueue_first
from search.trials.ignored import ignored
from search.trials.launches import Presence
from search.trials.study_search import LOST, RUNNING, StudySearch
from studies.ledger.ledger import Ledger
from studies.measure import BEFORE, NOW, Measure
from studies.storage.attributes import at_once, set_attributes
from studies.storage.results import leader, ranking, summarise
from studies.storage.studies import make_sampler


def report(epoch: int, value: float = 0.5, failure: str | None = None) -> EpochReport:
    return EpochReport(epoch, {"auc": value}, 0.1, {"seconds": 1.0, "worker": "w"}, failure)


def job_of(search: StudySearch) -> Job:
    job = search.next_job()
    assert job is not None
    return job


@pytest.fixture
def presence(storage: RDBStorage) -> Presence:
    return Presence(Ledger(storage.engine), "idc")


def trials(storage: RDBStorage) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="idc-cnn", storage=storage).trials


@pytest.mark.parametrize(("measure", "epoch", "value"), [(NOW, 3, 0.7), (BEFORE, 2, 0.8)])
def test_a_trial_s_value_is_its_last_epoch_s_and_its_best_one_s_in_studies_of_before(
    storage: RDBStorage, presence: Presence, tmp_path: Path, measure: Measure, epoch: int, value: float
) -> None:
    search = searching(storage, presence, tmp_path, measure=measure)
    job = job_of(search)
    states = [search.report(job, report(epoch, value)) for epoch, value in ((1, 0.6), (2, 0.8), (3, 0.7))]
    assert states == [RUNNING, RUNNING, "COMPLETE"]
    (trial,) = trials(storage)
    assert trial.value == value
    assert trial.user_attrs["best_epoch"] == epoch
    assert job.measure == measure
    assert trial.user_attrs["epochs"] == 3
    assert trial.user_attrs["seed"] == job.seed
    assert trial.intermediate_values == {1: 0.6, 2: 0.8, 3: 0.7}


def test_exactly_the_wanted_number_is_handed_out(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path, wanted=2)
    jobs = [job_of(search), job_of(search)]
    assert search.next_job() is None
    assert jobs[0].params != jobs[1].params
    assert jobs[0].seed != jobs[1].seed


def test_a_released_trial_is_handed_out_again_with_its_seed_and_no_step_is_stored_twice(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    first = searching(storage, presence, tmp_path)
    job = job_of(first)
    first.report(job, report(1, 0.6))
    first.report(job, report(2, 0.7))
    first.release()
    assert [trial.state for trial in trials(storage)] == [TrialState.WAITING]
    again = job_of(searching(storage, presence, tmp_path, seed=2))  # as its checkpoint was trained with it
    assert (again.number, again.params, again.seed, again.reported) == (job.number, job.params, job.seed, 2)


def test_a_replayed_step_is_not_reported_again_but_a_finished_trial_is_told(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    first = searching(storage, presence, tmp_path)
    job = job_of(first)
    for epoch in (1, 2, 3):
        first._hand.held[job.number].trial.report(0.6, epoch)  # the driver dies before it tells the end
    first.release()
    second = searching(storage, presence, tmp_path)
    again = job_of(second)
    assert again.reported == 3
    assert second.report(again, report(3, 0.6)) == "COMPLETE"


def test_an_epoch_that_is_told_again_is_not_judged_again(
    storage: RDBStorage, presence: Presence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = searching(storage, presence, tmp_path, pruner="median")
    job = job_of(search)
    for epoch in (1, 2):
        assert search.report(job, report(epoch)) == RUNNING
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda _trial: True)
    assert search.report(job, report(1)) == RUNNING  # its worker died and began again
    assert search.report(job, report(2)) == "PRUNED"
    assert trials(storage)[0].user_attrs["epochs"] == 2


def test_a_trial_that_ends_as_it_is_taken_back_keeps_its_end(
    storage: RDBStorage, presence: Presence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = searching(storage, presence, tmp_path)
    job = job_of(search)
    stale = storage.get_trial(id_of(storage, job.number))
    optuna.load_study(study_name="idc-cnn", storage=storage).tell(job.number, 0.5)
    monkeypatch.setattr(storage, "get_trial", lambda _trial_id: stale)  # read a moment before
    search.release()
    assert [trial.state for trial in trials(storage)] == [TrialState.COMPLETE]


def test_trials_of_a_dead_launch_are_taken_over_and_its_late_result_is_dropped(
    storage: RDBStorage, presence: Presence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = searching(storage, presence, tmp_path, wanted=1)
    job = job_of(slow)
    other = Presence(Ledger(storage.engine), "idc")
    taking = searching(storage, other, tmp_path, wanted=1)
    assert taking.next_job() is None  # the owner is alive: this very process
    monkeypatch.setattr("search.trials.launches.is_alive", lambda _launch: False)
    again = job_of(taking)
    assert again.number == job.number
    monkeypatch.setattr(presence, "_beaten", (0.0, 0.0))  # it stood still, else nobody could have taken over
    assert slow.report(job, report(1)) == LOST
    assert trials(storage)[0].intermediate_values == {}
    assert [taking.report(again, report(epoch)) for epoch in (1, 2, 3)][-1] == "COMPLETE"


def test_a_trial_ended_by_hand_is_dropped(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path)
    job = job_of(search)
    optuna.load_study(study_name="idc-cnn", storage=storage).tell(job.number, state=TrialState.FAIL)
    assert search.report(job, report(1)) == LOST
    assert trials(storage)[0].state == TrialState.FAIL


def test_a_failure_keeps_its_reason(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path)
    assert search.report(job_of(search), report(0, failure="ValueError: no")) == "FAIL"
    assert trials(storage)[0].user_attrs["failure"] == "ValueError: no"


@pytest.mark.parametrize(
    "reason", ["OutOfTimeError: it took longer", "TrainingDivergedError: The loss of epoch 3 is nan"]
)
def test_a_trial_that_cannot_go_on_is_pruned_with_what_it_reached(
    storage: RDBStorage, presence: Presence, tmp_path: Path, reason: str
) -> None:
    search = searching(storage, presence, tmp_path, epochs=5)
    job = job_of(search)
    for epoch, value in ((1, 0.7), (2, 0.6)):
        search.report(job, report(epoch, value))
    assert search.report(job, replace(report(0, failure=reason), scores={}, keeps_value=True)) == "PRUNED"
    (trial,) = trials(storage)
    assert (trial.value, trial.user_attrs["epochs"], trial.user_attrs["best_epoch"]) == (0.6, 2, 2)
    assert trial.user_attrs["cut_short"] == reason
    assert "failure" not in trial.user_attrs
    assert search.failures() == {}


def test_one_that_has_no_value_fails(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path)
    late = replace(report(0, failure="OutOfTimeError: it took longer"), scores={}, keeps_value=True)
    assert search.report(job_of(search), late) == "FAIL"


def test_failures_of_a_study_are_told_until_one_of_its_trials_goes_well(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path)
    for _ in range(2):
        search.report(job_of(search), report(0, failure="ValueError: no"))
    again = searching(storage, presence, tmp_path)  # of another launch
    job = job_of(again)
    assert again.failures() == {0: "ValueError: no", 1: "ValueError: no"}
    again.report(job, report(3))
    assert again.failures() == {}


def test_a_trial_that_was_cut_off_before_it_had_parameters_is_no_twin_of_the_next(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    cut_off = searching(storage, presence, tmp_path)
    cut_off.study.ask()  # the driver dies between this and the parameters
    cut_off._hand.reclaim()
    search = searching(storage, presence, tmp_path)
    first, second = job_of(search), job_of(search)
    assert (first.number, second.number) == (0, 1)
    assert first.params != second.params


def test_a_weak_trial_is_pruned_with_its_steps_kept(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path, wanted=4, pruner="sha")
    for value in (0.9, 0.8, 0.7):
        job = job_of(search)
        state = search.report(job, report(1, value))
        if state == "PRUNED":
            break
    assert state == "PRUNED"
    assert trials(storage)[job.number].intermediate_values == {1: value}
    assert trials(storage)[job.number].user_attrs["best_epoch"] == 1


def test_a_trial_s_cost_parts_its_worker_s_time_into_work_and_waiting(
    storage: RDBStorage, presence: Presence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("search.trials.in_hand.time.monotonic", lambda: now[0])
    search = searching(storage, presence, tmp_path)
    job = job_of(search)
    now[0] += 10.0
    spent = {"training": 6.0, "evaluation": 1.5, "saved": 4.0}
    last = replace(report(3), attributes={"seconds": 7.5, "cost": spent}, seconds_before=2.0)
    assert search.report(job, last) == "COMPLETE"
    (trial,) = trials(storage)
    assert trial.user_attrs["cost"] == {**spent, "waiting": 4.5}  # 10 s, of which 5.5 s of work fell into this process


def test_a_launch_that_missed_beats_looks_up_whom_its_trials_belong_to(
    storage: RDBStorage, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("search.trials.launches._clocks", lambda: (now[0], now[0]))
    monkeypatch.setattr(presence, "_beaten", (1000.0, 1000.0))
    now[0] += 19
    assert presence.unbroken()
    now[0] += 2
    assert not presence.unbroken()
    monkeypatch.setattr(presence, "_beaten", (now[0], now[0]))
    assert not presence.unbroken()  # what was lost in the gap stays lost


def test_attributes_are_written_at_once_and_read_back_through_optuna(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path)
    job = job_of(search)
    trial_id = id_of(storage, job.number)
    set_attributes(storage, trial_id, {"a": 1.5, "b": {"c": [1, "x"]}, "d": None})
    set_attributes(storage, trial_id, {"a": True})
    (trial,) = trials(storage)
    assert {name: trial.user_attrs[name] for name in "abd"} == {"a": True, "b": {"c": [1, "x"]}, "d": None}
    optuna.load_study(study_name="idc-cnn", storage=storage).tell(job.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        set_attributes(storage, trial_id, {"a": 2})


def test_parameters_are_written_at_once_and_are_the_ones_that_optuna_alone_would_write(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path)
    alone = optuna.create_study(sampler=make_sampler("random", derive_seed(1, 0)))
    ours = search.next_job()
    assert ours is not None
    trial = alone.ask()
    search.model.suggest(trial)
    (stored,) = trials(storage)
    assert stored.params == trial.params == ours.params
    assert stored.distributions == trial.distributions


def test_parameters_of_a_trial_that_was_ended_by_hand_are_not_written(storage: RDBStorage) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError), at_once(storage, id_of(storage, trial.number, study.study_name)):
        trial.suggest_float("rate", 0, 1)
    assert study.trials[0].params == {}


def test_an_epoch_is_written_with_its_rung_and_a_trial_s_end_with_its_description_or_not_at_all(
    storage: RDBStorage, presence: Presence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = searching(storage, presence, tmp_path, pruner="sha")
    job = job_of(search)
    commits: list[int] = []
    event.listen(storage.engine, "commit", lambda _connection: commits.append(1))
    assert search.report(job, report(1, 0.6)) == RUNNING
    assert len(commits) == 1
    (trial,) = trials(storage)
    assert trial.intermediate_values == {1: 0.6}
    assert trial.system_attrs["completed_rung_0"] == 0.6
    assert search.report(job, report(2, 0.7)) == RUNNING
    monkeypatch.setattr(storage, "set_trial_state_values", lambda *_: 1 / 0)  # the last thing that is set
    with pytest.raises(ZeroDivisionError):
        search.report(job, report(3, 0.8))
    (trial,) = trials(storage)
    assert (trial.state, trial.value, trial.user_attrs) == (
        TrialState.RUNNING,
        None,
        {"seed": job.seed, "ignored": ANY, "worker": "w"},
    )
    assert trial.intermediate_values == {1: 0.6, 2: 0.7}


def test_the_end_of_a_trial_that_was_ended_by_hand_in_the_same_moment_is_dropped_whole(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path)
    job = job_of(search)
    search.report(job, report(1, 0.6))
    optuna.load_study(study_name="idc-cnn", storage=storage).tell(job.number, state=TrialState.FAIL)
    assert search.worker_lost(job, report(0, failure="it died")) == LOST
    (trial,) = trials(storage)
    assert (trial.state, trial.user_attrs) == (TrialState.FAIL, {"seed": job.seed, "ignored": ANY, "worker": "w"})


def test_the_leader_is_the_first_of_the_ranking(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path)
    name = search.study.study_name
    assert leader(name, search.study.get_trials()) is None
    for value in (0.6, 0.8, 0.8):
        job = job_of(search)
        search.report(job, report(3, value))
    first = leader(name, search.study.get_trials())
    assert first is not None
    assert first.number == ranking(summarise(search.study).trials)[0].number == 1


def test_what_a_trial_drew_without_effect_is_noted(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path, wanted=12)
    seen = set()
    for _ in range(12):
        job = job_of(search)
        other = {"adamw": "sgd", "sgd": "adamw"}[str(job.params["optimizer"])]
        expected = {f"{other}_learning_rate"} | ({"residual"} if job.params["depth"] == 1 else set())
        assert set(trials(storage)[job.number].user_attrs["ignored"]) == expected
        seen |= expected
    assert seen == {"adamw_learning_rate", "sgd_learning_rate", "residual"}


@pytest.mark.parametrize(("frozen", "expected"), [(4, []), (5, ["backbone_learning_rate"])])
def test_the_backbone_s_rate_counts_only_where_a_block_learns(frozen: int, expected: list[str]) -> None:
    model = load_model("vgg16")
    space = {name: json_to_distribution(text) for name, text in space_of(model).items()}
    assert ignored(model, {**model.default, "frozen_blocks": frozen}, space) == expected


def test_a_configuration_is_enqueued_once_however_its_numbers_are_written(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    study = searching(storage, presence, tmp_path).study
    model = load_model("cnn")
    file = tmp_path / "first.json"
    again = {**model.default, "label_smoothing": 0, "class_weighting": 0, "residual": 0.0, "depth": 2.0}
    file.write_text(json.dumps([again, {"dropout": 0}, {"dropout": 0.0}]))
    enqueue_first(study, model, file)
    assert [trial.system_attrs["fixed_params"] for trial in study.trials] == [dict(model.default), {"dropout": 0.0}]
