"""Nodes that are too small, or taken by others: nobody waits for ever without a word."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tree import Tree, epochs_stored, wait_until

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
