"""What is taken from an older study, and that it counts for nothing but the sampler."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from searches import searching

from models._registry import load_model
from search.command.settings import parse_launch
from search.training.jobs import EpochReport
from search.trials.launches import Presence
from search.trials.space import within
from search.trials.study_search import DOES_NOT_FIT, StudySearch
from search.trials.warm_start import start_from
from studies.ledger.invariants import broken
from studies.ledger.ledger import Ledger
from studies.records import StudySummary
from studies.storage.results import leader, ranking, summarise, taken_over

SPIKED, STEADY = (0.70, 0.95, 0.70), (0.80, 0.85, 0.86)
"""Curves: the first has the larger maximum, by one lucky epoch."""


@pytest.fixture
def presence(storage: RDBStorage) -> Presence:
    return Presence(Ledger(storage.engine), "idc")


@pytest.fixture
def older(storage: RDBStorage, presence: Presence, tmp_path: Path) -> StudySearch:
    """A study of cnn in the same database."""
    return searching(storage, presence, tmp_path / "older", wanted=20, name="old")


NO_ROOM = EpochReport(0, {}, float("nan"), failure="OutOfMemoryError: no", no_room=True)
LIMITED = replace(
    NO_ROOM, failure="0.8 ms a patch on 1 CPU thread, more than the 0.5 of --max-ms-per-patch: not trained"
)


def train(search: StudySearch, *curves: tuple[float, ...], state: str = "COMPLETE") -> None:
    for curve in curves:
        job = search.next_job()
        assert job is not None
        told = [search.report(job, EpochReport(n, {"auc": auc}, 0.1)) for n, auc in enumerate(curve, start=1)]
        if state == "PRUNED":
            told = [search.report(job, EpochReport(0, {}, 0.1, failure="OutOfTimeError: no", keeps_value=True))]
        assert told[-1] == state


def test_the_foremost_are_ranked_by_their_last_epochs_and_pruned_ones_follow(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    train(older, SPIKED, STEADY)
    train(older, (0.9,), (0.7, 0.7), (0.7, 0.8), (0.2,), (0.1,), state="PRUNED")
    study = searching(storage, presence, tmp_path).study
    told = start_from(study, load_model("cnn"), older.study, same_patches=True)
    first = [trial for trial in study.trials if trial.user_attrs["origin"] == "warm start"]
    old = older.study.trials
    assert [trial.system_attrs["fixed_params"] for trial in first] == [old[number].params for number in (1, 0, 4, 3, 2)]
    assert all(trial.state == TrialState.WAITING for trial in first)
    assert told == (
        "warm start from old-cnn: first the configurations of its trials 1, 0, 4, 3, 2; the sampler learns of 7 trials"
    )


def test_trials_are_taken_over_once_and_count_for_nothing_but_the_sampler(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    train(older, SPIKED, STEADY)
    train(older, (0.6,), state="PRUNED")
    search = searching(storage, presence, tmp_path, wanted=2)
    for _ in range(2):  # as a launch that goes on
        start_from(search.study, load_model("cnn"), older.study, same_patches=True)
    taken = [trial for trial in search.study.trials if trial.user_attrs["origin"] == "taken over"]
    assert [(trial.state.name, trial.value) for trial in taken] == [
        ("COMPLETE", 0.70), ("COMPLETE", 0.86), ("PRUNED", 0.6),
    ]  # fmt: skip
    assert [trial.user_attrs["from"] for trial in taken] == ["old-cnn 0", "old-cnn 1", "old-cnn 2"]
    assert search.counts().finished == 0
    assert leader("idc-cnn", search.study.trials) is None
    train(search, (0.5, 0.5, 0.5), (0.4, 0.4, 0.4))
    assert search.next_job() is None
    study = summarise(search.study)
    assert ranking(study.trials)[0].value == 0.5
    assert study.best == ranking(study.trials)[0].number
    assert {trial.attributes["origin"] for trial in study.trials} == {"warm start"}
    assert taken_over(study) == "3 taken over by --warm-start, of which only the sampler learns"
    assert broken(storage, lambda _launch: True, "idc") == []


def test_the_sampler_learns_of_them(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    """Twenty trials are twice what TPE draws at random before it learns."""
    for _ in range(20):
        job = older.next_job()
        assert job is not None
        auc = 0.9 if job.params["width"] == 16 else 0.5
        for epoch in (1, 2, 3):
            older.report(job, EpochReport(epoch, {"auc": auc}, 0.1))
    search = searching(storage, presence, tmp_path, wanted=20, sampler="tpe")
    start_from(search.study, load_model("cnn"), older.study, same_patches=True)
    widths = []
    for _ in range(15):
        job = search.next_job()
        assert job is not None
        widths.append(job.params["width"])
        search.report(job, EpochReport(0, {}, 0.1, failure="ValueError: no"))
    assert widths[5:].count(16) >= 6  # the first five are enqueued; at random a quarter


def test_values_of_other_patches_or_another_objective_are_not_learned_from(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    train(older, STEADY)
    study = searching(storage, presence, tmp_path).study
    told = start_from(study, load_model("cnn"), older.study, same_patches=False)
    assert told.endswith("values are not comparable with those of this search, so the sampler learns nothing of them")
    assert [trial.user_attrs["origin"] for trial in study.trials] == ["warm start"]
    definition = older.study.user_attrs["definition"]
    of_before = {name: value for name, value in definition.items() if name != "measure"}
    for other in ({**definition, "objective": "balanced_accuracy"}, of_before):
        older.study.set_user_attr("definition", other)
        again = optuna.load_study(study_name="old-cnn", storage=storage)
        assert "not comparable" in start_from(study, load_model("cnn"), again, same_patches=True)


def test_what_did_not_fit_is_known_of_other_patches_as_well_but_not_its_values(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    train(older, STEADY)
    end(older, NO_ROOM, 0.95, 0.96)
    end(older, LIMITED)
    study = searching(storage, presence, tmp_path).study
    for _ in range(2):
        told = start_from(study, load_model("cnn"), older.study, same_patches=False)
    assert told.endswith("the sampler learns nothing of them, only that 1 trial could not be trained")
    taken = [trial for trial in study.trials if trial.user_attrs["origin"] == "taken over"]
    assert [(trial.state.name, trial.value, trial.intermediate_values, trial.constraints) for trial in taken] == [
        ("PRUNED", None, {}, {DOES_NOT_FIT: 1.0})
    ]
    assert taken[0].params == older.study.trials[1].params
    assert broken(storage, lambda _launch: True, "idc") == []


def test_that_there_is_nothing_to_try_is_said(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    model = load_model("cnn")
    older.study.enqueue_trial(dict(model.default))
    train(older, STEADY)
    study = searching(storage, presence, tmp_path).study
    told = start_from(study, model, older.study, same_patches=True)
    assert "no configuration beside the default has a value there that lies in this space" in told
    assert told.endswith("; the sampler learns of 1 trial")


def test_what_lies_outside_of_the_space_is_left_out_and_counted(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    for params in ({"depth": 1}, {"depth": 2, "stain_jitter": -0.04}, {"depth": 3}):
        older.study.enqueue_trial(params)
    train(older, STEADY, STEADY, SPIKED)
    extents = parse_launch(["--model", "cnn", "--data", "x", "--set", "depth=2..3,stain_jitter=0..0.1"], {}).space
    model = within(load_model("cnn"), extents)
    study = optuna.create_study(study_name="new", storage=storage, direction="maximize")
    study.set_user_attr("definition", older.study.user_attrs["definition"])
    told = start_from(study, model, older.study, same_patches=True)
    inside = [trial for trial in older.study.trials[1:] if trial.params["stain_jitter"] <= 0.1]
    assert f"; left out, as outside of this space: {3 - len(inside)} trial" in told
    assert f"the sampler learns of {len(inside)} trial" in told
    taken = [trial for trial in study.trials if trial.user_attrs["origin"] == "taken over"]
    assert taken[0].params["stain_jitter"] == 0.0  # none, which is -0.04 in the whole space
    assert all(trial.params["depth"] in (2, 3) for trial in taken)


def end(search: StudySearch, report: EpochReport, *curve: float) -> None:
    """The next trial, with the values before its end."""
    job = search.next_job()
    assert job is not None
    for epoch, auc in enumerate(curve, start=1):
        search.report(job, EpochReport(epoch, {"auc": auc}, 0.1))
    assert search.report(job, report) == "PRUNED"


def test_what_did_not_fit_is_never_tried_first_and_is_known_to_the_sampler_as_that(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch
) -> None:
    train(older, STEADY)
    end(older, NO_ROOM, 0.95, 0.96)
    end(older, NO_ROOM)
    end(older, LIMITED)
    end(older, LIMITED, 0.99)  # begun with before there was a limit
    study = searching(storage, presence, tmp_path).study
    for _ in range(2):
        told = start_from(study, load_model("cnn"), older.study, same_patches=True)
    assert told.endswith("first the configurations of its trials 0; the sampler learns of 3 trials")
    taken = [trial for trial in study.trials if trial.user_attrs["origin"] == "taken over"]
    assert [(trial.state.name, trial.value, trial.constraints) for trial in taken] == [
        ("COMPLETE", 0.86, {}), ("PRUNED", 0.96, {DOES_NOT_FIT: 1.0}), ("PRUNED", None, {DOES_NOT_FIT: 1.0}),
    ]  # fmt: skip
    assert taken[2].params == older.study.trials[2].params
    assert broken(storage, lambda _launch: True, "idc") == []


def test_what_does_not_fit_while_the_older_study_is_read_is_never_tried_first_either(
    storage: RDBStorage, presence: Presence, tmp_path: Path, older: StudySearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(older, STEADY)

    def meanwhile(study: optuna.Study, **how: Any) -> StudySummary:
        end(older, NO_ROOM, 0.95, 0.96)
        return summarise(study, **how)

    monkeypatch.setattr("search.trials.warm_start.summarise", meanwhile)
    study = searching(storage, presence, tmp_path).study
    told = start_from(study, load_model("cnn"), older.study, same_patches=True)
    assert told.endswith("first the configurations of its trials 0; the sampler learns of 2 trials")
    assert [trial.constraints for trial in study.trials if trial.value == 0.96] == [{DOES_NOT_FIT: 1.0}]
