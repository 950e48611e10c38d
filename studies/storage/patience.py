"""Waits for a database that went away or that another process holds; the only place where a call is tried again.

A call is one transaction and is tried from its beginning. The connection may have broken between COMMIT and the answer
to it, so whatever a call writes must be the same when it is written a second time.
"""

import logging
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from studies.errors import StorageError, StorageGoneError, StorageLostError
from studies.secrets import masked, without_password

_PAUSE_SECONDS = 1.0
_LOOKS_FOR_SIGNALS = 4  # in each pause
_OPTION = "patience"

_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)
_POSTGRESQL = ("08", "53", "57P", "40")
"""Connection lost; no room on the disk or for a connection; stopping or starting; undone as others were in the way."""
_SQLITE_LOST = (
    sqlite3.SQLITE_READONLY,  # also of a file that was removed or replaced
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
)
_POSTGRESQL_LOST = ("42P01", "3D000", "3F000", "42501", "28", "25006", "58", "XX")
"""No such table, database or schema; nothing may be written, or nobody may enter; its disk or its files are broken."""
_OTHER_TABLES = re.compile(r"no such column|has no column|column .* does not exist")
_STARTING = ("starting up", "shutting down", "recovery", "not yet accepting", "too many clients", "connection slots")

Made = TypeVar("Made")
Asked = ParamSpec("Asked")
Owner = TypeVar("Owner")


class Patience:
    """How long all calls on one database wait for it; one line is told when it goes, and one when it is back.

    Attributes:
        check: called in the main thread while it waits; raises where a signal has come.
    """

    def __init__(self, url: str, seconds: float) -> None:
        """``url`` may hold a password; nothing that is told does. After ``seconds`` of absence calls fail."""
        self.check: Callable[[], None] = lambda: None
        self._seconds = seconds
        self._url = url
        self._lock = threading.Lock()
        self._since: float | None = None  # monotonic seconds; None while all is well
        self._times, self._away = 0, 0.0  # absences so far, and seconds of those that are over
        self._given_up = False

    def __call__(self, call: Callable[[], Made]) -> Made:
        """What ``call`` gives, in the end.

        Raises:
            StorageGoneError: the database has been away for too long.
            StorageError: its tables are not those that are read here.
        """
        while True:
            try:
                result = call()
            except (SQLAlchemyError, StorageInternalError) as error:
                reason = why_away(error)
                if reason is None:
                    self._refuse_other_tables(error)
                    raise
                self._wait(without_password(reason, self._url), error)
            else:
                self._note_return()
                return result

    def _wait(self, reason: str, error: Exception) -> None:
        if self._note_absence():
            _tell(f"waiting up to {self._seconds:g} s for the database {masked(self._url)}: {reason}")
        away = time.monotonic() - (self._since or time.monotonic())
        if away >= self._seconds:
            self._given_up = True  # for good: where reads work and writes do not, each would wait for its whole time
            raise StorageGoneError(masked(self._url), away, reason) from error
        for _ in range(_LOOKS_FOR_SIGNALS):
            if threading.current_thread() is threading.main_thread():
                self.check()
            time.sleep(_PAUSE_SECONDS / _LOOKS_FOR_SIGNALS)

    def waited(self) -> tuple[int, float]:
        """How often the database was away, and for how many seconds together, an absence that lasts included."""
        with self._lock:
            lasts = 0.0 if self._since is None else time.monotonic() - self._since
            return self._times, self._away + lasts

    def lost(self, reason: str) -> StorageLostError:
        """What is raised where the database is not what it was."""
        return StorageLostError(masked(self._url), without_password(reason, self._url))

    def _refuse_other_tables(self, error: Exception) -> None:
        found = _of_driver(error)
        said = "" if found is None else _words(found)
        if _OTHER_TABLES.search(said):
            raise StorageError(
                f"the database {masked(self._url)} has other tables than are read here: "
                f"{without_password(said, self._url)}. Another version made them, or another program: put a backup in "
                "its place, or give another with --storage"
            ) from error

    def _note_absence(self) -> bool:
        """Whether this is the first call to find the database away."""
        with self._lock:
            first = self._since is None
            if first:
                self._since = time.monotonic()
                self._times += 1
        return first

    def _note_return(self) -> None:
        if self._since is None or self._given_up:
            return
        with self._lock:
            since, self._since = self._since, None
            away = 0.0 if since is None else time.monotonic() - since
            self._away += away
        if since is not None:
            _tell(f"the database is back after {away:.0f} s")


def _tell(line: str) -> None:
    """Into the log, where there is one, and onto the terminal."""
    logger = logging.getLogger("histotune")
    if logger.hasHandlers():
        logger.warning("%s", line)
    sys.stderr.write(f"{line}\n")


def why_away(error: BaseException | None) -> str | None:
    """The driver's words where a database cannot be reached or is held by another process; None for other errors."""
    found = _of_driver(error)
    return None if found is None or not (found.connection_invalidated or _passes(found)) else _words(found)


def why_lost(error: BaseException | None) -> str | None:
    """The driver's words where a database is not what it was; None for other errors."""
    found = _of_driver(error)
    return None if found is None or not _is_lost(found) else _words(found)


def _of_driver(error: BaseException | None) -> DBAPIError | None:
    while isinstance(error, SQLAlchemyError | StorageInternalError) and not isinstance(error, DBAPIError):
        error = error.__cause__ or error.__context__
    return error if isinstance(error, DBAPIError) else None


def _words(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def _is_lost(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        return code in _SQLITE_LOST or "no such table" in str(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRESQL_LOST)
    return isinstance(error, OperationalError)  # nobody is let in


def _passes(error: DBAPIError) -> bool:
    """Whether it is in the nature of an error to pass by itself."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRESQL)
    said = str(error.orig)  # by a server that was not reached, or that refused
    refused = "FATAL" in said and not any(words in said for words in _STARTING)
    return isinstance(error, OperationalError) and not refused


def set_patience(engine: Engine, patience: Patience) -> None:
    """Lets all calls on a database share one patience."""
    engine.update_execution_options(**{_OPTION: patience})


def interrupt(engine: Engine, check: Callable[[], None]) -> None:
    """Lets ``check`` end the waiting for a database, by what it raises."""
    patience = _patience_of(engine)
    if patience is not None:
        patience.check = check


def waited(engine: Engine) -> tuple[int, float]:
    """How often a database was away, and for how many seconds together; by whoever of this process waited for it."""
    patience = _patience_of(engine)
    return (0, 0.0) if patience is None else patience.waited()


def _patience_of(engine: Engine) -> Patience | None:
    found = engine.get_execution_options().get(_OPTION)
    return found if isinstance(found, Patience) else None


def waits(
    call: Callable[Concatenate[Owner, Asked], Made],
) -> Callable[Concatenate[Owner, Asked], Made]:
    """Makes a call on an engine, or on something that has an ``engine``, wait for its database.

    Raises:
        StorageGoneError: it was waited for in vain.
        StorageLostError: it is not what it was.
    """

    @wraps(call)
    def patient(owner: Owner, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Made:
        engine: Any = owner if isinstance(owner, Engine) else getattr(owner, "engine", None)
        patience = _patience_of(engine)
        if patience is None:
            return call(owner, *args, **kwargs)
        try:
            return patience(lambda: call(owner, *args, **kwargs))
        except (SQLAlchemyError, StorageInternalError) as error:
            reason = why_lost(error)
            if reason is None:
                raise
            raise patience.lost(reason) from error

    return patient
