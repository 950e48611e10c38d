"""Commands of the packages as forks of a process that has imported torch, Ray and Optuna once.

A fresh ``python -m search.launch`` spends 6 seconds of CPU on importing libraries before it does anything of ours, and
the tests run a hundred of them. A fork has its own process, environment, folder, arguments, signals and exit code, and
imports every module of ours anew; only the libraries are there already.
"""

import array
import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from forked_workers import before_ray_is_imported, import_for_agents, read_environment, with_nursery

LIBRARIES = (
    "numpy", "torch", "torch.optim", "optuna", "optuna.artifacts", "optuna.storages._rdb.models",
    "ray", "ray.tune", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "psycopg", "alembic",
    "scipy.optimize", "scipy.sparse.csgraph", "scipy.spatial", "scipy.stats", "sklearn.covariance",
    "sklearn.decomposition", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection",
    "sklearn.pipeline", "statsmodels.genmod.generalized_linear_model", "statsmodels.stats.multitest",
    "statsmodels.stats.proportion", "statsmodels.stats.contingency_tables", "plotly.graph_objects", "plotly.offline",
    "jinja2", "PIL.Image", "rich.console", "rich.live", "rich.progress", "rich.table", "pydantic", "safetensors.torch",
    "psutil", "imagecodecs", "optuna.importance", "optuna_dashboard", "platformdirs", "http.server", "statistics",
    "plotly.graph_objs", "sqlalchemy.dialects.sqlite", "torch.utils.flop_counter",
)  # fmt: skip
"""What commands import; none of ours, none that starts a thread."""
_ENOUGH = 2**20  # bytes of a request
_FDS = 4  # standard input, output, error, and where the exit code is written


class Forked:
    """A command that runs, as ``subprocess.Popen`` shows it."""

    def __init__(self, arguments: Sequence[str], pid: int, output: IO[str], error: IO[str] | None, ends: int) -> None:
        self.args = list(arguments)
        self.pid = pid
        self.stdout = output
        self.stderr = error
        self.returncode: int | None = None
        self._said = {stream: b"" for stream in (output, error) if stream is not None}
        self._ends = ends  # gets the exit code

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None and select.select([self._ends], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end.

        Raises:
            subprocess.TimeoutExpired: it did not end.
        """
        if self.returncode is None:
            if not select.select([self._ends], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said on each, once it has ended and whoever else writes there has, too.

        Raises:
            subprocess.TimeoutExpired: that did not happen.
        """
        until = None if timeout is None else time.monotonic() + timeout
        reading = {stream for stream in self._said if not stream.closed}
        while reading:
            ready, _, _ = select.select(reading, [], [], _left(until))
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            for stream in ready:
                part = os.read(stream.fileno(), _ENOUGH)
                self._said[stream] += part
                if not part:
                    reading.remove(stream)
                    stream.close()
        self.wait(_left(until))
        texts = [text.decode(errors="replace") for text in self._said.values()]
        return texts[0], "".join(texts[1:])

    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing happens where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)

    def _ended(self) -> None:
        self.returncode = int(os.read(self._ends, 16).decode())
        os.close(self._ends)


class Forks:
    """The process that forks; started when the first command is."""

    def __init__(self) -> None:
        self._there: socket.socket | None = None

    def start(
        self, arguments: Sequence[str], *, folder: Path, environment: dict[str, str], apart: bool = False
    ) -> Forked:
        """Starts ``python -m MODULE ...`` in a session of its own, its output and errors in a pipe.

        Args:
            arguments: as of ``subprocess``: the interpreter, "-m", the module, its arguments.
            folder: in which it runs.
            environment: all of it.
            apart: whether errors have a pipe of their own.
        """
        there = self._connected()
        read, write = os.pipe()
        error, complain = os.pipe() if apart else (None, os.dup(write))
        ends, ended = os.pipe()
        request = {"arguments": list(arguments), "folder": str(folder), "environment": environment}
        with Path(os.devnull).open("rb") as nothing:
            fds = [nothing.fileno(), write, complain, ended]
            content = json.dumps(request).encode()
            there.sendall(len(content).to_bytes(4, "big"))
            there.sendmsg([content[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            there.sendall(content[1:])
        for fd in fds[1:]:
            os.close(fd)
        pid = int.from_bytes(_exactly(there, 4), "big")
        return Forked(arguments, pid, os.fdopen(read), None if error is None else os.fdopen(error), ends)

    def run(
        self, arguments: Sequence[str], *, folder: Path, environment: dict[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end, output and errors apart."""
        process = self.start(arguments, folder=folder, environment=environment, apart=True)
        try:
            output, error = process.communicate(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(list(arguments), process.wait(), output, error)

    def _connected(self) -> socket.socket:
        if self._there is None:
            self._there, here = socket.socketpair()
            command = [sys.executable, __file__, str(here.fileno())]
            process = subprocess.Popen(command, pass_fds=[here.fileno()], stdin=subprocess.DEVNULL)
            here.close()
            atexit.register(_end, process, self._there)
        return self._there


def _end(process: subprocess.Popen[bytes], there: socket.socket) -> None:
    there.close()  # it ends with that
    process.wait()


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def _exactly(there: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = there.recv(count - len(content))
        if not part:
            raise EOFError
        content += part
    return content


# --- in the process that forks --------------------------------------------------------------------------------------


def _serve(there: socket.socket) -> dict[str, Any]:
    """Forks for each request; returns in the fork alone, with its request."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}  # process -> where its exit code goes
    while True:
        ready, _, _ = select.select([there, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(running)
        if there not in ready:
            continue
        try:
            request, fds = _received(there)
        except EOFError:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for fd in (woken, wake, there.detach(), *running.values(), fds[3]):
                os.close(fd)
            for number, fd in enumerate(fds[:3]):
                os.dup2(fd, number)
                os.close(fd)
            return request
        for fd in fds[:3]:
            os.close(fd)
        running[pid] = fds[3]
        there.sendall(pid.to_bytes(4, "big"))


def _tell_ends(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            fd = running.pop(pid)
            with suppress(BrokenPipeError):  # the test has ended before it
                os.write(fd, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(fd)


def _received(there: socket.socket) -> tuple[dict[str, Any], list[int]]:
    size = int.from_bytes(_exactly(there, 4), "big")
    fds = array.array("i")
    first, ancillary, _, _ = there.recvmsg(1, socket.CMSG_SPACE(_FDS * fds.itemsize))
    for _, _, content in ancillary:
        fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return json.loads(first + _exactly(there, size - 1)), list(fds)


def _become(request: dict[str, Any]) -> None:
    """The command, in the fork: ``-m MODULE``, ``-c CODE`` or a script, as of the interpreter."""
    os.setsid()
    request = with_nursery(request)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    _, kind, *rest = request["arguments"]
    sys.orig_argv = request["arguments"]
    sys.argv = [kind, *rest[1:]] if kind in ("-m", "-c") else [kind, *rest]
    sys.path[0] = request["folder"] if kind in ("-m", "-c") else str(Path(kind).parent)
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if kind == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        read_environment()
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    before_ray_is_imported()
    for library in LIBRARIES:
        __import__(library)
    import_for_agents()
    gc.freeze()  # nothing of the libraries is ever garbage: a fork that looked would copy all of their memory
    _become(_serve(socket.socket(fileno=int(sys.argv[1]))))
