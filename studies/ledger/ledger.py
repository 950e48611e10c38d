"""Our own tables beside Optuna's: split locks, terms, launches, leases, owners of trials, plans and openings.

Optuna's tables say what happened to a trial; these say who may act, and what was decided before the test rows were
read. All times are the database's own clock, in seconds since 1970 (UTC), so that two hosts agree on who is late.
"""

import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from studies.errors import StorageError
from studies.ledger import _tables as tables
from studies.ledger.chain import append, digest_of_patches
from studies.ledger.patches import of_same_patches
from studies.records import Look, Opening, Terms
from studies.storage.patience import waits
from studies.storage.sql import insert_if_absent, make_tables, upsert

BEAT_SECONDS = 10.0
"""How often a launch says that it is alive; one that missed three beats is dead."""
LEASE_SECONDS = 30.0
"""After this a lease whose holder died is free again."""
_LEASE_PAUSE_SECONDS = 0.02
_LEASE_TRIES = round(10 * LEASE_SECONDS / _LEASE_PAUSE_SECONDS)


@dataclass(frozen=True)
class Launch:
    """One running driver, as others see it."""

    id: str
    host: str
    pid: int
    pid_started: float  # seconds since its host was started, which no clock that is set can change
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
    """The tables of one database; every method is one short transaction.

    All but ``beat`` wait for a database that is away, and leave the same behind when they are done twice.
    """

    def __init__(self, engine: Engine) -> None:
        """Makes the tables where there are none."""
        self.engine = engine
        _make_tables(engine)

    # --- split locks --------------------------------------------------------------------------------------------

    @waits
    def lock(self, study: str) -> str | None:
        """JSON text of the split lock of this name; None where none was drawn."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(tables.locks.c.text).where(tables.locks.c.study == study)).scalar()

    @waits
    def locked(self) -> list[str]:
        """Names of comparisons that have a split lock, in order."""
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(tables.locks.c.study).order_by(tables.locks.c.study)).scalars())

    @waits
    def keep_lock(self, study: str, digest: str, text: str) -> str:
        """Stores the lock unless another launch was first; returns the text that is stored now."""
        with self.engine.begin() as connection:
            row = {"study": study, "digest": digest, "text": text, "drawn_at": _now(connection)}
            if _added(connection, tables.locks, row):
                append(connection, "lock", study, row)
            stored = connection.execute(
                sa.select(tables.locks.c.text).where(tables.locks.c.study == study)
            ).scalar_one()
        return str(stored)

    @waits
    def keep_terms(self, study: str, terms: Terms) -> None:
        """Stores what the models of this name have in common, unless another launch was first."""
        with self.engine.begin() as connection:
            _added(connection, tables.terms, {"study": study, **asdict(terms)})

    @waits
    def terms(self, study: str) -> Terms | None:
        """What they have in common; None where no launch has stored it."""
        wanted = sa.select(tables.terms).where(tables.terms.c.study == study)
        with self.engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else Terms(row.precision, row.preprocess, row.threads)

    # --- launches and what they own -----------------------------------------------------------------------------

    def begin_launch(self, study: str, host: str, pid: int, pid_started: float) -> str:
        """Registers a driver; returns its id."""
        launch = uuid.uuid4().hex
        self._register({"id": launch, "study": study, "host": host, "pid": pid, "pid_started": pid_started})
        return launch

    @waits
    def _register(self, row: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            now = _now(connection)
            _added(connection, tables.launches, {**row, "begun_at": now, "beat_at": now})

    def beat(self, launch: str) -> None:
        """Says that the launch is alive; raises at once where it cannot, as a late beat is none."""
        with self.engine.begin() as connection:
            connection.execute(
                tables.launches.update().where(tables.launches.c.id == launch).values(beat_at=_clock(connection))
            )

    @waits
    def end_launch(self, launch: str) -> None:
        """Says that the launch has ended in order."""
        with self.engine.begin() as connection:
            connection.execute(
                tables.launches.update().where(tables.launches.c.id == launch).values(ended_at=_clock(connection))
            )

    @waits
    def open_launches(self, study: str) -> list[Launch]:
        """Launches of this study that have not ended in order, the dead among them."""
        wanted = sa.select(tables.launches).where(
            tables.launches.c.study == study, tables.launches.c.ended_at.is_(None)
        )
        with self.engine.connect() as connection:
            now = _now(connection)
            rows = connection.execute(wanted).all()
        return [Launch(row.id, row.host, row.pid, row.pid_started, now - row.beat_at) for row in rows]

    @waits
    def launched(self) -> list[str]:
        """Names of comparisons that have launches which did not end in order, the dead among them."""
        wanted = sa.select(tables.launches.c.study).where(tables.launches.c.ended_at.is_(None)).distinct()
        with self.engine.connect() as connection:
            return sorted(connection.execute(wanted).scalars())

    @waits
    def own(self, study: str, number: int, launch: str) -> bool:
        """Hands a trial to a launch, whoever had it before; call it under the lease on the study.

        False, and nothing is changed, where that lease was lost: its holder slept, or the database was away for long.
        """
        row = {"study": study, "number": number, "launch": launch}
        held = (tables.leases.c.name == study, tables.leases.c.holder == launch)
        with self.engine.begin() as connection:
            if not connection.execute(tables.leases.update().where(*held).values(holder=launch)).rowcount:
                return False
            connection.execute(upsert(connection, tables.owners, row, ["study", "number"]), row)
        return True

    @waits
    def owners(self, study: str) -> dict[int, str]:
        """The launch that each trial of the study was last handed to."""
        wanted = sa.select(tables.owners.c.number, tables.owners.c.launch).where(tables.owners.c.study == study)
        with self.engine.connect() as connection:
            return {row.number: row.launch for row in connection.execute(wanted)}

    @waits
    def owner(self, study: str, number: int) -> str | None:
        """The launch that this trial was last handed to."""
        wanted = sa.select(tables.owners.c.launch).where(
            tables.owners.c.study == study, tables.owners.c.number == number
        )
        with self.engine.connect() as connection:
            return connection.execute(wanted).scalar()

    @contextmanager
    def lease(self, name: str, holder: str) -> Iterator[None]:
        """Waits until the name is free, holds it within the block.

        A row, not an open transaction: on SQLite that would block Optuna's own connection. A holder that died is
        waited for no longer than ``LEASE_SECONDS``.

        Raises:
            StorageError: another holder kept renewing it for ten times as long.
        """
        for _ in range(_LEASE_TRIES):  # counted, as a clock would count the time that the database is away
            if self._take(name, holder):
                break
            time.sleep(_LEASE_PAUSE_SECONDS)
        else:
            raise StorageError(f"the lease on {name} was never free; is another launch stuck? See search.status")
        try:
            yield
        finally:
            self._give_back(name, holder)

    @waits
    def _take(self, name: str, holder: str) -> bool:
        """Whether the holder has the lease now; one that has it already may not have been told so."""
        with self.engine.begin() as connection:
            now = _now(connection)
            connection.execute(tables.leases.delete().where(tables.leases.c.name == name, _free(now)))
            if _added(connection, tables.leases, {"name": name, "holder": holder, "until": now + LEASE_SECONDS}):
                return True
            wanted = sa.select(tables.leases.c.holder).where(tables.leases.c.name == name)
            return connection.execute(wanted).scalar() == holder

    @waits
    def _give_back(self, name: str, holder: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                tables.leases.delete().where(tables.leases.c.name == name, tables.leases.c.holder == holder)
            )

    # --- plans and openings -------------------------------------------------------------------------------------

    @waits
    def freeze_plan(self, study: str, digest: str, text: str) -> None:
        """Stores the plan under its digest; storing it again changes nothing."""
        with self.engine.begin() as connection:
            row = {"digest": digest, "study": study, "text": text, "frozen_at": _now(connection)}
            if _added(connection, tables.plans, row):
                append(connection, "plan", digest, row)

    @waits
    def plan(self, digest: str) -> tuple[str, datetime] | None:
        """JSON text of a plan and when it was frozen."""
        wanted = sa.select(tables.plans.c.text, tables.plans.c.frozen_at).where(tables.plans.c.digest == digest)
        with self.engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else (row.text, _moment(row.frozen_at))

    @waits
    def record_opening(
        self, study: str, plan_digest: str, patches: Sequence[str], reason: str, by: str, plain: Collection[str] = ()
    ) -> int:
        """Writes down that the test rows are about to be read; returns the number of the record.

        ``by`` names the process: what it has written down, but has not closed yet, is not written again. By patches
        that are ``plain``, of one colour, no opening is counted: other data have the same.
        """
        telling = [patch for patch in patches if patch not in plain]
        with self.engine.begin() as connection:
            begun = connection.execute(_begun(study, plan_digest, by)).scalar()
            if begun is not None:
                return int(begun)
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
            if telling:
                connection.execute(
                    tables.opened_patches.insert(), [{"opening": opening, "patch": patch} for patch in telling]
                )
            append(connection, "opening", str(opening), {"id": opening, **values, "of": digest_of_patches(telling)})
        return opening

    @waits
    def close_opening(self, opening: int, predictions_digest: str) -> None:
        """Writes down that all was read and stored; doing it again changes nothing."""
        with self.engine.begin() as connection:
            row = {"opening": opening, "predictions_digest": predictions_digest, "closed_at": _now(connection)}
            if _added(connection, tables.closings, row):
                append(connection, "closing", str(opening), row)

    @waits
    def record_look(self, study: str, kind: str, words: str, patches: int, by: str) -> None:
        """Writes down that sealed patches of a study were looked at in another way than by an opening.

        Args:
            study: name of the comparison that has sealed them.
            kind: "exploration" or "prediction".
            words: how, as a part of a sentence.
            patches: how many of the sealed ones.
            by: host and process; the same look is not written twice.
        """
        values = {"study": study, "kind": kind, "words": words, "patches": patches, "by": by}
        with self.engine.begin() as connection:
            if connection.execute(sa.select(tables.looks.c.id).filter_by(**values)).first() is not None:
                return
            row = {**values, "looked_at": _now(connection)}
            key = connection.execute(tables.looks.insert().values(row)).inserted_primary_key
            look = int(key[0]) if key is not None else 0
            append(connection, "look", str(look), {"id": look, **row})

    @waits
    def looks(self, study: str) -> tuple[Look, ...]:
        """Every look at sealed patches of a study that was no opening, oldest first."""
        wanted = sa.select(tables.looks).where(tables.looks.c.study == study).order_by(tables.looks.c.id)
        with self.engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return tuple(Look(row.kind, row.words, row.patches, row.by, _moment(row.looked_at)) for row in rows)

    @waits
    def last_opening(self, study: str) -> OpeningRecord | None:
        """The newest opening of this study; None where there was none."""
        wanted = (
            sa.select(tables.openings.c.id, tables.openings.c.plan_digest, tables.closings.c.predictions_digest)
            .select_from(tables.openings.outerjoin(tables.closings, tables.closings.c.opening == tables.openings.c.id))
            .where(tables.openings.c.study == study)
            .order_by(tables.openings.c.id.desc())
            .limit(1)
        )
        with self.engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else OpeningRecord(row.id, row.plan_digest, row.predictions_digest)

    @waits
    def was_opened(self, study: str) -> bool:
        """Whether an opening of this study was closed, though a later one may have been cut off."""
        of_it = sa.select(tables.openings.c.id).where(tables.openings.c.study == study)
        with self.engine.connect() as connection:
            return (
                connection.execute(sa.select(tables.closings).where(tables.closings.c.opening.in_(of_it))).first()
                is not None
            )

    @waits
    def numbers_of_openings(self, study: str) -> tuple[int, ...]:
        """Numbers of the openings, under any name, of a patch that an opening of this study read."""
        with self.engine.connect() as connection:
            return tuple(sorted(connection.execute(of_same_patches(study)).scalars()))

    @waits
    def openings_of_same_patches(self, study: str) -> tuple[Opening, ...]:
        """Every opening, under any name, of a patch that an opening of this study read; oldest first."""
        wanted = (
            sa.select(tables.openings, tables.closings.c.closed_at)
            .select_from(tables.openings.outerjoin(tables.closings, tables.closings.c.opening == tables.openings.c.id))
            .where(tables.openings.c.id.in_(of_same_patches(study)))
            .order_by(tables.openings.c.id)
        )
        with self.engine.connect() as connection:
            return tuple(_opening(row) for row in connection.execute(wanted).all())


@waits
def _make_tables(engine: Engine) -> None:
    make_tables(lambda: tables.METADATA.create_all(engine))


def _free(now: float) -> sa.ColumnElement[bool]:
    """Leases that have run out, or that end later than any could: the clock was set back."""
    return sa.or_(tables.leases.c.until < now, tables.leases.c.until > now + LEASE_SECONDS + 1)


def _begun(study: str, plan_digest: str, by: str) -> sa.Select[Any]:
    """The number of an opening that was recorded, but not closed."""
    same = {"study": study, "plan_digest": plan_digest, "by": by}
    closed = sa.select(tables.closings.c.opening)
    return sa.select(tables.openings.c.id).filter_by(**same).where(tables.openings.c.id.not_in(closed))


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
