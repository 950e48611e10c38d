"""A call that is done once, although it is tried again: what it did is noted in the transaction that does it.

Where only the answer was lost, the next try finds the note. The table is our own, so that studies and trials hold what
was put into them and nothing else, whoever reads them. It is made by the first call that writes: to look makes nothing.
"""

from collections.abc import Callable
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from studies.storage.patience import waits
from studies.storage.sql import make_tables

_METADATA = sa.MetaData()
_CALLS = sa.Table(
    "histotune_calls",
    _METADATA,
    sa.Column("call", sa.String(32), primary_key=True),
    sa.Column("result", sa.Integer, nullable=False),
)
_NOTE = _CALLS.insert()


@waits
def make_table(engine: Engine) -> None:
    """Makes the table of calls where there is none."""
    make_tables(lambda: _METADATA.create_all(engine))


def once(engine: Engine, do: Callable[[Connection], int]) -> int:
    """What ``do`` gives, which is done once and whole or not at all; what it raises, it raises at its first try."""
    call, tried = uuid4().hex, False

    def attempt(engine: Engine) -> int:
        nonlocal tried
        with engine.begin() as connection:
            noted = _noted(connection, call) if tried else None
            tried = True
            if noted is not None:
                return noted
            result = do(connection)
            connection.execute(_NOTE, {"call": call, "result": result})
        return result

    return waits(attempt)(engine)


def _noted(connection: Connection, call: str) -> int | None:
    return connection.execute(sa.select(_CALLS.c.result).where(_CALLS.c.call == call)).scalar()
