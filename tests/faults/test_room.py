"""Nodes that are too small, or taken by others, and links that are gone: nobody waits for ever without a word."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tree import Tree, copy_tree, end, epochs_stored, wait_until

# Takes both cores of the Ray, as somebody else's job would, until it is told to end.
OTHERS = """
import sys
import ray

ray.init(address=sys.argv[1], logging_level="ERROR")

@ray.remote(num_cpus=1)
class Job:
    def begin(self):
        return None

jobs = [Job.remote() for _ in range(2)]
ray.get([job.begin.remote() for job in jobs])
print("taken", flush=True)
sys.stdin.read()
"""

HANGS = """        self._check()
        import pathlib
        while pathlib.Path({!r}).exists():
            time.sleep(1)
"""


def launch(address: str, workers: int, cpus: int) -> list[str]:
    counts = ["--trials", "4", "--epochs", "2", "--pruner", "none", "--workers", str(workers)]
    place = ["--ray-address", address, "--cpus-per-worker", str(cpus)]
    return ["launch", "--model", "tiny", "--data", "synthetic:300", "--study", "room", *counts, *place]


def test_workers_without_room_are_refused_or_told_of_and_are_not_shown_as_running(
    packages: Path, tmp_path: Path, cluster: dict[str, Any]
) -> None:
    tree, address = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.1"}), str(cluster["address"])
    refused = tree.run(*launch(address, 1, 8), expect=2).stderr.strip().splitlines()[-1]
    assert "no node of this Ray holds a worker with 8 CPU: " in refused
    assert refused.count(" lends 1 CPU") == 2
    assert tree.status("room-tiny")["trials"] == {"WAITING": 1}  # the default configuration, for the next launch
    others = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OTHERS, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ),
    )
    assert others.stdin is not None
    assert others.stdout is not None
    wait_until(lambda: "taken" in others.stdout.readline(), 60, "both cores taken")  # type: ignore[union-attr]
    driver = tree.start(*launch(address, 6, 1))
    log = tree.runs / "room" / "logs"
    told = "0 of 6 workers placed, 2 waiting for 1 CPU: 0 of 2 CPU free on 2 nodes"
    wait_until(lambda: any(told in path.read_text() for path in log.glob("*.log")), 120, told)
    others.communicate()
    wait_until(lambda: epochs_stored(tree) >= 1, what="an epoch")
    assert tree.status("room-tiny")["trials"].get("RUNNING", 0) <= 2
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output
    assert told in output
    assert tree.status("room-tiny")["trials"] == {"COMPLETE": 4}


def test_a_driver_that_stands_still_ends_with_the_command_to_go_on_and_one_that_was_stopped_does_not(
    tmp_path: Path,
) -> None:
    """Its main thread hangs, as it does in Ray's C++ where a link is gone; for 6 s here, not 120."""
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree.environment["TINY_PAUSE"] = "0.2"
    for place, old, new in (
        ("workers/cluster.py", "SILENCE_SECONDS = 120.0", "SILENCE_SECONDS = 6.0"),
        ("trials/side_by_side.py", "        self._check()\n", HANGS.format(str(tmp_path / "hang"))),
    ):
        path = tree.folder / "search" / place
        code = path.read_text()
        assert old in code
        path.write_text(code.replace(old, new))
    counts = ["--trials", "9", "--epochs", "9", "--pruner", "none", "--workers", "1"]
    driver = tree.start("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "still", *counts)
    wait_until(lambda: epochs_stored(tree) >= 1, what="an epoch")
    os.kill(driver.pid, signal.SIGSTOP)
    time.sleep(9)
    os.kill(driver.pid, signal.SIGCONT)
    before = epochs_stored(tree)
    wait_until(lambda: epochs_stored(tree) > before + 1, what="an epoch after the stop")
    (tmp_path / "hang").touch()
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("the search has stood still for 6 s, in which Ray did not answer: a node or a link is gone.")
    assert "Go on with: python -m search.launch --model tiny" in last


def test_a_search_that_waits_for_a_first_node_keeps_its_time_and_hears_a_signal(
    tmp_path: Path, bare_cluster: str
) -> None:
    """It waits for longer than the watchdog does, and then for weights, say, as long again; Ray takes SIGTERM."""
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    for place, old, new in (
        ("workers/cluster.py", "SILENCE_SECONDS = 120.0", "SILENCE_SECONDS = 3.0"),
        ("workers/machines.py", "JOIN_SECONDS = 60.0", "JOIN_SECONDS = 6.0"),
        ("trials/course.py", "    asked = _context(", "    time.sleep(6)\n    asked = _context("),
    ):
        path = tree.folder / "search" / place
        code = path.read_text()
        assert code.count(old) == 1
        path.write_text(code.replace(old, new))
    command = launch(bare_cluster, 1, 1)
    told = tree.run(*command, "--timeout", "25").stdout
    assert "none has joined: planned as for nodes without a GPU, and without bf16" in told
    assert "time limit reached; go on with: python -m search.launch" in told
    told = tree.run(*command, "--timeout", "4", seconds=30).stdout
    assert "none has joined" not in told
    assert "time limit reached; go on with: python -m search.launch" in told
    driver = tree.start(*command)
    log = tree.runs / "room" / "logs"
    wait_until(lambda: len(list(log.glob("*.log"))) == 3, what="the third launch")
    assert driver.stdout is not None
    line = next(line for line in driver.stdout if line.startswith("no node of this Ray lends anything yet"))
    output = end(driver, signal.SIGTERM)
    assert driver.returncode == 143, line + output
    ending, interrupted = output.strip().splitlines()
    assert ending.startswith("ending in order;")
    assert interrupted.startswith("interrupted by SIGTERM; go on with: python -m search.launch")
