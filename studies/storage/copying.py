"""Copies the rows of tables from one database to another, bit for bit, and takes a digest of what is there.

Both kinds of database hold the same tables, made by the same code; what they do not share is told here: how a look
becomes one moment, how others are kept from writing, how text is sorted, how rows are numbered on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.engine import Connection, Engine

from studies.storage._optuna import EVERY as OF_OPTUNA
from studies.storage._optuna import STUDIES

__all__ = ["OF_OPTUNA", "copy", "count", "digest", "names_of_studies", "snapshot", "writing"]

_AT_ONCE = 1000
"""Rows that are in memory at a time."""
Shown = Callable[[int], None]
"""Is told of so many rows that were done."""


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Reads the database as it is when the block begins, whatever others write meanwhile."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # which Python leaves out before a SELECT
        else:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        count(connection, [STUDIES])  # the first look settles the moment
        yield connection


@contextmanager
def writing(engine: Engine, tables: Sequence[sa.Table]) -> Iterator[Connection]:
    """One transaction in which nobody else writes to the tables; all of it is kept, or nothing."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(table.name for table in tables)} IN EXCLUSIVE MODE")
        yield connection


def count(connection: Connection, tables: Sequence[sa.Table]) -> int:
    """Rows in all of the tables."""
    return sum(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables)


def names_of_studies(connection: Connection) -> list[str]:
    """Names of all studies, whoever made them."""
    return list(connection.execute(sa.select(STUDIES.c.study_name).order_by(STUDIES.c.study_name)).scalars())


def copy(source: Connection, target: Connection, tables: Sequence[sa.Table], shown: Shown) -> None:
    """Writes every row of the tables, which are empty in the target, with its number.

    Args:
        source: of a ``snapshot``.
        target: of ``writing``.
        tables: those first that others refer to.
        shown: is told of every batch.
    """
    for table in tables:
        for rows in _batches(source, table):
            target.execute(table.insert(), rows)
            shown(len(rows))
        _number_on(target, table)


def digest(connection: Connection, tables: Sequence[sa.Table], shown: Shown) -> str:
    """Sha256 of all that the tables hold, the same on both kinds of database.

    Of each table it takes the sum of the sha256 of its rows: sorted by a text, they come in another order on each.
    """
    sums = []
    for table in tables:
        total = 0
        for rows in _batches(connection, table):
            total += sum(_digest_of(row) for row in rows)
            shown(len(rows))
        sums.append(f"{table.name} {total % 2**256:064x}")
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _batches(connection: Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    found = connection.execute(sa.select(table), execution_options={"yield_per": _AT_ONCE})
    for rows in found.mappings().partitions():
        yield [dict(row) for row in rows]


def _digest_of(row: dict[str, Any]) -> int:
    text = json.dumps({name: _plain(value) for name, value in row.items()}, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def _plain(value: Any) -> str | int | None:
    """A value as text that tells every bit of it; but for the sign of zero, which SQLite does not keep."""
    if isinstance(value, float):
        return (value + 0.0).hex()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return value.name if isinstance(value, Enum) else value


def _number_on(connection: Connection, table: sa.Table) -> None:
    """Lets PostgreSQL number the next row after the highest, as SQLite does by itself; an empty table is left alone."""
    column = table.autoincrement_column
    if connection.dialect.name == "sqlite" or column is None:
        return
    sequence = sa.cast(sa.func.pg_get_serial_sequence(table.name, column.name), REGCLASS)
    connection.execute(sa.select(sa.func.setval(sequence, sa.select(sa.func.max(column)).scalar_subquery())))
