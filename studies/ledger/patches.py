"""Which patches a comparison has in train, validation and test: a seal is known without the folder that it lies in.

Patches are known by the sha256 of their pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from studies.ledger import _tables as tables
from studies.ledger.chain import append, hashed
from studies.storage.patience import waits
from studies.storage.sql import insert_if_absent

_PARTS = ("train", "validation", "test")
_BYTES = 32  # of a sha256


@waits
def are_kept(engine: Engine, study: str) -> bool:
    """Whether the patches of a comparison are on record; those of an earlier version are once they are read again."""
    wanted = sa.select(tables.patches.c.study).where(tables.patches.c.study == study)
    with engine.connect() as connection:
        return connection.execute(wanted).first() is not None


@waits
def keep_patches(engine: Engine, study: str, parts: Mapping[str, Sequence[str]]) -> None:
    """Stores them, in hexadecimal digits, by part; where some are stored those stay."""
    row = {"study": study, **{part: bytes.fromhex("".join(sorted(parts[part]))) for part in _PARTS}}
    with engine.begin() as connection:
        added = insert_if_absent(connection, tables.patches, row).returning(tables.patches.c.study)
        if connection.execute(added).scalar() is not None:
            append(connection, "patches", study, hashed(row))


@waits
def patches_of(engine: Engine, study: str) -> dict[str, list[str]] | None:
    """Part -> its patches, in order; None where they are not on record."""
    wanted = sa.select(*(tables.patches.c[part] for part in _PARTS)).where(tables.patches.c.study == study)
    with engine.connect() as connection:
        row = connection.execute(wanted).one_or_none()
    return None if row is None else {part: _digests(row[place]) for place, part in enumerate(_PARTS)}


@waits
def sealed_patches(engine: Engine, study: str) -> list[str] | None:
    """Those of the test, in order; None where they are not on record."""
    wanted = sa.select(tables.patches.c.test).where(tables.patches.c.study == study)
    with engine.connect() as connection:
        stored = connection.execute(wanted).scalar()
    return None if stored is None else _digests(stored)


@waits
def opened_patches(engine: Engine, study: str) -> list[str]:
    """Those that openings of a comparison have read; none where it was not opened."""
    own = sa.select(tables.openings.c.id).where(tables.openings.c.study == study)
    wanted = sa.select(tables.opened_patches.c.patch).where(tables.opened_patches.c.opening.in_(own)).distinct()
    with engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


def of_same_patches(study: str) -> sa.Select[Any]:
    """Numbers of all openings of a patch that an opening of this study read."""
    own = sa.select(tables.openings.c.id).where(tables.openings.c.study == study)
    patches = sa.select(tables.opened_patches.c.patch).where(tables.opened_patches.c.opening.in_(own))
    return sa.select(tables.opened_patches.c.opening).where(tables.opened_patches.c.patch.in_(patches)).distinct()


def _digests(stored: bytes) -> list[str]:
    return [stored[start : start + _BYTES].hex() for start in range(0, len(stored), _BYTES)]
