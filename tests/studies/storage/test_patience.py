"""Waiting for a database, and doing each thing once although its answer was lost."""

import itertools
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import psycopg
import pytest
from breaking import lose_answers
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError
from stored import id_of

from studies.errors import StorageGoneError
from studies.ledger.ledger import Ledger
from studies.storage.attributes import set_attributes
from studies.storage.patience import Patience, interrupt, set_patience, why_away
from studies.storage.studies import open_storage


def refused(text: str = "connection refused") -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.OperationalError(text))


def failing(times: int, error: Callable[[], Exception] = refused) -> Callable[[], str]:
    """A call that succeeds after so many failures."""
    left = [times]

    def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error()
        return "done"

    return call


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.storage.patience._PAUSE_SECONDS", 0.01)


def test_one_line_when_it_goes_and_one_when_it_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    patience = Patience("postgresql://me:s3cret@host/db", 60)
    assert patience(failing(20)) == "done"
    assert patience(failing(0)) == "done"
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "waiting up to 60 s for the database postgresql://me:***@host/db: connection refused",
        "the database is back after 0 s",
    ]


def test_after_its_time_calls_fail_and_later_ones_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    patience = Patience("postgresql://me:s3cret@host/db", 0.1)
    began = time.monotonic()
    with pytest.raises(
        StorageGoneError, match=r"in vain for 0 s: no password \*\*\* here\. What it held before is kept"
    ):
        patience(failing(10**6, lambda: refused("no password s3cret here")))
    assert 0.1 <= time.monotonic() - began < 5
    tries = []

    def call() -> None:
        tries.append(1)
        raise refused()

    with pytest.raises(StorageGoneError):
        patience(call)
    assert len(tries) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert patience(failing(0)) == "done"
    with pytest.raises(StorageGoneError):  # reads may work where writes do not: a search that ends must not wait anew
        patience(call)
    assert len(tries) == 2


def test_other_errors_are_not_waited_for() -> None:
    patience = Patience("sqlite:///x.db", 60)
    for error in (refused('FATAL:  password authentication failed for user "me"'), ValueError("no")):
        with pytest.raises(type(error)):
            patience(failing(1, lambda error=error: error))  # type: ignore[misc]


def test_a_signal_ends_the_waiting() -> None:
    patience = Patience("sqlite:///x.db", 60)

    class SignalCame(BaseException):
        pass

    def check() -> None:
        raise SignalCame

    patience.check = check
    with pytest.raises(SignalCame):
        patience(failing(10**6))


@pytest.mark.parametrize(
    ("said", "away"),
    [
        ("connection failed: Connection refused", True),
        ("connection failed: FATAL:  the database system is starting up", True),
        ("connection failed: FATAL:  the database system is shutting down", True),
        ("connection failed: FATAL:  sorry, too many clients already", True),
        ('connection failed: FATAL:  database "x" does not exist', False),
        ("connection failed: FATAL:  password authentication failed", False),
    ],
)
def test_a_server_that_refuses_for_good_is_told_from_one_that_is_away(said: str, away: bool) -> None:
    assert (why_away(refused(said)) is not None) == away


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.CannotConnectNow("starting up"), True),
        (psycopg.errors.DiskFull("no space"), True),
        (psycopg.errors.UniqueViolation("twice"), False),
        (psycopg.errors.InsufficientPrivilege("not yours"), False),
    ],
)
def test_a_server_s_own_errors_are_known_by_their_state(error: psycopg.Error, away: bool) -> None:
    assert (why_away(OperationalError("SELECT 1", {}, error)) is not None) == away


# --- answers that were lost ------------------------------------------------------------------------------------------


@pytest.fixture
def study(storage: RDBStorage) -> optuna.Study:
    set_patience(storage.engine, Patience("x", 60))
    return optuna.create_study(storage=storage, study_name="idc-cnn", direction="maximize")


@pytest.fixture
def lose(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[bool]], list[int]]:
    """Lets the answers to some COMMITs be lost, as drawn: they are done, and then the connection breaks."""
    return lambda drawn: lose_answers(storage, monkeypatch, drawn)


EVERY_SECOND = (True, False)


def test_a_search_whose_answers_are_lost_does_everything_once(
    storage: RDBStorage, study: optuna.Study, lose: Callable[[Iterator[bool]], list[int]]
) -> None:
    draw = random.Random(0)
    lost = lose(draw.random() < 0.5 for _ in itertools.count())
    study.enqueue_trial({"x": 0.5}, skip_if_exists=True)
    for number in range(3):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 1)
        set_attributes(storage, id_of(storage, trial.number), {"number": number})
        study.tell(trial.number, x)
    assert len(lost) > 5
    trials = study.get_trials()
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert [trial.user_attrs["number"] for trial in trials] == [0, 1, 2]
    assert [trial.intermediate_values for trial in trials] == [{1: trial.value} for trial in trials]
    assert trials[0].params == {"x": 0.5}


def test_a_trial_that_was_ended_by_another_hand_is_still_refused(
    storage: RDBStorage, study: optuna.Study, lose: Callable[[Iterator[bool]], list[int]]
) -> None:
    trial = study.ask()
    storage.set_trial_state_values(id_of(storage, trial.number), TrialState.FAIL)
    lose(itertools.cycle(EVERY_SECOND))
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(id_of(storage, trial.number), TrialState.COMPLETE, [0.9])


def test_a_trial_that_another_has_taken_or_ended_alike_is_not_taken_for_one_s_own(
    storage: RDBStorage, study: optuna.Study, lose: Callable[[Iterator[bool]], list[int]]
) -> None:
    study.enqueue_trial({"x": 0.5})
    assert storage.set_trial_state_values(id_of(storage, 0), TrialState.RUNNING)
    lost = lose(itertools.cycle(EVERY_SECOND))
    assert not storage.set_trial_state_values(id_of(storage, 0), TrialState.RUNNING)
    storage.set_trial_state_values(id_of(storage, 0), TrialState.COMPLETE, [0.9])
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(id_of(storage, 0), TrialState.COMPLETE, [0.9])
    assert len(lost) >= 2


def test_a_study_is_made_and_deleted_once_and_another_s_is_not_taken_for_one_s_own(
    storage: RDBStorage, study: optuna.Study, lose: Callable[[Iterator[bool]], list[int]]
) -> None:
    lost = lose(itertools.cycle(EVERY_SECOND))
    made = optuna.create_study(storage=storage, study_name="idc-vgg16")
    with pytest.raises(DuplicatedStudyError):
        storage.create_new_study([StudyDirection.MAXIMIZE], "idc-cnn")
    optuna.delete_study(study_name=made.study_name, storage=storage)
    with pytest.raises(KeyError):
        optuna.delete_study(study_name=made.study_name, storage=storage)
    assert optuna.get_all_study_names(storage) == ["idc-cnn"]
    assert len(lost) >= 2


def test_our_own_tables_hold_everything_once_although_answers_are_lost(
    storage: RDBStorage, study: optuna.Study, lose: Callable[[Iterator[bool]], list[int]]
) -> None:
    ledger = Ledger(storage.engine)
    lost = lose(itertools.cycle(EVERY_SECOND))  # the first answer to each call
    launch = ledger.begin_launch("idc", "host", 1, 1.0)
    with ledger.lease("idc-cnn", launch):
        assert ledger.own("idc-cnn", 0, launch)
    ledger.keep_lock("idc", "1" * 64, "lock")
    ledger.freeze_plan("idc", "2" * 64, "plan")
    opening = ledger.record_opening("idc", "2" * 64, ["a", "b"], "", "me")
    ledger.close_opening(opening, "3" * 64)
    ledger.end_launch(launch)
    assert len(lost) >= 7
    assert len(ledger.openings_of_same_patches("idc")) == 1
    from studies.ledger.chain import broken as broken_links
    from studies.ledger.chain import links_of

    assert broken_links(storage.engine) == []
    assert len(links_of(storage.engine)) == 4
    assert ledger.open_launches("idc") == []


# --- SQLite that another process holds -------------------------------------------------------------------------------


def test_a_file_that_another_process_holds_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.storage.studies.BUSY_SECONDS", 0.2)
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db", patience=60)
    study = optuna.create_study(storage=storage, study_name="idc-cnn")
    holder = sqlite3.connect(tmp_path / "studies.db", check_same_thread=False, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    threading.Timer(1.5, lambda: holder.execute("COMMIT")).start()
    study.tell(study.ask(), 0.5)
    told = capsys.readouterr().err.splitlines()
    holder.close()
    assert len(told) == 2
    assert "database is locked" in told[0]
    assert told[1].startswith("the database is back after ")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    storage.engine.dispose()


def test_a_file_that_is_held_for_good_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.storage.studies.BUSY_SECONDS", 0.1)
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db", patience=0.5)
    interrupt(storage.engine, lambda: None)
    with sqlite3.connect(tmp_path / "studies.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageGoneError, match="database is locked"):
            storage.get_all_studies()
        holder.execute("COMMIT")
    holder.close()
    storage.engine.dispose()
