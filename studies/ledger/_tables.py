"""Our own tables beside Optuna's, as both databases have them; some can only grow.

Triggers refuse UPDATE and DELETE where a row says what was decided or done before the test rows were read, and keep a
row from an INSERT that would replace it. They keep the application and a careless hand from it, not the owner of the
database, who may drop a table: for that there is the chain of hashes (``studies.ledger.chain``).
"""

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection

METADATA = sa.MetaData()
locks = sa.Table(
    "histotune_locks",
    METADATA,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("drawn_at", sa.Float, nullable=False),
)
patches = sa.Table(
    "histotune_patches",
    METADATA,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("train", sa.LargeBinary, nullable=False),  # sha256 of pixels, 32 bytes each; so in the other parts
    sa.Column("validation", sa.LargeBinary, nullable=False),
    sa.Column("test", sa.LargeBinary, nullable=False),
)
terms = sa.Table(
    "histotune_terms",
    METADATA,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("precision", sa.String(16), nullable=False),
    sa.Column("preprocess", sa.String(32), nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
)
launches = sa.Table(
    "histotune_launches",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study", sa.String(255), nullable=False, index=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_started", sa.Float, nullable=False),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("beat_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
hosts = sa.Table(
    "histotune_hosts",
    METADATA,
    sa.Column("launch", sa.String(32), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)
leases = sa.Table(
    "histotune_leases",
    METADATA,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)
owners = sa.Table(
    "histotune_owners",
    METADATA,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("launch", sa.String(32), nullable=False),
)
plans = sa.Table(
    "histotune_plans",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("study", sa.String(255), nullable=False, index=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("frozen_at", sa.Float, nullable=False),
)
openings = sa.Table(
    "histotune_openings",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("study", sa.String(255), nullable=False),
    sa.Column("plan_digest", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("patches", sa.Integer, nullable=False),
    sa.Column("opened_at", sa.Float, nullable=False),
)
closings = sa.Table(
    "histotune_closings",
    METADATA,
    sa.Column("opening", sa.Integer, primary_key=True),
    sa.Column("predictions_digest", sa.String(64), nullable=False),
    sa.Column("closed_at", sa.Float, nullable=False),
)
opened_patches = sa.Table(
    "histotune_opened_patches",
    METADATA,
    sa.Column("opening", sa.Integer, primary_key=True),
    sa.Column("patch", sa.String(64), primary_key=True, index=True),
)
looks = sa.Table(
    "histotune_looks",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("study", sa.String(255), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("patches", sa.Integer, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("looked_at", sa.Float, nullable=False),
)
chain = sa.Table(
    "histotune_chain",
    METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("link", sa.String(64), nullable=False),
    sa.UniqueConstraint("kind", "key"),
)

APPEND_ONLY = (locks, patches, plans, openings, closings, opened_patches, looks, chain)
_WRITTEN_AGAIN = (locks, patches, plans, closings)  # by ourselves, where a row that is there is to stay
_SQLITE = """CREATE TRIGGER IF NOT EXISTS {table}_no_{operation} BEFORE {operation} ON {table}
BEGIN SELECT RAISE(ABORT, 'histotune: {table} is append-only'); END"""
# INSERT OR REPLACE takes the old row away without a DELETE that a trigger would see
_SQLITE_KEPT = """CREATE TRIGGER IF NOT EXISTS {table}_no_replacement BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN SELECT RAISE({answer}); END"""
_REFUSE = """CREATE OR REPLACE FUNCTION histotune_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING MESSAGE = 'histotune: ' || TG_TABLE_NAME || ' is append-only'; END $$"""
_POSTGRESQL = """CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION histotune_refuse()"""


def _guard(table: sa.Table, connection: Connection, **_: object) -> None:
    """Makes the triggers of PostgreSQL, right after the table."""
    if connection.dialect.name == "postgresql":
        for statement in (_REFUSE, _POSTGRESQL.format(table=table.name)):
            connection.exec_driver_sql(statement)


def _guard_all(_: sa.MetaData, connection: Connection, **__: object) -> None:
    """Makes the triggers of SQLite that are not there; a database of an earlier version has fewer."""
    if connection.dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for statement in _on_sqlite(table):
                connection.exec_driver_sql(statement)


def _on_sqlite(table: sa.Table) -> list[str]:
    answer = "IGNORE" if table in _WRITTEN_AGAIN else f"ABORT, 'histotune: {table.name} is append-only'"
    same = [" AND ".join(f'"{name}" = NEW."{name}"' for name in key) for key in _keys(table)]
    return [
        *(_SQLITE.format(table=table.name, operation=operation) for operation in ("UPDATE", "DELETE")),
        _SQLITE_KEPT.format(table=table.name, same=" OR ".join(f"({one})" for one in same), answer=answer),
    ]


def _keys(table: sa.Table) -> list[list[str]]:
    """The columns of each key by which a row could replace another."""
    unique = [one for one in table.constraints if isinstance(one, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    return [[column.name for column in one.columns] for one in unique]


for _table in APPEND_ONLY:
    event.listen(_table, "after_create", _guard)
event.listen(METADATA, "after_create", _guard_all)
