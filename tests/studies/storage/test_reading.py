"""What is read of a study again and again: no more than may have changed, and all that has."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event
from stored import id_of, own_study

from models._registry import load_model
from studies.storage._draft import Draft
from studies.storage.attributes import at_once
from studies.storage.studies import open_storage

HELD = 6
PARTS = 5  # tables beside that of trials


@pytest.fixture
def study(storage: RDBStorage) -> optuna.Study:
    """With trials that this process has in hand, all read once since they were written."""
    made = own_study(storage)
    for trial in [made.ask() for _ in range(HELD)]:
        with at_once(storage, id_of(storage, trial.number)):
            load_model("cnn").suggest(trial)
            trial.report(0.5, 1)
    made.get_trials(deepcopy=False)
    return made


@contextmanager
def selected(storage: RDBStorage) -> Iterator[list[int]]:
    """How many values the statements within the block were given, in their order; reading alone."""
    seen: list[int] = []

    def note(*told: object) -> None:
        statement, given = told[2], told[3]
        if str(statement).startswith("SELECT") and hasattr(given, "__len__"):
            seen.append(len(given))

    event.listen(storage.engine, "before_cursor_execute", note)
    yield seen
    event.remove(storage.engine, "before_cursor_execute", note)


def same_as_optuna_reads(study: optuna.Study, url: str) -> bool:
    plain = RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))
    found = optuna.load_study(study_name=study.study_name, storage=plain).get_trials()
    plain.engine.dispose()
    return found == study.get_trials()


def test_trials_in_hand_that_were_not_written_are_not_read_again(
    study: optuna.Study, storage: RDBStorage, storage_url: str
) -> None:
    with selected(storage) as idle:
        study.get_trials(deepcopy=False)
    assert len(idle) == 1, "which trials there are, and their states"
    before = study.get_trials(deepcopy=False)[3]
    with at_once(storage, id_of(storage, 3)):
        for step, value in ((2, 0.9), (3, float("inf")), (1, 0.6)):
            storage.set_trial_intermediate_value(id_of(storage, 3), step, value)
        storage.set_trial_user_attr(id_of(storage, 3), "told", {"a": (1, 2.5), "b": None})
        storage.set_trial_system_attr(id_of(storage, 3), "rung", 0.25)
    with selected(storage) as written:
        assert study.get_trials(deepcopy=False)[3].intermediate_values == {1: 0.6, 2: 0.9, 3: float("inf")}
    assert len(written) == 1, "what was written here is known"
    assert before.intermediate_values == {1: 0.5}, "what was given out is not changed"
    assert same_as_optuna_reads(study, storage_url)


def test_parameters_that_were_drawn_are_known_as_they_are_stored(
    study: optuna.Study, storage: RDBStorage, storage_url: str
) -> None:
    trial = study.ask()
    study.get_trials(deepcopy=False)
    with at_once(storage, id_of(storage, trial.number)):
        load_model("cnn").suggest(trial)
    with selected(storage) as written:
        assert study.get_trials(deepcopy=False)[trial.number].params == trial.params
    assert len(written) == 1
    assert same_as_optuna_reads(study, storage_url)


def test_what_may_not_have_been_written_is_read_again(
    study: optuna.Study, storage: RDBStorage, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> int:
        raise ConnectionError

    monkeypatch.setattr(Draft, "write", lost)
    with pytest.raises(ConnectionError):
        storage.set_trial_intermediate_value(id_of(storage, 5), 2, 0.9)
    monkeypatch.undo()
    with selected(storage) as read:
        assert study.get_trials(deepcopy=False)[5].intermediate_values == {1: 0.5}
    assert read[1:] == [1] * PARTS, "each part of one trial alone"


def test_what_others_do_to_trials_in_hand_is_seen(study: optuna.Study, storage: RDBStorage, storage_url: str) -> None:
    other = open_storage(storage_url)
    other.set_trial_state_values(id_of(other, 0), TrialState.COMPLETE, [0.7])  # by hand, in the dashboard
    other.set_trial_state_values(id_of(other, 1), TrialState.WAITING)  # taken back, as of a dead launch ...
    assert other.set_trial_state_values(id_of(other, 2), TrialState.WAITING)
    assert other.set_trial_state_values(id_of(other, 2), TrialState.RUNNING)  # ... and begun again
    other.set_trial_intermediate_value(id_of(other, 2), 2, 0.8)
    trials = study.get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials[:3]] == ["COMPLETE", "WAITING", "RUNNING"]
    assert trials[0].value == 0.7
    assert trials[2].intermediate_values == {1: 0.5, 2: 0.8}
    other.set_trial_intermediate_value(id_of(other, 2), 3, 0.9)
    assert study.get_trials(deepcopy=False)[2].intermediate_values == {1: 0.5, 2: 0.8, 3: 0.9}
    theirs = optuna.load_study(study_name=study.study_name, storage=other).ask()  # the one that waits
    assert theirs.number == 1
    for epoch in (2, 3):
        theirs.report(epoch / 10, epoch)
        assert study.get_trials(deepcopy=False)[theirs.number].last_step == epoch
    assert same_as_optuna_reads(study, storage_url)
    other.engine.dispose()


def test_a_trial_taken_back_here_and_written_by_another_is_read(
    study: optuna.Study, storage: RDBStorage, storage_url: str
) -> None:
    other = open_storage(storage_url)
    storage.set_trial_state_values(id_of(storage, 0), TrialState.WAITING)
    study.get_trials(deepcopy=False)
    assert other.set_trial_state_values(id_of(other, 0), TrialState.RUNNING)
    for epoch in (2, 3):
        other.set_trial_intermediate_value(id_of(other, 0), epoch, 0.9)
        assert study.get_trials(deepcopy=False)[0].last_step == epoch
    other.engine.dispose()


def test_what_was_refused_counts_for_nothing(study: optuna.Study, storage: RDBStorage, storage_url: str) -> None:
    def cut_off() -> None:
        with at_once(storage, id_of(storage, 4)):
            storage.set_trial_user_attr(id_of(storage, 4), "half", 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert study.get_trials(deepcopy=False)[4].user_attrs == {}
    assert same_as_optuna_reads(study, storage_url)
