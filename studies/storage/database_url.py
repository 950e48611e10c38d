"""The database as a user names it: refused in one line where the URL names none, or the file belongs to others.

A URL is never quoted whole: it may hold a password.
"""

import os
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from studies.errors import StorageError

_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,9}\.?|[0-9A-Fa-f:.]{2,45}")
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TWO_ENDS = re.compile(r"://[^:/]*:[^@]*@[^?]*@")  # where a password ends is not told: what follows would be shown
_FORMS = "expected sqlite:///PATH or postgresql://USER@HOST/DATABASE"
_MAGIC = b"SQLite format 3\x00"
_OURS = "studies"  # a table that Optuna makes in every database
_CHECKED = 64 * 2**20  # bytes; a larger file is not looked through for damage, which would take seconds


def read_url(url: str) -> URL:
    """The parts of a URL of SQLite or PostgreSQL.

    Raises:
        StorageError: it cannot be read, or names no host, port or file that there could be.
    """
    if _TWO_ENDS.search(url):
        raise StorageError(
            "the storage URL has a password with @ in it, or a database: write @ as %40 and / as %2F, or leave the "
            "password out and give it in $PGPASSWORD"
        )
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            parsed.get_dialect()().create_connect_args(parsed)
    except (ArgumentError, ValueError, TypeError, ImportError, NoSuchModuleError) as error:
        raise StorageError(f"the storage URL cannot be read: {_FORMS}") from error
    if _NO_TEXT.search(url):
        raise StorageError(f"the storage URL holds signs that cannot be printed: {_FORMS}")
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite(parsed)
    elif parsed.host and not _HOST.fullmatch(parsed.host):
        raise StorageError(f"the storage URL names no host that there could be: {_FORMS}")
    elif parsed.port is not None and not 0 < parsed.port < 2**16:
        raise StorageError(f"the storage URL names the port {parsed.port}; expected one from 1 to 65535")
    return parsed


def _check_sqlite(parsed: URL) -> None:
    if parsed.host or parsed.username or parsed.password or parsed.query:
        raise StorageError(
            "the storage URL of an SQLite file takes a path only: expected three slashes and no ?, "
            "as in sqlite:///runs/studies.db"
        )
    if str(parsed.database).startswith("file:"):
        raise StorageError("the storage URL of an SQLite file takes a plain path, as in sqlite:///runs/studies.db")


def check_file(path: Path) -> None:
    """Refuses an SQLite file that is damaged or belongs to another program; one that is not there yet is well.

    Raises:
        StorageError: what was found; the file is as it was.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise StorageError(f"the database {path} is a link that leads nowhere; give the path itself") from error
        return
    except OSError as error:
        raise StorageError(f"the database {path} cannot be reached ({error.strerror}); check the path") from error
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.R_OK):
        raise StorageError(f"the database {path} is no file that you may read; give another with --storage")
    if found.st_size == 0:
        return
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise StorageError(f"{path} is no SQLite database; nothing was changed in it: give another with --storage")
    _check_tables(path, small=found.st_size <= _CHECKED)


def _check_tables(path: Path, *, small: bool) -> None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            damage = [row[0] for row in connection.execute("PRAGMA quick_check(1)")] if small else ["ok"]
    except sqlite3.OperationalError:
        return  # held by another process, which is waited for later
    except (sqlite3.DatabaseError, ValueError) as error:
        raise StorageError(_damaged(path, error)) from error
    if damage != ["ok"]:
        raise StorageError(_damaged(path, " ".join(str(damage[0]).split())))
    if tables and _OURS not in tables:
        raise StorageError(
            f"{path} is the database of another program (its tables: {', '.join(sorted(tables))[:100]}); nothing was "
            "changed in it: give another with --storage"
        )


def _damaged(path: Path, reason: object) -> str:
    return f"the database {path} is damaged ({reason}); put a backup in its place, or give another with --storage"
