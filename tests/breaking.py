"""A database whose connections break as drawn: before a statement, or between a COMMIT and the answer to it."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from optuna.storages import RDBStorage


def lose_answers(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch, drawn: Iterator[bool]) -> list[int]:
    """Some COMMITs are done, and then the connection breaks; one entry for each."""
    commit = storage.engine.dialect.do_commit
    lost: list[int] = []

    def lossy(connection: Any) -> None:
        commit(connection)
        if next(drawn):
            lost.append(1)
            raise broken(storage)

    monkeypatch.setattr(storage.engine.dialect, "do_commit", lossy)
    return lost


def lose_statements(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch, drawn: Iterator[bool]) -> list[int]:
    """Before some statements the connection breaks; one entry for each."""
    execute = storage.engine.dialect.do_execute
    lost: list[int] = []

    def away(*asked: Any) -> None:
        if next(drawn):
            lost.append(1)
            raise broken(storage)
        execute(*asked)

    monkeypatch.setattr(storage.engine.dialect, "do_execute", away)
    return lost


def broken(storage: RDBStorage) -> Exception:
    if storage.engine.dialect.name == "postgresql":
        return psycopg.errors.AdminShutdown("terminating connection")
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error
