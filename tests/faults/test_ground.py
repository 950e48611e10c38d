"""The ground is taken away in mid-run: a study, the database or the folder of results; one line, and an exit code."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from server import Server
from tree import Process, Tree, epochs_stored, wait_until

PATCHES = ("--data", "synthetic:300")
SEARCH = ("--study", "s", "--model", "tiny", "--trials", "6", "--epochs", "30", "--pruner", "none", *PATCHES)
SLOW = {"TINY_PAUSE": "0.15"}


@contextmanager
def searching(tree: Tree, stored: bool = True) -> Iterator[Process]:
    """A search whose first epochs are in the database."""
    driver = tree.start("launch", *SEARCH)
    try:
        begun = epochs_stored if stored else lines_of_logs
        wait_until(lambda: driver.poll() is not None or begun(tree) > 1, 300, "an epoch")
        assert driver.poll() is None, driver.communicate()[0]
        yield driver
    finally:
        driver.kill()
        driver.communicate()


def lines_of_logs(tree: Tree) -> int:
    logs = (tree.runs / "s" / "logs").glob("*.log")
    return sum(log.read_text().count(" begins, seed ") for log in logs) * 2


def last_line(driver: Process, *, code: int) -> str:
    """What a driver says that ends by itself: after what it showed of its trials, one line."""
    told, _ = driver.communicate(timeout=200)
    assert driver.returncode == code, told
    assert "Traceback" not in told
    *shown, last = told.strip().splitlines()
    assert len(shown) < 12, told
    assert not [line for line in shown if "Error" in line or "error" in line]
    return last


def test_a_study_that_is_deleted_ends_its_search_in_one_line(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment=SLOW)
    with searching(tree) as driver:
        optuna.delete_study(study_name="s-tiny", storage=f"sqlite:///{tree.runs}/studies.db")
        last = last_line(driver, code=1)
    assert last.startswith("the database does not hold a ")
    assert "it was deleted, perhaps in the dashboard" in last
    assert "then go on with: python -m search.launch --study s --model tiny" in last


def test_a_database_file_that_is_removed_ends_its_search_in_one_line(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment=SLOW)
    with searching(tree) as driver:
        (tree.runs / "studies.db").unlink()
        last = last_line(driver, code=1)
    assert f"the database sqlite:///{tree.runs}/studies.db is not what it was (" in last
    assert "then go on with: python -m search.launch --study s --model tiny" in last


def test_tables_that_are_dropped_end_their_search_in_one_line(packages: Path, tmp_path: Path, server: Server) -> None:
    tree = Tree(packages, tmp_path / "runs", storage=server.url, environment=SLOW)
    with searching(tree, stored=False) as driver:
        engine = sa.create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        engine.dispose()
        last = last_line(driver, code=1)
    assert "is not what it was (" in last
    assert "does not exist" in last


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nobody may write, root neither."""
    for command in (["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder]):
        mounted = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"no folder can be made read-only here: {mounted.stderr.strip()}")
    try:
        assert not os.access(folder, os.W_OK)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_results_that_became_read_only_can_be_looked_at_and_all_else_says_so_in_one_line(
    packages: Path, tmp_path: Path
) -> None:
    tree = Tree(packages, tmp_path / "runs")
    tree.run("launch", "--study", "s", "--model", "tiny", "--trials", "1", "--epochs", "1", *PATCHES)
    with read_only(tree.runs):
        assert tree.status("s-tiny")["trials"] == {"COMPLETE": 1}
        for name, *more in (
            ("launch", *SEARCH),
            ("finalize", "--study", "s", *PATCHES),
            ("explore", "--study", "s", *PATCHES),
            ("explore", "--study", "new", *PATCHES),
        ):
            done = subprocess.run(
                tree.command(name, *more),
                cwd=tree.folder,
                env=tree.environ(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode in (1, 2), (name, done.stderr)
            assert done.stderr.count("\n") == 1, (name, done.stderr)
            assert "Read-only file system" in done.stderr or "readonly database" in done.stderr
