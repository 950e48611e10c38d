"""Moves a whole database to another: studies and trials, seals, plans, openings and the chain over them.

Left out is what belongs to processes that have ended: leases, hosts of launches, and notes of calls that may have to be
tried again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from studies.errors import StorageError
from studies.ledger import _tables as tables
from studies.storage.copying import OF_OPTUNA, copy, count, digest, names_of_studies, writing

_OF_PROCESSES = (tables.leases, tables.hosts)
_OWN = (table for table in tables.METADATA.sorted_tables if table not in _OF_PROCESSES)
MOVED: tuple[sa.Table, ...] = (*OF_OPTUNA, *_OWN)
"""Tables whose rows are moved, those first that others refer to."""
TURNS = 3
"""How often each row is handled: it is written, then both sides are read for the digest."""


@dataclass(frozen=True)
class Moved:
    """What was moved.

    Attributes:
        rows: of all tables.
        digest: sha256 of them, the same on both sides.
        before: whether the target held all of it before, and nothing else.
    """

    rows: int
    digest: str
    before: bool


def move(source: Connection, target: Engine, name: str, shown: Callable[[int], None]) -> Moved:
    """Writes all into the target, or nothing; the source is only read.

    Args:
        source: of a ``studies.storage.copying.snapshot``.
        target: its tables are there.
        name: of the target, without a password.
        shown: is told of so many rows that were done, of ``TURNS`` times ``rows_in(source)``.

    Raises:
        StorageError: the target holds something else, or does not give back what was written.
    """
    with writing(target, MOVED) as connection:
        before = count(connection, MOVED) > 0
        if not before:
            copy(source, connection, MOVED, shown)
        wanted, found = (digest(side, MOVED, shown) for side in (source, connection))
        if wanted != found:
            raise StorageError(f"the database {name} {_full(connection) if before else _other(wanted, found)}")
    return Moved(rows_in(source), wanted, before)


def rows_in(source: Connection) -> int:
    """How many rows are to be moved."""
    return count(source, MOVED)


def _full(connection: Connection) -> str:
    held = ", ".join(names_of_studies(connection))[:100] or "records of a launch"
    return f"holds {held} already, and nothing is moved over that; nothing was written: name an empty database"


def _other(wanted: str, found: str) -> str:
    return f"gave back other rows than were written (sha256 {found[:12]}, not {wanted[:12]}), and nothing was kept"
