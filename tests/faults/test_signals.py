"""Signals at awkward moments, and a terminal that is closed: the end is in order all the same."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tree import Process, Tree, end, epochs_stored, wait_until

LAUNCH = (
    "launch",
    "--model",
    "tiny",
    "--data",
    "synthetic:300",
    "--study",
    "signals",
    "--trials",
    "4",
    "--epochs",
    "6",
)


def log_of(tree: Tree) -> str:
    return "".join(path.read_text() for path in (tree.runs / "signals" / "logs").glob("*.log"))


def children(driver: Process) -> set[str]:
    return {child.name() for child in psutil.Process(driver.pid).children()}


@pytest.mark.parametrize("moment", ["while data are prepared", "while Ray starts"])
def test_sigterm_before_the_first_trial_ends_in_order(packages: Path, tmp_path: Path, moment: str) -> None:
    tree = Tree(packages, tmp_path / "runs", fresh=True)  # the seconds of its start are what is interrupted
    driver = tree.start(*LAUNCH)
    reached: dict[str, Callable[[], bool]] = {
        "while data are prepared": lambda: bool(log_of(tree)),
        "while Ray starts": lambda: "gcs_server" in children(driver),
    }
    wait_until(reached[moment], what=moment)
    began = time.monotonic()
    output = end(driver, signal.SIGTERM)
    print(f"\n{moment}: {time.monotonic() - began:.1f} s from SIGTERM to the end")
    assert driver.returncode == 143, output
    assert "interrupted by SIGTERM; go on with: python -m search.launch --model tiny" in output
    assert "Traceback" not in output
    assert "interrupted by SIGTERM" in log_of(tree)
    tree.run("status", "--check")


def test_a_closed_terminal_ends_the_search_in_order(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15", "TERM": "xterm"})
    terminal, its_end = pty.openpty()
    driver = subprocess.Popen(
        tree.command(*LAUNCH),
        cwd=tree.folder,
        env=tree.environ(),
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        preexec_fn=take_the_terminal,
    )
    os.close(its_end)
    os.set_blocking(terminal, False)
    shown: list[bytes] = []
    wait_until(lambda: not read_what_is_there(terminal, shown) and epochs_stored(tree) >= 2, 240, "two epochs")
    os.close(terminal)
    driver.wait(120)
    assert b"signals-tiny" in b"".join(shown)  # the live view was there
    assert driver.returncode == 129
    assert (
        log_of(tree)
        .strip()
        .splitlines()[-1]
        .partition("ERROR ")[2]
        .startswith("interrupted by SIGHUP; go on with: python -m search.launch --model tiny")
    )
    assert set(tree.status("signals-tiny")["trials"]) <= {"WAITING", "COMPLETE", "PRUNED"}


def take_the_terminal() -> None:
    """Its hang-up is then the driver's to hear, also where the tests themselves run under ``nohup``."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_what_is_there(terminal: int, shown: list[bytes]) -> None:
    """A terminal that nobody reads from stops who writes to it."""
    with suppress(BlockingIOError):
        while True:
            shown.append(os.read(terminal, 65536))
