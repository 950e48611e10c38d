"""Numbers of a command for Prometheus: in its text format, over HTTP, on 127.0.0.1 alone."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

from search.errors import UsageError

HERE = "127.0.0.1"
PATH = "/metrics"
_NAMES = (HERE, "localhost")
"""By which it is asked; another one may be that of a page, in a browser of this machine, that has it lead here."""
_FORM = "text/plain; version=0.0.4; charset=utf-8"
_LOOK_SECONDS = 0.1  # between two looks of the server whether it is to end


@dataclass(frozen=True)
class Sample:
    """One number, and the labels that tell it from others of its family."""

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Family:
    """Numbers of one meaning.

    Attributes:
        name: of all of them.
        kind: "gauge", or "counter" where it never falls.
        about: what it says, in a line.
        samples: the numbers.
    """

    name: str
    kind: str
    about: str
    samples: tuple[Sample, ...]

    def __str__(self) -> str:
        head = f"# HELP {self.name} {self.about}\n# TYPE {self.name} {self.kind}\n"
        return head + "".join(f"{self.name}{_braced(one.labels)} {one.value!r}\n" for one in self.samples)


def _braced(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        self.text = text
        try:
            super().__init__((HERE, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"--metrics-port {port}: {HERE}:{port} cannot be listened on ({error.strerror}); name a free port"
            ) from error


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answers with all numbers."""
        if self.headers.get("Host", HERE).split(":")[0].lower() not in _NAMES:
            self.send_error(403)
        elif self.path.partition("?")[0] != PATH:
            self.send_error(404)
        else:
            self._answer(self.server.text().encode())

    do_HEAD = do_GET  # noqa: N815 - a name of http.server

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", _FORM)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a scrape every few seconds is no news."""


def check_port(port: int | None) -> None:
    """Refuses a port that cannot be listened on.

    Raises:
        UsageError: with the port.
    """
    if port is not None:
        _Server(port, str).server_close()


@contextmanager
def served(port: int | None, text: Callable[[], str]) -> Iterator[None]:
    """Within the block, ``text`` is what http://127.0.0.1:PORT/metrics shows; it is called in another thread.

    Raises:
        UsageError: the port cannot be listened on.
    """
    if port is None:
        yield
        return
    with _Server(port, text) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
