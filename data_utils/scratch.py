"""Folders for what a process needs no longer than itself; their names say whose they are, for when it is killed."""

import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def scratch_in(folder: Path, kind: str) -> Iterator[Path]:
    """A new folder ``.KIND-HOST-PID`` in ``folder``, removed after the block; those of dead processes go before it."""
    for left in dead_scratch_in(folder, kind):
        shutil.rmtree(left, ignore_errors=True)
    path = folder / f".{kind}-{socket.gethostname()}-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def dead_scratch_in(folder: Path, kind: str) -> list[Path]:
    """Such folders of processes of this host that were killed."""
    return of_dead_processes(folder.glob(f".{kind}-{socket.gethostname()}-*"))


def of_dead_processes(paths: Iterable[Path]) -> list[Path]:
    """Those whose name ends with a process id that no other process has now."""
    found = []
    for path in paths:
        process = path.name.rpartition("-")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not psutil.pid_exists(int(process))):
            found.append(path)
    return found
