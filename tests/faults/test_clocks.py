"""Clocks that are set and launches that sleep: each trial is finished once, whatever the time is said to be."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tree import Process, Tree, copy_tree, stored_values, wait_until

COMMAND = ("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "clocks", "--pruner", "none")
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))  # Ray has two dozen threads in a driver
# The clock of the command alone is set, and Ray runs already: a child that the command forks while another thread asks
# for the time inherits the library's lock, and waits for it for ever. libfaketime 0.9.10 refuses the absolute sleep
# that Python's time.sleep asks for; a relative one it lets pass.
ONLY_THE_COMMAND = """
import os
if os.environ.pop("LD_PRELOAD", None):
    import select, time
    time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


class Clocked(Tree):
    """A tree whose launches are ended after the test."""

    started: list[Process]

    def search(self, trials: int, *more: str, **clock: str) -> Process:
        """A launch with one worker."""
        other = Tree(self.folder, self.runs, self.storage, {**self.environment, **clock}, fresh=bool(clock))
        command = (*COMMAND, "--trials", str(trials), "--epochs", "3", "--workers", "1", "--cpus-per-worker", "1")
        self.started.append(other.start(*command, *more))
        return self.started[-1]

    def wait_for_epochs(self, number: int) -> None:
        """Until so many are in the database."""
        driver = self.started[-1]
        try:
            wait_until(lambda: self.epochs() >= number or driver.poll() is not None, 300, f"epoch {number}")
        except AssertionError as late:
            driver.kill()
            raise AssertionError(f"{late}; the driver said: {driver.communicate()[0]}") from late
        assert driver.poll() is None, driver.communicate()[0]

    def epochs(self) -> int:
        try:
            return sum(len(steps) for steps in stored_values(self.runs / "studies.db").values())
        except sqlite3.OperationalError:
            return 0  # the database is being made


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Clocked]:
    copied = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree = Clocked(copied.folder, copied.runs, environment={"TINY_PAUSE": "0.2"})
    tree.started = []
    yield tree
    for driver in tree.started:
        driver.kill()
        driver.communicate()


@pytest.fixture
def faketime() -> str:
    if not LIBRARIES:
        pytest.skip("no libfaketime: apt-get install faketime")
    return str(LIBRARIES[0])


def clock(tree: Tree, faketime: str, setting: Path) -> dict[str, str]:
    """Environment of a command whose clock is as a file says, which may change."""
    (tree.folder / "sitecustomize.py").write_text(ONLY_THE_COMMAND)
    return {
        "LD_PRELOAD": faketime,
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_CACHE_DURATION": "1",  # seconds between two looks at the file
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def ended(driver: Process) -> str:
    told, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, told
    return told


def check_whole(tree: Tree, trials: int) -> None:
    assert tree.status("clocks-tiny")["trials"] == {"COMPLETE": trials}
    assert "1 study checked, 0 problems" in tree.run("status", "--check").stdout


def put_to_sleep(driver: Process, tree: Tree) -> None:
    """Not while it holds the database: then everybody would have to wait for it, as for any other process."""
    while True:
        os.kill(driver.pid, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(tree.runs / "studies.db", timeout=0.5)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                return
        except sqlite3.OperationalError:
            os.kill(driver.pid, signal.SIGCONT)
            time.sleep(0.2)


def beat_ten_times_as_often(tree: Tree) -> None:
    """So that three missed beats are 3 seconds."""
    ledger = tree.folder / "studies" / "ledger" / "ledger.py"
    quick = ledger.read_text().replace("BEAT_SECONDS = 10.0", "BEAT_SECONDS = 1.0")
    assert quick != ledger.read_text()
    ledger.write_text(quick)


def test_a_launch_that_slept_drops_what_another_one_took_over(tree: Clocked) -> None:
    beat_ten_times_as_often(tree)
    sleeper = tree.search(2)
    tree.wait_for_epochs(1)
    put_to_sleep(sleeper, tree)
    time.sleep(4)
    assert "2 COMPLETE" in ended(tree.search(2))
    before = tree.epochs()
    os.kill(sleeper.pid, signal.SIGCONT)
    assert "LOST" in ended(sleeper)
    assert tree.epochs() == before == 2 * 3
    check_whole(tree, 2)


def test_a_clock_that_is_set_forward_and_back_in_mid_search_changes_nothing(
    tree: Clocked, tmp_path: Path, faketime: str, cluster: dict[str, Any]
) -> None:
    setting = tmp_path / "clock"
    setting.write_text("+0")
    driver = tree.search(3, "--ray-address", str(cluster["address"]), **clock(tree, faketime, setting))
    tree.wait_for_epochs(1)
    setting.write_text("+2h")
    tree.wait_for_epochs(4)
    setting.write_text("-2h")
    assert "LOST" not in ended(driver)
    assert moments(tree) > 3600  # the clock was set indeed
    check_whole(tree, 3)


def moments(tree: Tree) -> float:
    """Seconds between the earliest and the latest time that the database noted of trials."""
    with closing(sqlite3.connect(f"file:{tree.runs}/studies.db?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "select strftime('%s', datetime_start), strftime('%s', datetime_complete) from trials"
        )
        seconds = [int(value) for row in rows for value in row]
    return max(seconds) - min(seconds)


def test_two_launches_whose_clocks_differ_by_hours_share_the_work(
    tree: Clocked, tmp_path: Path, faketime: str, postgresql_url: str, cluster: dict[str, Any]
) -> None:
    setting = tmp_path / "clock"
    setting.write_text("+3h")
    tree.storage = postgresql_url  # the database's own clock counts
    here = ("--ray-address", str(cluster["address"]))
    right, ahead = tree.search(5, *here), tree.search(5, *here, **clock(tree, faketime, setting))
    assert "LOST" not in ended(right)
    assert "LOST" not in ended(ahead)
    check_whole(tree, 5)
