"""``python -m search.dashboard``: optuna-dashboard on the database of the studies."""

import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from search.command.outcome import run_command
from search.command.settings import DashboardSettings, parse_dashboard
from search.command.signals import Signals
from search.errors import Interrupted, UsageError
from studies.secrets import masked

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

logger = logging.getLogger(__name__)
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a slow page holds up no other."""

    daemon_threads = True


class ServerOnIPv6(Server):
    """The same for an address with colons."""

    address_family = socket.AF_INET6


class QuietHandler(WSGIRequestHandler):
    """Requests are logged, not written into the terminal."""

    def log_message(self, format: str, *args: Any) -> None:
        """One request."""
        logger.debug(format, *args)


def make_dashboard(storage: "BaseStorage", artifacts: Path, host: str, port: int) -> WSGIServer:
    """A server that listens, but does not serve yet; ``artifacts`` holds the files that a report left for it.

    Raises:
        UsageError: the address cannot be listened on.
    """
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import wsgi

    kind = ServerOnIPv6 if ":" in host else Server
    page = wsgi(storage, artifact_store=FileSystemArtifactStore(artifacts))
    try:
        return make_server(host, port, page, server_class=kind, handler_class=QuietHandler)
    except OSError as error:
        raise UsageError(
            f"{host} port {port} cannot be listened on: {error.strerror}; give another with --port"
        ) from error


def run(settings: DashboardSettings) -> None:
    """Serves until a signal comes; says where on stdout."""
    from studies.report.dashboard import ARTIFACTS
    from studies.storage.definition import own_studies
    from studies.storage.studies import open_existing

    storage = open_existing(settings.common.storage, served=True)
    with make_dashboard(storage, settings.common.runs / ARTIFACTS, settings.host, settings.port) as server:
        for line in _notes(settings, studies=len(own_studies(storage))):
            sys.stderr.write(f"{line}\n")
        sys.stdout.write(f"{_page(settings)}  (Ctrl-C ends it)\n")
        sys.stdout.flush()
        server.serve_forever()


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    settings = parse_dashboard(argv)
    with Signals(go_on="").installed():
        try:
            run(settings)
        except Interrupted as interrupted:  # the way to end it, so all is well
            logger.debug("ended by %s", signal.Signals(interrupted.signal).name)
    return 0


def _notes(settings: DashboardSettings, studies: int) -> list[str]:
    """What a user should know before opening the page."""
    notes = []
    if not _is_local(settings.host):
        where = "any address of this machine," if settings.host in _LOOPBACK else settings.host
        notes.append(
            f"warning: the dashboard has no password; whoever reaches {where} port {settings.port} can read "
            "and delete every study. Prefer 127.0.0.1 and an SSH tunnel"
        )
    if not studies:
        notes.append(
            f"no study of HistoTune in {masked(settings.common.storage)} yet; it will show when a search begins"
        )
    return notes


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _page(settings: DashboardSettings) -> str:
    """Where the page is; every address, as in a container, includes that of this machine alone."""
    host = _LOOPBACK.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"


if __name__ == "__main__":
    sys.exit(run_command(main))
