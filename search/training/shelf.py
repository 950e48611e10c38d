"""Folders that the processes of one node share: made by the first that needs them, kept as long as somebody uses them.

Whoever uses one holds a lock on a file in it, which the system lets go of with the process. Making, using and removing
fall under a lock of the folder above.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

LOCK, USERS = "lock", "users"


def use(entry: Path) -> IO[bytes]:
    """Says that an entry is in use until the file is closed; call it under ``locked``."""
    users = (entry / USERS).open("rb")
    fcntl.flock(users, fcntl.LOCK_SH)
    return users


def unused(entry: Path) -> bool:
    """Whether no process uses an entry; one without a file of its users was never finished."""
    with suppress(FileNotFoundError), (entry / USERS).open("rb") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def idle_entries(shelf: Path) -> list[Path]:
    """Entries that no process uses."""
    return sorted(users.parent for users in shelf.glob(f"*/{USERS}") if unused(users.parent))


def remove_idle(entry: Path) -> bool:
    """Removes an entry unless somebody uses it; whether it was removed."""
    with locked(entry.parent / LOCK):
        return drop(entry)


def drop(entry: Path) -> bool:
    """The same, under a lock that is held."""
    idle = unused(entry)
    if idle:
        shutil.rmtree(entry, ignore_errors=True)
    return idle


def make_room(sizes: dict[Path, int], size: int, limit: int) -> bool:
    """Whether so many bytes more fit; entries that nobody uses go for them.

    Args:
        sizes: bytes of each entry, the least recently used first.
        size: bytes that are wanted.
        limit: bytes of all together.
    """
    taken = dict(sizes)
    for entry in sizes:
        if sum(taken.values()) + size <= limit:
            break
        if drop(entry):
            del taken[entry]
    return sum(taken.values()) + size <= limit


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with a file that is made where there is none."""
    with path.open("ab") as file, held(file):
        yield


@contextmanager
def held(file: IO[bytes]) -> Iterator[None]:
    """Alone with an open file."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
