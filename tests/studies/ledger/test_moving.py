"""A whole database in another: every row as it was, what only grows still does, numbers go on."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from server import new_database
from sqlalchemy.exc import DBAPIError
from stored import id_of, own_study

from studies.errors import StorageError
from studies.ledger import _tables as tables
from studies.ledger import chain
from studies.ledger.ledger import Ledger
from studies.ledger.moving import MOVED, TURNS, Moved, move, rows_in
from studies.ledger.patches import keep_patches
from studies.records import Terms
from studies.storage.copying import snapshot
from studies.storage.studies import open_storage

ROOT = Path(__file__).resolve().parents[3]
ODD = (1e-300, 5e-324, math.pi, 0.1 + 0.2, 1.7976931348623157e308, -1e-17, math.inf, -math.inf)
KILLED = """
import os, signal, sys
import studies.storage.copying as copying
from studies.ledger import moving
from studies.ledger.ledger import Ledger
from studies.storage.studies import open_existing, open_storage
source, target, after = open_existing(sys.argv[1]), open_storage(sys.argv[2]), int(sys.argv[3])
Ledger(target.engine)
done = 0
def shown(rows):
    global done
    done += rows
    if done >= after:
        os.kill(os.getpid(), signal.SIGKILL)
with copying.snapshot(source.engine) as seen:
    moving.move(seen, target.engine, "it", shown)
"""
Opened = Callable[[str], RDBStorage]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens databases, with all tables, until the end of a test."""
    with ExitStack() as stack:

        def open_(url: str) -> RDBStorage:
            storage = open_storage(url)
            stack.callback(storage.engine.dispose)
            Ledger(storage.engine)
            return storage

        yield open_


@pytest.fixture
def target(storage: RDBStorage, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of the other kind than ``storage``."""
    if storage.engine.dialect.name == "postgresql":
        return f"sqlite:///{tmp_path}/moved.db"
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def full(storage: RDBStorage) -> RDBStorage:
    """A database with a row in every table that there is, and numbers that are easily bent."""
    study = own_study(storage)
    for value in ODD:
        steps = dict(enumerate((value, math.nan, -value), start=1))
        study.add_trial(
            create_trial(
                value=value,
                params={"x": max(-1e308, min(1e308, value)), "kind": "größer"},
                distributions={
                    "x": optuna.distributions.FloatDistribution(-1e308, 1e308),
                    "kind": optuna.distributions.CategoricalDistribution(["größer", "other"]),
                },
                intermediate_values=steps,
                user_attrs={"failure": "☢ a line\nand another", "seconds": value},
                system_attrs={"constraints": [1, 2]},
            )
        )
    study.enqueue_trial({"x": 0.5, "kind": "other"})
    storage.set_study_system_attr(storage.get_study_id_from_name("idc-cnn"), "note", "of the dashboard")
    optuna.create_study(storage=storage, study_name="of others", directions=["minimize", "maximize"])
    ledger = Ledger(storage.engine)
    for name in ("idc", "Ähre", "a-b", "aB", "Z"):  # sorted by text, they come in another order on each kind
        ledger.keep_lock(name, "1" * 64, f"the lock of {name}")
        keep_patches(storage.engine, name, {part: ["c" * 64, "00ff" * 16] for part in ("train", "validation", "test")})
    ledger.keep_terms("idc", Terms("fp32", "none", 2))
    launch = ledger.begin_launch("idc", "host", 42, 1.5)
    with ledger.lease("idc-cnn", launch):
        assert ledger.own("idc-cnn", 8, launch)
    ledger.freeze_plan("idc", "2" * 64, "the plan")
    for number in (1, 2):
        opening = ledger.record_opening("idc", "2" * 64, ["b" * 64, "a" * 64], "again", f"host, process {number}")
    ledger.close_opening(opening, "3" * 64)
    ledger.record_look("idc", "prediction", "scored by search.predict", 2, "host")
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("insert into trial_heartbeats values (7, 1, '2026-11-29 01:02:03')")
    return storage


def moved(source: RDBStorage, target: RDBStorage) -> Moved:
    shown: list[int] = []
    with snapshot(source.engine) as seen:
        found = move(seen, target.engine, "it", shown.append)
        assert sum(shown) == rows_in(seen) * (TURNS if not found.before else TURNS - 1)
    return found


def rows_of(storage: RDBStorage, table: sa.Table) -> list[tuple[Any, ...]]:
    with storage.engine.connect() as connection:
        return sorted((tuple(map(repr, row)) for row in connection.execute(sa.select(table))), key=str)


def held(storage: RDBStorage) -> int:
    with storage.engine.connect() as connection:
        return rows_in(connection)


def test_every_row_is_as_it_was_there_and_back(full: RDBStorage, target: str, opened: Opened, tmp_path: Path) -> None:
    there, back = opened(target), opened(f"sqlite:///{tmp_path}/back.db")
    first, second = moved(full, there), moved(there, back)
    assert not first.before
    assert (first.rows, first.digest) == (second.rows, second.digest)
    for table in MOVED:
        rows = rows_of(full, table)
        assert rows, table.name
        assert rows == rows_of(there, table) == rows_of(back, table), table.name


def test_trials_are_read_as_they_were(full: RDBStorage, target: str, opened: Opened) -> None:
    there = opened(target)
    moved(full, there)
    before, after = (optuna.load_study(study_name="idc-cnn", storage=one) for one in (full, there))
    assert repr(before.trials) == repr(after.trials)
    assert [trial.value for trial in after.trials[: len(ODD)]] == list(ODD)
    assert isinstance(after.trials[0].datetime_start, datetime)


def test_the_chain_is_whole_and_what_only_grows_still_does(full: RDBStorage, target: str, opened: Opened) -> None:
    there = opened(target)
    moved(full, there)
    assert chain.broken(there.engine) == []
    assert chain.links_of(there.engine) == chain.links_of(full.engine)
    for table in tables.APPEND_ONLY:
        column = next(iter(table.columns)).name
        for statement in (f"delete from {table.name}", f"update {table.name} set {column} = {column}"):
            with pytest.raises(DBAPIError, match="append-only"), there.engine.begin() as connection:
                connection.exec_driver_sql(statement)


def test_numbers_go_on_after_the_highest(full: RDBStorage, target: str, opened: Opened) -> None:
    there = opened(target)
    moved(full, there)
    study = optuna.load_study(study_name="idc-cnn", storage=there)
    assert study.ask().number == 8, "the enqueued one"
    assert study.ask().number == 9
    assert id_of(there, 9) == id_of(there, 8) + 1
    study.tell(8, 1e-300)
    assert study.trials[8].state == TrialState.COMPLETE
    own_study(there, "idc-new").set_user_attr("x", 1)
    ledger = Ledger(there.engine)
    assert ledger.record_opening("idc", "2" * 64, ["c" * 64], "once more", "host, process 9") == 3
    ledger.record_look("idc", "prediction", "another", 1, "host")
    assert chain.broken(there.engine) == []


def test_nothing_is_moved_over_anything(full: RDBStorage, target: str, opened: Opened) -> None:
    there = opened(target)
    optuna.create_study(storage=there, study_name="precious")
    before = held(there)
    with pytest.raises(StorageError, match=r"^the database it holds precious already, and nothing is moved over that;"):
        moved(full, there)
    assert held(there) == before


def test_moving_again_finds_all_of_it_there_until_one_side_goes_on(
    full: RDBStorage, target: str, opened: Opened
) -> None:
    there = opened(target)
    first, again = moved(full, there), moved(full, there)
    assert again == Moved(first.rows, first.digest, before=True)
    optuna.load_study(study_name="idc-cnn", storage=there).ask()
    with pytest.raises(StorageError, match="holds idc-cnn, of others already"):
        moved(full, there)


def test_rows_that_come_out_otherwise_are_not_kept(full: RDBStorage, target: str, opened: Opened) -> None:
    there = opened(target)
    with there.engine.begin() as connection:
        for statement in BENT[connection.dialect.name]:
            connection.exec_driver_sql(statement)
    with pytest.raises(StorageError, match=r"^the database it gave back other rows than were written \(sha256 "):
        moved(full, there)
    assert held(there) == 0


BENT = {
    "sqlite": ["create trigger bent after insert on trial_params begin update trial_params set param_value = 1; end"],
    "postgresql": [
        "create function bent() returns trigger language plpgsql as 'begin new.param_value = 1; return new; end'",
        "create trigger bent before insert on trial_params for each row execute function bent()",
    ],
}
"""Triggers by which a database stores another number than it is given."""


@pytest.mark.parametrize("turns", [0.5, 1.5, 3], ids=["writing", "reading", "before its end"])
def test_a_move_that_is_killed_leaves_nothing_and_is_done_again(
    full: RDBStorage, storage_url: str, target: str, opened: Opened, turns: float
) -> None:
    command = [sys.executable, "-c", KILLED, storage_url, target, str(int(held(full) * turns))]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = opened(target)
    assert held(there) == 0
    assert not moved(full, there).before


def test_a_copy_is_of_one_moment(full: RDBStorage, target: str, opened: Opened) -> None:
    there = opened(target)
    with snapshot(full.engine) as seen:
        rows = rows_in(seen)
        if full.engine.dialect.name == "postgresql":  # SQLite keeps others from writing meanwhile
            Ledger(full.engine).keep_lock("later", "1" * 64, "a lock")
            assert held(full) > rows
        assert move(seen, there.engine, "it", lambda _: None).rows == rows == held(there)
