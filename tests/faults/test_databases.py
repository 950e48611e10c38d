"""Databases that go away in mid-search: the search waits, says so once, goes on; nothing is lost or doubled."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from server import Server
from tree import Process, Tree, end, wait_until

WAITING, BACK = "for the database", "the database is back after"
TRIALS, EPOCHS = 4, 4
COMMAND = ("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "away", "--pruner", "none")
COUNTS = ("--trials", str(TRIALS), "--epochs", str(EPOCHS), "--workers", "2")


@contextmanager
def searching(tree: Tree, *more: str) -> Iterator[Process]:
    """A search whose first epoch is in the database; nothing of it is left after the block."""
    driver = tree.start(*COMMAND, *COUNTS, *more)
    try:
        wait_until(lambda: driver.poll() is not None or has_trained(tree), 300, "an epoch")
        assert driver.poll() is None, driver.communicate()[0]
        yield driver
    finally:
        driver.kill()
        driver.communicate()


def has_trained(tree: Tree) -> bool:
    """Workers take seconds to begin: a database that is away before is not missed."""
    if not any("begins" in log.read_text() for log in (tree.runs / "away" / "logs").glob("*.log")):
        return False
    url = tree.storage or f"sqlite:///{tree.runs}/studies.db"
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            count = connection.execute(sqlalchemy.text("select count(*) from trial_intermediate_values")).scalar()
    finally:
        engine.dispose()
    return bool(count)


def check_whole(tree: Tree) -> None:
    """Exactly the trials that were asked for, each with all its epochs, and no invariant broken."""
    entry = tree.status("away-tiny")
    assert entry["trials"] == {"COMPLETE": TRIALS}
    assert "1 study checked, 0 problems" in tree.run("status", "--check").stdout


def test_postgresql_that_is_stopped_for_20_seconds_is_waited_for(
    packages: Path, tmp_path: Path, server: Server
) -> None:
    tree = Tree(packages, tmp_path / "runs", storage=server.url, environment={"TINY_PAUSE": "0.15"})
    with searching(tree) as driver:
        server.stop()
        time.sleep(20)
        server.start()
        told, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, told
    assert told.count(WAITING) == told.count(BACK) == 1
    assert "Traceback" not in told
    check_whole(tree)


def test_postgresql_that_is_gone_for_good_ends_the_search_in_order(
    packages: Path, tmp_path: Path, server: Server
) -> None:
    tree = Tree(packages, tmp_path / "runs", storage=server.url, environment={"TINY_PAUSE": "0.15"})
    with searching(tree, "--storage-timeout", "3") as driver:
        server.stop()
        told, _ = driver.communicate(timeout=200)
    assert driver.returncode == 1, told
    assert "was waited for in vain for" in told
    assert "What it held before is kept; go on with: python -m search.launch --model tiny" in told
    assert "Traceback" not in told
    server.start()
    tree.run(*COMMAND, *COUNTS)
    check_whole(tree)


def test_ctrl_c_while_the_database_is_away_ends_at_once(packages: Path, tmp_path: Path, server: Server) -> None:
    tree = Tree(packages, tmp_path / "runs", storage=server.url, environment={"TINY_PAUSE": "0.15"})
    with searching(tree) as driver:
        server.stop()
        time.sleep(5)
        told = end(driver, signal.SIGINT)
    assert driver.returncode == 130, told
    assert "go on with: python -m search.launch --model tiny" in told


def test_sqlite_that_another_process_holds_is_waited_for(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15"})
    with searching(tree) as driver:
        holder = sqlite3.connect(tree.runs / "studies.db", isolation_level=None, timeout=60)
        holder.execute("BEGIN EXCLUSIVE")
        time.sleep(30)
        holder.execute("COMMIT")
        holder.close()
        told, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, told
    assert told.count(WAITING) == told.count(BACK) == 1
    assert "database is locked" in told
    check_whole(tree)
