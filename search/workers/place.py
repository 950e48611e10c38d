"""Which Ray: a folder for the sockets of one of its own, or the address of a running one; checked before it is needed.

Ray itself answers a folder or an address that does not serve with a long traceback, or not at all.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from search.command.settings import WorkerSettings
from search.command.writable import why_not_writable
from search.errors import UsageError
from search.workers._ray import greet, no_ray, running_address

OF_THE_DATABASE = ("HISTOTUNE_STORAGE", "PGPASSWORD")
"""Variables that are none of Ray's business."""
LONGEST_SOCKET = 107
"""Bytes of the name of a Unix socket."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 25.0
"""For a process that imports Ray on a busy machine and asks another one."""
_SOCKET = "session_2000-12-31_23-59-59_999999_4194304/sockets/plasma_store"  # the longest below a folder of Ray's
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def check_ray(asked: WorkerSettings) -> None:
    """Refuses a Ray that could not be started, or joined, as it is asked for.

    Raises:
        UsageError: see ``ray_folder``; or no Ray answers at the address.
    """
    if asked.ray_address is None:
        ray_folder(asked.ray_temp_dir)
    else:
        running_ray(asked.ray_address)


def ray_folder(asked: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of sockets and logs of a Ray of its own, which need not be there yet.

    It is below the one that was asked for, else where Ray has it by default, else, where that does not serve, a short
    one of the user's.

    Raises:
        UsageError: it does not serve, or none does.
    """
    if asked is not None:
        folder = asked.absolute() / "ray"  # not the folder itself: Ray makes its own writable for everyone
        if problem := why_not(folder):
            raise UsageError(f"--ray-temp-dir {asked}: {problem}; name another folder, or leave it out")
        return folder
    usual = Path(environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or "/tmp").absolute() / "ray"
    short = [Path(folder) / f"ray-{os.getuid()}" for folder in (environ.get("XDG_RUNTIME_DIR"), *_SHORT) if folder]
    serving = next((folder for folder in (usual, *short) if why_not(folder) is None), None)
    if serving is None:
        raise UsageError(f"Ray finds no folder for its sockets: {usual}: {why_not(usual)}; name one by --ray-temp-dir")
    return serving


def why_not(folder: Path) -> str | None:
    """Why a folder cannot take the sockets of a Ray, in words; None where it can."""
    longest = len(os.fsencode(folder / _SOCKET))
    if longest > LONGEST_SOCKET:
        return f"Ray's sockets would get names of {longest} bytes there, and the system takes {LONGEST_SOCKET}"
    if not re.fullmatch(r"[A-Za-z0-9 ._/-]+", str(folder)):  # it cannot encode an umlaut, and waits in vain at a quote
        return "Ray takes letters without accents, digits, blanks, dots, dashes and underscores only"
    if folder.exists() and folder.stat().st_uid not in (os.getuid(), 0):
        return f"{folder} belongs to another user"
    return why_not_writable(folder)


def running_ray(asked: str) -> tuple[str, bool]:
    """HOST:PORT of the Ray that is to be joined, and whether this machine is a node of it.

    Raises:
        UsageError: there is none, or what listens there is no Ray that lets this driver in.
    """
    address = running_address() if asked == "auto" else asked
    if address is None:
        raise UsageError(no_ray(asked, "none runs on this machine"))
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(no_ray(asked, str(error))) from error
    problem, is_node = greet(address, ANSWER_SECONDS, without_database())
    if problem is not None:
        raise UsageError(problem)
    return address, is_node


def without_database() -> dict[str, str]:
    """This process's environment, for what Ray runs."""
    return {name: value for name, value in os.environ.items() if name not in OF_THE_DATABASE}
