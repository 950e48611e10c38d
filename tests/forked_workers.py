"""Workers of a command's own Ray as forks of a process that has its libraries, as the command is one itself.

A worker of Ray's is an interpreter that spends 5 seconds of CPU on importing what each of them imports. Here the raylet
starts this file in its place, which has the command's nursery fork one, and stays for as long as that lives. The
nursery is a child of the command, made before it does anything, and ends with it; so workers are descendants of the
command, in its session, as they are without.
"""

import array
import json
import os
import socket
import sys
from typing import Any

_ENOUGH = 2**20  # bytes of a request
_STREAMS = (0, 1, 2)
_NURSERY = "FORKED_WORKERS"  # variable: the abstract socket of the nursery
_DIES_WITH_PARENT = 1  # of prctl


def before_ray_is_imported() -> None:
    """Sets what Ray's C++ reads in a worker, and reads but once: the first job's id, and whom it must not outlive.

    That is the raylet; a fork ends with its nursery instead.
    """
    os.environ |= {"RAY_JOB_ID": "01000000", "RAY_RAYLET_PID": str(os.getpid())}


def import_for_agents() -> None:
    """What Ray's agent of environments imports from a folder of Ray's own, which each of them would do anew."""
    import ray

    own = f"{ray.__path__[0]}/_private/runtime_env/agent/thirdparty_files"
    sys.path.insert(0, own)
    __import__("aiohttp.web")
    sys.path.remove(own)


def with_nursery(request: dict[str, Any]) -> dict[str, Any]:
    """Makes a nursery; returns in the command with its request, and in each worker with the worker's.

    Args:
        request: "arguments" as of ``subprocess``, "folder", "environment".
    """
    from ray._private import services

    name, command = f"forked-workers-{os.getpid()}", os.getpid()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"\0{name}")
    listening.listen()
    if os.fork() == 0:
        return _nurse(listening, command)
    listening.close()
    start = services.start_raylet

    def start_raylet(*arguments: Any, **named: Any) -> Any:
        """Ray's own, with this file for a worker's."""
        at = start.__code__.co_varnames.index("worker_path")
        return start(*arguments[:at], __file__, *arguments[at + 1 :], **named)

    services.start_raylet = start_raylet
    services._build_python_executable_command_memory_profileable = lambda *_, **__: [sys.executable, __file__]
    return {**request, "environment": {**request["environment"], _NURSERY: name}}


def read_environment() -> None:
    """In a worker, once it has its own environment: Ray has read another one as it was imported."""
    from ray._raylet import Config

    Config.initialize("")


def _nurse(listening: socket.socket, command: int) -> dict[str, Any]:
    """Forks a worker for each request; returns in it alone."""
    import ctypes
    import signal
    from functools import partial

    end_with_parent = partial(ctypes.CDLL(None).prctl, _DIES_WITH_PARENT, signal.SIGKILL)
    end_with_parent()
    if os.getppid() != command:
        os._exit(0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in _STREAMS:  # who waits for the end of the command's output does not wait for us
        os.dup2(nothing, stream)
    while True:
        there, _ = listening.accept()
        request, streams = _received(there)
        if os.fork() == 0:
            end_with_parent()
            listening.close()
            for stream, fd in zip(_STREAMS, streams, strict=True):
                os.dup2(fd, stream)
                os.close(fd)
            _end_with(there)
            return request
        there.close()
        for fd in streams:
            os.close(fd)


def _end_with(asked: socket.socket) -> None:
    """Ends this process with the one who asked for it, whom the raylet may kill; it waits for our end in turn."""
    import signal
    import threading

    def wait() -> None:
        asked.recv(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def _received(there: socket.socket) -> tuple[dict[str, Any], list[int]]:
    fds = array.array("i")
    content, ancillary, _, _ = there.recvmsg(_ENOUGH, socket.CMSG_SPACE(len(_STREAMS) * fds.itemsize))
    for _, _, told in ancillary:
        fds.frombytes(told)
    while not content.endswith(b"\n"):
        content += there.recv(_ENOUGH)
    return json.loads(content), list(fds)


def _worker() -> str:
    """Ray's file of a worker, found without importing Ray."""
    from importlib.util import find_spec

    (folder,) = find_spec("ray").submodule_search_locations
    return f"{folder}/_private/workers/default_worker.py"


def _ask() -> None:
    """In the process that the raylet started."""
    environment = dict(os.environ)
    own = [] if sys.argv[1].endswith(".py") else [_worker()]  # the agents of Ray come with theirs
    there = socket.socket(socket.AF_UNIX)
    there.connect(f"\0{environment.pop(_NURSERY)}")
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than all else here
    request = {"arguments": [sys.executable, *own, *sys.argv[1:]], "folder": folder, "environment": environment}
    content = json.dumps(request).encode() + b"\n"
    sent = there.sendmsg([content], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", _STREAMS))])
    there.sendall(content[sent:])
    while there.recv(1):
        pass


if __name__ == "__main__":
    _ask()
