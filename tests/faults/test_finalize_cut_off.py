"""A finalization that is killed at awkward points goes on, and what it reads stands under one record all the time."""

import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from cut_off import killed_at
from tree import Tree, copy_tree, end, wait_until

STUDY = ("--study", "cut")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A search that is done; the tests below finalize it further and further, in their order."""
    folder = tmp_path_factory.mktemp("cut")
    tree = copy_tree(folder / "tree", folder / "runs")
    tree.run("launch", "--model", "tiny", "--data", "synthetic:300", "--trials", "2", "--epochs", "2", *STUDY)
    return tree


def members(tree: Tree) -> dict[Path, int]:
    """Members that are whole, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (tree.runs / "cut" / "tiny" / "members").rglob("*.json")}


def rows(tree: Tree, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        return connection.execute(f"select * from histotune_{table} order by 1").fetchall()


def test_killed_while_it_retrains_it_keeps_the_members_that_are_whole(searched: Tree) -> None:
    searched.environment["TINY_PAUSE"] = "0.3"
    driver = searched.start("finalize", *STUDY)
    wait_until(lambda: len(members(searched)) >= 2, 240, "two members")
    family = psutil.Process(driver.pid).children(recursive=True)
    end(driver, signal.SIGKILL)
    psutil.wait_procs(family, timeout=60)
    del searched.environment["TINY_PAUSE"]
    kept = members(searched)
    assert rows(searched, "openings") == []
    killed_at(searched, "cut", "search.final.opening:open_sealed")
    assert len(members(searched)) in (7, 8, 9, 10), "the default one's five, and the other's until it was dropped"
    assert {path: written for path, written in members(searched).items() if path in kept} == kept


def test_the_opening_is_recorded_before_the_first_row_is_read(searched: Tree) -> None:
    """It was killed just before that, by the test above."""
    assert len(rows(searched, "openings")) == 1
    assert rows(searched, "closings") == []
    assert not list((searched.runs / "cut" / "opening").glob("members-*.npy"))


@pytest.mark.parametrize(
    ("function", "closed"),
    [
        ("search.final.opening:scored", 0),  # the rows are read, the members have predicted them
        ("studies.ledger.ledger:Ledger.close_opening", 0),  # all is predicted and written
        ("search.final.procedure:write_comparison_report", 1),
    ],
)
def test_cut_off_anywhere_after_it_goes_on_under_the_same_record(searched: Tree, function: str, closed: int) -> None:
    (record,) = rows(searched, "openings")
    killed_at(searched, "cut", function)
    assert rows(searched, "openings") == [record]
    assert len(rows(searched, "closings")) == closed


def test_at_last_it_comes_to_its_end_and_the_report_tells_of_one_opening(searched: Tree) -> None:
    searched.run("finalize", *STUDY)
    assert len(rows(searched, "openings")) == len(rows(searched, "closings")) == 1
    told = json.loads((searched.runs / "cut" / "report.json").read_text(encoding="utf-8"))
    assert told["openings"] == 1
    searched.run("status", "--check")


@pytest.mark.parametrize(
    ("command", "kilobytes", "file"),
    [(("report", *STUDY), 400, "report.html"), (("predict", "--data", "synthetic:300"), 4, "predictions.csv")],
)
def test_a_full_disk_leaves_report_and_predictions_as_they_were(
    searched: Tree, command: tuple[str, ...], kilobytes: int, file: str
) -> None:
    path = searched.runs / "cut" / file
    if command[0] == "predict":
        command = (*command, "--model", str(searched.runs / "cut" / "tiny"), "--out", str(path))
        path.write_text("as it was")
    before = path.read_bytes()
    done = subprocess.run(
        ["bash", "-c", f'ulimit -S -f {kilobytes}; exec "$@"', "-", *searched.command(*command)],
        cwd=searched.folder,
        env=searched.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"{path} cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*.part"))
