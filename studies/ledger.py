"""Our own tables beside Optuna's: split locks, launches, leases, owners of trials, plans and openings.

Optuna's tables say what happened to a trial; these say who may act, and what was decided before the test rows were
read. All times are the database's own clock, in seconds since 1970 (UTC), so that two hosts agree on who is late.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from studies import _tables as tables
from studies._sql import insert_if_absent, upsert
from studies.chain import append, digest_of_patches
from studies.errors import StorageError
from studies.records import Opening
from studies.storage import make_tables

BEAT_SECONDS = 10.0
"""How often a launch says that it is alive; one that missed three beats is dead."""
LEASE_SECONDS = 30.0
"""After this a lease whose holder died is free again."""


@dataclass(frozen=True)
class Launch:
    """One running driver, as others see it."""

    id: str
    host: str
    pid: int
    pid_started: float  # seconds since 1970, by its own host
    silent: float  # seconds since its last beat


@dataclass(frozen=True)
class OpeningRecord:
    """One line of the log of openings.

    Attributes:
        number: of the record.
        plan_digest: of the plan that it was opened under.
        predictions: sha256 of the predictions; None where the opening was cut off.
    """

    number: int
    plan_digest: str
    predictions: str | None

    @property
    def closed(self) -> bool:
        """Whether all was read and stored."""
        return self.predictions is not None


class Ledger:
    """The tables of one database; every method is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        """Makes the tables where there are none."""
        self._engine = engine
        make_tables(lambda: tables.METADATA.create_all(engine))

    # --- split locks --------------------------------------------------------------------------------------------

    def lock(self, study: str) -> str | None:
        """JSON text of the split lock of this name; None where none was drawn."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(tables.locks.c.text).where(tables.locks.c.study == study)).scalar()

    def keep_lock(self, study: str, digest: str, text: str) -> str:
        """Stores the lock unless another launch was first; returns the text that is stored now."""
        with self._engine.begin() as connection:
            row = {"study": study, "digest": digest, "text": text, "drawn_at": _now(connection)}
            if _added(connection, tables.locks, row):
                append(connection, "lock", study, row)
            stored = connection.execute(
                sa.select(tables.locks.c.text).where(tables.locks.c.study == study)
            ).scalar_one()
        return str(stored)

    # --- launches and what they own -----------------------------------------------------------------------------

    def begin_launch(self, study: str, host: str, pid: int, pid_started: float) -> str:
        """Registers a driver; returns its id."""
        launch = uuid.uuid4().hex
        with self._engine.begin() as connection:
            now = _now(connection)
            connection.execute(
                tables.launches.insert().values(
                    id=launch, study=study, host=host, pid=pid, pid_started=pid_started, begun_at=now, beat_at=now
                )
            )
        return launch

    def beat(self, launch: str) -> None:
        """Says that the launch is alive."""
        with self._engine.begin() as connection:
            connection.execute(
                tables.launches.update().where(tables.launches.c.id == launch).values(beat_at=_clock(connection))
            )

    def end_launch(self, launch: str) -> None:
        """Says that the launch has ended in order."""
        with self._engine.begin() as connection:
            connection.execute(
                tables.launches.update().where(tables.launches.c.id == launch).values(ended_at=_clock(connection))
            )

    def open_launches(self, study: str) -> list[Launch]:
        """Launches of this study that have not ended in order, the dead among them."""
        wanted = sa.select(tables.launches).where(
            tables.launches.c.study == study, tables.launches.c.ended_at.is_(None)
        )
        with self._engine.connect() as connection:
            now = _now(connection)
            rows = connection.execute(wanted).all()
        return [Launch(row.id, row.host, row.pid, row.pid_started, now - row.beat_at) for row in rows]

    def own(self, study: str, number: int, launch: str) -> None:
        """Hands a trial to a launch, whoever had it before."""
        row = {"study": study, "number": number, "launch": launch}
        with self._engine.begin() as connection:
            connection.execute(upsert(connection, tables.owners, [row], ["study", "number"]))

    def owners(self, study: str) -> dict[int, str]:
        """The launch that each trial of the study was last handed to."""
        wanted = sa.select(tables.owners.c.number, tables.owners.c.launch).where(tables.owners.c.study == study)
        with self._engine.connect() as connection:
            return {row.number: row.launch for row in connection.execute(wanted)}

    def owner(self, study: str, number: int) -> str | None:
        """The launch that this trial was last handed to."""
        wanted = sa.select(tables.owners.c.launch).where(
            tables.owners.c.study == study, tables.owners.c.number == number
        )
        with self._engine.connect() as connection:
            return connection.execute(wanted).scalar()

    @contextmanager
    def lease(self, name: str, holder: str) -> Iterator[None]:
        """Waits until the name is free, holds it within the block.

        A row, not an open transaction: on SQLite that would block Optuna's own connection. A holder that died is
        waited for no longer than ``LEASE_SECONDS``.

        Raises:
            StorageError: another holder kept renewing it for ten times as long.
        """
        patience = time.monotonic() + 10 * LEASE_SECONDS
        while not self._take(name, holder):
            if time.monotonic() > patience:
                raise StorageError(f"the lease on {name} was never free; is another launch stuck? See search.status")
            time.sleep(0.02)
        try:
            yield
        finally:
            with self._engine.begin() as connection:
                connection.execute(
                    tables.leases.delete().where(tables.leases.c.name == name, tables.leases.c.holder == holder)
                )

    def _take(self, name: str, holder: str) -> bool:
        with self._engine.begin() as connection:
            now = _now(connection)
            connection.execute(tables.leases.delete().where(tables.leases.c.name == name, tables.leases.c.until < now))
            row = {"name": name, "holder": holder, "until": now + LEASE_SECONDS}
            return _added(connection, tables.leases, row)

    # --- plans and openings -------------------------------------------------------------------------------------

    def freeze_plan(self, study: str, digest: str, text: str) -> None:
        """Stores the plan under its digest; storing it again changes nothing."""
        with self._engine.begin() as connection:
            row = {"digest": digest, "study": study, "text": text, "frozen_at": _now(connection)}
            if _added(connection, tables.plans, row):
                append(connection, "plan", digest, row)

    def plan(self, digest: str) -> tuple[str, datetime] | None:
        """JSON text of a plan and when it was frozen."""
        wanted = sa.select(tables.plans.c.text, tables.plans.c.frozen_at).where(tables.plans.c.digest == digest)
        with self._engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else (row.text, _moment(row.frozen_at))

    def record_opening(self, study: str, plan_digest: str, patches: Sequence[str], reason: str, by: str) -> int:
        """Writes down that the test rows are about to be read; returns the number of the record."""
        with self._engine.begin() as connection:
            values = {
                "study": study,
                "plan_digest": plan_digest,
                "reason": reason,
                "by": by,
                "patches": len(patches),
                "opened_at": _now(connection),
            }
            key = connection.execute(tables.openings.insert().values(values)).inserted_primary_key
            opening = int(key[0]) if key is not None else 0
            connection.execute(
                tables.opened_patches.insert(), [{"opening": opening, "patch": patch} for patch in patches]
            )
            append(connection, "opening", str(opening), {"id": opening, **values, "of": digest_of_patches(patches)})
        return opening

    def close_opening(self, opening: int, predictions_digest: str) -> None:
        """Writes down that all was read and stored; doing it again changes nothing."""
        with self._engine.begin() as connection:
            row = {"opening": opening, "predictions_digest": predictions_digest, "closed_at": _now(connection)}
            if _added(connection, tables.closings, row):
                append(connection, "closing", str(opening), row)

    def last_opening(self, study: str) -> OpeningRecord | None:
        """The newest opening of this study; None where there was none."""
        wanted = (
            sa.select(tables.openings.c.id, tables.openings.c.plan_digest, tables.closings.c.predictions_digest)
            .select_from(tables.openings.outerjoin(tables.closings, tables.closings.c.opening == tables.openings.c.id))
            .where(tables.openings.c.study == study)
            .order_by(tables.openings.c.id.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else OpeningRecord(row.id, row.plan_digest, row.predictions_digest)

    def openings_of_same_patches(self, study: str) -> tuple[Opening, ...]:
        """Every opening, under any name, of a patch that an opening of this study read; oldest first."""
        own = sa.select(tables.openings.c.id).where(tables.openings.c.study == study)
        patches = sa.select(tables.opened_patches.c.patch).where(tables.opened_patches.c.opening.in_(own))
        same = sa.select(tables.opened_patches.c.opening).where(tables.opened_patches.c.patch.in_(patches)).distinct()
        wanted = (
            sa.select(tables.openings, tables.closings.c.closed_at)
            .select_from(tables.openings.outerjoin(tables.closings, tables.closings.c.opening == tables.openings.c.id))
            .where(tables.openings.c.id.in_(same))
            .order_by(tables.openings.c.id)
        )
        with self._engine.connect() as connection:
            return tuple(_opening(row) for row in connection.execute(wanted).all())


def _opening(row: sa.Row[Any]) -> Opening:
    finished = None if row.closed_at is None else _moment(row.closed_at)
    return Opening(row.study, row.plan_digest, _moment(row.opened_at), finished, row.reason, row.by, row.patches)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _clock(connection: Connection) -> sa.TextClause:
    """SQL for the database's own clock, in seconds since 1970."""
    if connection.dialect.name == "sqlite":
        return sa.text("(julianday('now') - 2440587.5) * 86400.0")
    return sa.text("extract(epoch from clock_timestamp())::float8")


def _added(connection: Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Inserts a row unless one of the same key is there; whether it was inserted."""
    key = next(iter(table.primary_key.columns))
    return connection.execute(insert_if_absent(connection, table, row).returning(key)).scalar() is not None


def _now(connection: Connection) -> float:
    return float(connection.execute(sa.select(_clock(connection))).scalar_one())
