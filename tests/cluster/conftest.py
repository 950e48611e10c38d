"""Hosts with a network of their own, that are nodes of one Ray; they are made once for a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from hosts import Hosts, why_none
from server import new_database


@pytest.fixture(scope="module")
def database(postgresql: str) -> str:
    """URL of an empty database, by the server's socket."""
    return new_database(postgresql)


@pytest.fixture(scope="module")
def hosts(database: str) -> Iterator[Hosts]:
    """The head alone, from which the database is reached; a test adds others."""
    if problem := why_none():
        pytest.skip(f"no hosts can be made here, which takes root on Linux, and iproute2: {problem}")
    hosts = Hosts()
    try:
        hosts.begin(Path(str(sqlalchemy.make_url(database).query["host"])) / ".s.PGSQL.5432")
        yield hosts
    finally:
        hosts.close()
