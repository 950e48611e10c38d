"""Numbers for Prometheus: their form, and who is answered."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from search.command.scraped import Family, Sample, check_port, served
from search.errors import UsageError

TRIALS = Family("trials", "gauge", "By state.", (Sample(3, {"study": 'a "b" \\ c\nd'}), Sample(0.5, {})))


@pytest.fixture
def port() -> Iterator[int]:
    """At which ``TRIALS`` are served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    with served(number, lambda: str(TRIALS)):
        yield number


def answer(port: int, path: str = "/metrics", host: str | None = None, method: str = "GET") -> tuple[int, str]:
    headers = {"Host": host} if host else {}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=10) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, ""


def test_numbers_have_the_form_that_prometheus_reads(port: int) -> None:
    assert answer(port) == (
        200,
        "# HELP trials By state.\n"
        "# TYPE trials gauge\n"
        'trials{study="a \\"b\\" \\\\ c\\nd"} 3\n'
        "trials 0.5\n",
    )  # fmt: skip


def test_only_one_page_is_there_and_only_under_the_machine_s_own_name(port: int) -> None:
    assert answer(port, "/")[0] == 404
    assert answer(port, "/metrics?name=trials") == answer(port)
    assert answer(port, method="HEAD") == (200, "")
    assert answer(port, host=f"localhost:{port}")[0] == 200
    assert answer(port, host=f"evil.example:{port}") == (403, "")


def test_a_port_that_is_taken_is_refused_and_free_again_after_the_block(port: int) -> None:
    with pytest.raises(
        UsageError, match=rf"--metrics-port {port}: 127.0.0.1:{port} cannot be listened on \(.+\); name"
    ):
        check_port(port)
    assert any(thread.name == "metrics" for thread in threading.enumerate())


def test_without_a_port_nothing_listens() -> None:
    check_port(None)
    with served(None, lambda: "x"):
        assert not any(thread.name == "metrics" for thread in threading.enumerate())
