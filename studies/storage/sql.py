"""What both databases know but SQLAlchemy has no one word for: INSERT with ON CONFLICT, tables made by two at once."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

_TRIES, _PAUSE_SECONDS = 10, 0.5
Made = TypeVar("Made")


def make_tables(make: Callable[[], Made]) -> Made:
    """What ``make`` gives; tried again where another process made the same tables at the same moment."""
    for _ in range(_TRIES):
        try:
            return make()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if "already exists" not in str(error) and "unique" not in str(error).lower():
                raise
            time.sleep(_PAUSE_SECONDS)
    return make()


def insert_if_absent(connection: Connection, table: sa.TableClause, row: dict[str, Any]) -> Any:
    """A statement that leaves a row of the same key as it is."""
    return _insert(connection.dialect.name, table).values(row).on_conflict_do_nothing()


def upsert(connection: Connection, table: sa.TableClause, columns: Iterable[str], keys: Sequence[str]) -> Any:
    """A statement that replaces rows of the same ``keys``; its rows, with these columns, are given when it is run.

    SQLAlchemy translates a statement that holds its rows anew each time, and takes longer to make one than to run it.
    """
    return _upsert(connection.dialect.name, table, tuple(columns), tuple(keys))


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: sa.TableClause, columns: tuple[str, ...], keys: tuple[str, ...]) -> Any:
    statement = _insert(dialect, table)
    changed = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _insert(dialect: str, table: sa.TableClause) -> Any:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
