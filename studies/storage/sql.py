"""INSERT with ON CONFLICT, which both databases know but SQLAlchemy spells by dialect."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


def insert_if_absent(connection: Connection, table: sa.TableClause, row: dict[str, Any]) -> Any:
    """A statement that leaves a row of the same key as it is."""
    return _insert(connection, table).values(row).on_conflict_do_nothing()


def upsert(connection: Connection, table: sa.TableClause, columns: Iterable[str], keys: Sequence[str]) -> Any:
    """A statement that replaces rows of the same ``keys``; its rows, with these columns, are given when it is run.

    SQLAlchemy translates a statement that holds its rows anew each time.
    """
    statement = _insert(connection, table)
    changed = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _insert(connection: Connection, table: sa.TableClause) -> Any:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
