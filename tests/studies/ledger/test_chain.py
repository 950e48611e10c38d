"""What was decided before the test rows were read can be added to, and not changed unseen."""

from contextlib import suppress
from threading import Thread

import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError

from studies.ledger import _tables as tables
from studies.ledger import chain
from studies.ledger.chain import BEGINNING, broken, head, is_first, links_of
from studies.ledger.ledger import Ledger
from studies.ledger.patches import are_kept, keep_patches, opened_patches, patches_of, sealed_patches

PATCHES = ["b" * 64, "a" * 64]
PARTS = {"train": ["d" * 64, "c" * 64], "validation": ["e" * 64], "test": PATCHES}


@pytest.fixture
def engine(storage: RDBStorage) -> sa.Engine:
    """A database with a lock, a plan and an opening that was closed."""
    ledger = Ledger(storage.engine)
    assert head(storage.engine) == BEGINNING
    ledger.keep_lock("idc", "1" * 64, "the lock")
    ledger.freeze_plan("idc", "2" * 64, "the plan")
    opening = ledger.record_opening("idc", "2" * 64, PATCHES, "", "host")
    ledger.close_opening(opening, "3" * 64)
    ledger.record_look("idc", "prediction", "scored by search.predict", 2, "host")
    keep_patches(storage.engine, "idc", PARTS)
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


def rows_of(engine: sa.Engine, table: sa.Table) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return sorted((tuple(row) for row in connection.execute(sa.select(table))), key=str)


@pytest.mark.parametrize("table", tables.APPEND_ONLY, ids=lambda table: table.name)
@pytest.mark.parametrize("operation", ["update", "delete"])
def test_what_was_recorded_is_neither_changed_nor_deleted(engine: sa.Engine, table: sa.Table, operation: str) -> None:
    column = next(iter(table.columns)).name
    statement = f"delete from {table.name}" if operation == "delete" else f"update {table.name} set {column} = {column}"
    with pytest.raises(DBAPIError, match=f"{table.name} is append-only"), engine.begin() as connection:
        connection.exec_driver_sql(statement)


REPLACEMENTS = {
    "locks": "values ('idc', 'x', 'a kinder lock', 0)",
    "patches": "values ('idc', 'cc', 'dd', '')",
    "plans": f"values ('{'2' * 64}', 'idc', 'a better plan', 0)",
    "openings": "values (1, 'idc', 'x', 'a better reason', 'host', 2, 0)",
    "closings": "values (1, 'x', 0)",
    "opened_patches": f"values (1, '{'a' * 64}')",
    "looks": "values (1, 'idc', 'prediction', 'none', 0, 'host', 0)",
    "chain": "values (1, 'plan', 'x', 'x', 'x')",
}


@pytest.mark.parametrize("table", tables.APPEND_ONLY, ids=lambda table: table.name)
def test_no_insert_replaces_what_was_recorded(engine: sa.Engine, table: sa.Table) -> None:
    before = rows_of(engine, table)
    values = REPLACEMENTS[table.name.removeprefix("histotune_")]
    if engine.dialect.name == "sqlite":
        statement = f"insert or replace into {table.name} {values}"
    else:
        keys = ", ".join(column.name for column in table.primary_key.columns)
        column = list(table.columns)[-1].name
        change = f'on conflict ({keys}) do update set "{column}" = excluded."{column}"'
        statement = f"insert into {table.name} {values} {change}"
    with suppress(DBAPIError), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert rows_of(engine, table) == before
    assert broken(engine) == []


@pytest.mark.parametrize("table", tables.APPEND_ONLY, ids=lambda table: table.name)
def test_a_table_that_was_emptied_or_dropped_is_named(engine: sa.Engine, table: sa.Table) -> None:
    if engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(f"truncate {table.name}")
    with engine.begin() as connection:  # the owner's right, which no trigger can refuse
        connection.exec_driver_sql(f"drop table {table.name}")
    Ledger(engine)  # as the next command does, which makes it anew
    assert rows_of(engine, table) == []
    assert broken(engine) != []


def test_what_is_recorded_during_the_look_is_not_taken_for_forged(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report accused its own database while a launch of another comparison locked its split in it."""
    writer = Thread(target=lambda: Ledger(engine).keep_lock("another", "9" * 64, "its lock"))

    def later(connection: sa.Connection) -> dict[object, object]:
        writer.start()
        writer.join(0.5)  # SQLite may keep it waiting until the look is over
        return dict(records(connection))

    records = chain._records
    monkeypatch.setattr(chain, "_records", later)
    assert broken(engine) == []
    writer.join()
    monkeypatch.undo()
    assert Ledger(engine).lock("another") == "its lock"
    assert broken(engine) == []


def test_triggers_are_added_to_a_database_from_before_them(engine: sa.Engine) -> None:
    if engine.dialect.name == "postgresql":
        pytest.skip("on PostgreSQL the first triggers refused this already")
    with engine.begin() as connection:
        for table in tables.APPEND_ONLY:
            connection.exec_driver_sql(f"drop trigger {table.name}_no_replacement")
    Ledger(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"insert or replace into histotune_locks {REPLACEMENTS['locks']}")
    assert broken(engine) == []


def test_the_order_of_a_plan_and_its_opening_is_that_of_the_chain_not_of_clocks(engine: sa.Engine) -> None:
    assert is_first(engine, "2" * 64, [1])
    ledger = Ledger(engine)
    ledger.freeze_plan("idc", "4" * 64, "a later plan")  # the clock may have been set back before
    assert not is_first(engine, "4" * 64, [1])
    again = ledger.record_opening("idc", "4" * 64, PATCHES, "a reason", "host")
    assert not is_first(engine, "4" * 64, [1, again])
    assert not is_first(engine, "5" * 64, [1])


def test_every_record_adds_a_link_and_nothing_is_found_broken(engine: sa.Engine) -> None:
    assert broken(engine) == []
    before = links_of(engine)
    assert len(before) == 6
    ledger = Ledger(engine)
    ledger.freeze_plan("idc", "2" * 64, "the plan")  # again: nothing new
    assert links_of(engine) == before
    ledger.freeze_plan("idc", "4" * 64, "another plan")
    assert links_of(engine)[:6] == before
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
        ("update histotune_looks set patches = 1", "the look 1 was edited in the database"),
        ("delete from histotune_chain where position >= 4", "the look 1 was written past the chain"),
        ("update histotune_patches set test = train", "the patches idc was edited in the database"),
        ("delete from histotune_patches", "the patches idc was recorded, but is gone"),
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


def test_patches_are_kept_once_by_part_and_known_with_what_was_opened(engine: sa.Engine) -> None:
    assert not are_kept(engine, "other")
    assert patches_of(engine, "other") is sealed_patches(engine, "other") is None
    assert opened_patches(engine, "other") == []
    before = links_of(engine)
    keep_patches(engine, "idc", {"train": [], "validation": [], "test": ["f" * 64]})
    assert are_kept(engine, "idc")
    assert patches_of(engine, "idc") == {part: sorted(digests) for part, digests in PARTS.items()}
    assert sealed_patches(engine, "idc") == sorted(opened_patches(engine, "idc")) == sorted(PATCHES)
    assert links_of(engine) == before
    keep_patches(engine, "other", {"train": ["a" * 64], "validation": [], "test": []})
    assert patches_of(engine, "other") == {"train": ["a" * 64], "validation": [], "test": []}
    assert broken(engine) == []
