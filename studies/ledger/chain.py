"""A chain of hashes over split locks, their patches, plans and openings: what is changed afterwards breaks it.

Each record adds a link: the hash of the link before it and of the record's content. The newest link, the head, stands
in every report, so that a report that left the house exposes a chain that was rewritten. It does not protect against
the owner of the database who rebuilds everything before any report was handed out.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from studies.ledger import _tables as tables
from studies.storage.copying import snapshot
from studies.storage.patience import waits

BEGINNING = "0" * 64
_POSTGRESQL_LOCK = 4_831_217  # any number that no other program takes for its own


def append(connection: Connection, kind: str, key: str, content: Mapping[str, Any]) -> None:
    """Adds a link for a record that was just written, within the same transaction.

    Args:
        connection: of that transaction.
        kind: "lock", "patches", "plan", "opening", "closing" or "look".
        key: of the record among its kind.
        content: all of the record.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))
    newest = sa.select(tables.chain.c.position, tables.chain.c.link).order_by(tables.chain.c.position.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    position, before = (0, BEGINNING) if last is None else (last.position + 1, last.link)
    digest = _digest(content)
    link = _link(before, kind, key, digest)
    connection.execute(tables.chain.insert().values(position=position, kind=kind, key=key, digest=digest, link=link))


def head(engine: Engine) -> str:
    """The newest link; zeros where nothing was recorded yet."""
    links = links_of(engine)
    return links[-1] if links else BEGINNING


@waits
def links_of(engine: Engine) -> list[str]:
    """Every link, oldest first; the head of an old report must be one of them."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(tables.chain.c.link).order_by(tables.chain.c.position)).scalars())


@waits
def is_first(engine: Engine, plan: str, openings: Collection[int]) -> bool:
    """Whether a plan was recorded before each of these openings: by places in the chain, which no clock can change."""
    recorded = sa.select(tables.chain.c.kind, tables.chain.c.key, tables.chain.c.position)
    with engine.connect() as connection:
        place = {(row.kind, row.key): row.position for row in connection.execute(recorded)}
    frozen = place.get(("plan", plan))
    opened = [place.get(("opening", str(number))) for number in openings]
    return frozen is not None and all(at is not None and frozen < at for at in opened)


@waits
def broken(engine: Engine) -> list[str]:
    """What was changed after it was recorded, in words; empty where all is as it was."""
    with snapshot(engine) as connection:  # or what is recorded in between would be of no chain
        chain = connection.execute(sa.select(tables.chain).order_by(tables.chain.c.position)).all()
        records = dict(_records(connection))
    found = []
    before = BEGINNING
    for place, row in enumerate(chain):
        if row.position != place or row.link != _link(before, row.kind, row.key, row.digest):
            found.append(f"the chain of records was edited at its link {place} ({row.kind} {row.key[:12]})")
            break
        before = row.link
        content = records.pop((row.kind, row.key), None)
        if content is None:
            found.append(f"the {row.kind} {row.key[:12]} was recorded, but is gone from the database")
        elif _digest(content) != row.digest:
            found.append(f"the {row.kind} {row.key[:12]} was edited in the database after it was recorded")
    else:
        found += [f"the {kind} {key[:12]} was written past the chain of records" for kind, key in records]
    return found


def digest_of_patches(patches: Iterable[str]) -> str:
    """Sha256 over sorted digests of patches: which ones an opening read."""
    return hashlib.sha256("\n".join(sorted(patches)).encode()).hexdigest()


def hashed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the sha256 of each of its columns that is no text."""
    return {key: hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value for key, value in row.items()}


def _records(connection: Connection) -> Iterable[tuple[tuple[str, str], dict[str, Any]]]:
    """Every record that belongs into the chain: ((kind, key), content)."""
    for row in connection.execute(sa.select(tables.locks)).mappings():
        yield ("lock", row["study"]), dict(row)
    for row in connection.execute(sa.select(tables.patches)).mappings():
        yield ("patches", row["study"]), hashed(dict(row))
    for row in connection.execute(sa.select(tables.plans)).mappings():
        yield ("plan", row["digest"]), dict(row)
    for row in connection.execute(sa.select(tables.openings)).mappings():
        wanted = sa.select(tables.opened_patches.c.patch).where(tables.opened_patches.c.opening == row["id"])
        patches = connection.execute(wanted).scalars()
        yield ("opening", str(row["id"])), {**row, "of": digest_of_patches(patches)}
    for row in connection.execute(sa.select(tables.looks)).mappings():
        yield ("look", str(row["id"])), dict(row)
    for row in connection.execute(sa.select(tables.closings)).mappings():
        yield ("closing", str(row["opening"])), dict(row)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(content), sort_keys=True).encode()).hexdigest()


def _link(before: str, kind: str, key: str, digest: str) -> str:
    return hashlib.sha256("\n".join((before, kind, key, digest)).encode()).hexdigest()
