"""A model that leaves memory behind does not fill the machine: its worker is replaced between trials."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tree import copy_tree

LEAK = """
import builtins
builtins.kept = [*getattr(builtins, "kept", []), b"x" * 60_000_000]
"""


def workers_of_trials(database: Path) -> list[str]:
    query = "select value_json from trial_user_attributes where key = 'worker' order by trial_id"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute(query)]


def test_a_worker_that_leaks_is_replaced_and_no_trial_is_lost(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    fitness = tree.folder / "search" / "workers" / "fitness.py"
    small = fitness.read_text().replace("LEAK_BYTES = 2**30", "LEAK_BYTES = 100_000_000")
    assert small != fitness.read_text()
    fitness.write_text(small)
    (tmp_path / "leak.py").write_text(LEAK)
    tree.environment["TINY_PROBE"] = str(tmp_path / "leak.py")
    tree.run("launch", "--model", "tiny", "--data", "synthetic:300", "--trials", "6", "--epochs", "1", "--workers", "1")
    assert tree.status("synthetic-300-tiny")["trials"] == {"COMPLETE": 6}
    workers = workers_of_trials(tmp_path / "runs" / "studies.db")
    assert len(workers) == 6
    assert 1 < len(set(workers)) < 6  # replaced, but not for every trial
