"""What was decided before the test rows were read can be added to, and not changed unseen."""

import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError

from studies.ledger import _tables as tables
from studies.ledger.chain import BEGINNING, broken, head, links_of
from studies.ledger.ledger import Ledger

PATCHES = ["b" * 64, "a" * 64]


@pytest.fixture
def engine(storage: RDBStorage) -> sa.Engine:
    """A database with a lock, a plan and an opening that was closed."""
    ledger = Ledger(storage.engine)
    assert head(storage.engine) == BEGINNING
    ledger.keep_lock("idc", "1" * 64, "the lock")
    ledger.freeze_plan("idc", "2" * 64, "the plan")
    opening = ledger.record_opening("idc", "2" * 64, PATCHES, "", "host")
    ledger.close_opening(opening, "3" * 64)
    return storage.engine


def without_triggers(engine: sa.Engine, statement: str) -> None:
    """As somebody does who owns the database."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
        else:
            for name in (
                connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'").scalars().all()
            ):
                connection.exec_driver_sql(f"drop trigger {name}")
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize("table", tables.APPEND_ONLY, ids=lambda table: table.name)
@pytest.mark.parametrize("operation", ["update", "delete"])
def test_what_was_recorded_is_neither_changed_nor_deleted(engine: sa.Engine, table: sa.Table, operation: str) -> None:
    column = next(iter(table.columns)).name
    statement = f"delete from {table.name}" if operation == "delete" else f"update {table.name} set {column} = {column}"
    with pytest.raises(DBAPIError, match=f"{table.name} is append-only"), engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_every_record_adds_a_link_and_nothing_is_found_broken(engine: sa.Engine) -> None:
    assert broken(engine) == []
    before = links_of(engine)
    assert len(before) == 4
    ledger = Ledger(engine)
    ledger.freeze_plan("idc", "2" * 64, "the plan")  # again: nothing new
    assert links_of(engine) == before
    ledger.freeze_plan("idc", "4" * 64, "another plan")
    assert links_of(engine)[:4] == before
    assert head(engine) not in before


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("update histotune_locks set text = 'another'", "the lock idc was edited in the database"),
        ("update histotune_plans set text = 'better'", "the plan 222222222222 was edited in the database"),
        ("update histotune_openings set reason = 'x'", "the opening 1 was edited"),
        ("delete from histotune_opened_patches", "the opening 1 was edited"),
        ("delete from histotune_openings", "the opening 1 was recorded, but is gone"),
        ("update histotune_closings set predictions_digest = 'x'", "the closing 1 was edited"),
        ("update histotune_chain set digest = 'x' where position = 1", "edited at its link 1"),
        ("delete from histotune_chain where position = 2", "edited at its link 2"),
        ("delete from histotune_chain where position = 3", "the closing 1 was written past the chain"),
    ],
)
def test_what_was_changed_past_the_application_is_named(engine: sa.Engine, statement: str, found: str) -> None:
    without_triggers(engine, statement)
    assert [problem for problem in broken(engine) if found in problem], broken(engine)


def test_a_rewritten_chain_no_longer_holds_the_head_of_an_old_report(storage: RDBStorage, engine: sa.Engine) -> None:
    mailed = head(engine)
    for table in tables.APPEND_ONLY:
        without_triggers(engine, f"delete from {table.name}")
    ledger = Ledger(storage.engine)
    ledger.keep_lock("idc", "1" * 64, "a kinder lock")
    ledger.freeze_plan("idc", "2" * 64, "the plan")
    assert broken(storage.engine) == []
    assert mailed not in links_of(storage.engine)
