"""Nodes that are not as they should be: another version, a sick host, what a driver left behind. No trial suffers."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
from hosts import Hosts
from tree import Tree, wait_until

SICK = 'raise RuntimeError("CUDA error: an uncorrectable ECC error")'

# A driver on a host whose raylet dies: Ray gives back what it holds, and then it asks for more.
LOST = """
import sys
import ray
from ray.util.placement_group import placement_group

ray.init(address=sys.argv[1], logging_level="ERROR", _node_ip_address=sys.argv[2])
print("joined", flush=True)
sys.stdin.readline()
first = placement_group([{"CPU": 1}])
second = placement_group([{"CPU": 1}])
print("asked", first.wait(20), flush=True)
sys.stdin.readline()
"""


def launch(hosts: Hosts, study: str, trials: int, workers: int) -> list[str]:
    counts = ["--trials", str(trials), "--epochs", "1", "--pruner", "none", "--workers", str(workers)]
    return [
        *("launch", "--model", "tiny", "--data", "synthetic:300", "--study", study, *counts),
        *("--ray-address", hosts.address, "--cpus-per-worker", "1"),
    ]


def trained_on(tree: Tree) -> set[str]:
    """Hosts of the workers that trials had."""
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        rows = connection.execute("select value_json from trial_user_attributes where key = 'worker'").fetchall()
    return {value.strip('"').partition(":")[0] for (value,) in rows}


def test_a_node_of_another_version_is_left_out_by_name_and_a_sick_host_is_barred(
    packages: Path, tmp_path: Path, hosts: Hosts
) -> None:
    changed, probe, empty = tmp_path / "loop.py", tmp_path / "probe.py", tmp_path / "runs"
    source = packages / "search" / "training" / "loop.py"
    changed.write_text(f"{source.read_text()}\n# another version\n")
    probe.write_text(SICK)
    empty.mkdir()
    hosts.add("other", f"mount --bind {changed} {source}", f"mount -t tmpfs tmpfs {empty}")
    wait_until(
        lambda: "other" in hosts.told()["nodes"], 240, "a second node"
    )  # two that start at once disturb each other
    hosts.add("sick", TINY_PROBE=str(probe))
    wait_until(lambda: "sick" in hosts.told()["nodes"], 240, "a third node")
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.05"})
    output = tree.run(*launch(hosts, "nodes", 6, 3)).stdout
    left_out = next(line for line in output.splitlines() if line.startswith("node other ("))
    assert left_out.endswith("is left out: its sources are others (search/training/loop.py)")
    assert "host sick is barred: 3 jobs in a row failed there and none was done (RuntimeError: CUDA error" in output
    assert tree.status("nodes-tiny")["trials"] == {"COMPLETE": 6}
    assert trained_on(tree) == {os.uname().nodename}
    wait_until(lambda: hosts.told()["groups"] == [], 20, "no placement group")


def test_what_a_driver_that_lost_its_node_left_behind_is_removed(packages: Path, tmp_path: Path, hosts: Hosts) -> None:
    hosts.add("gone", cpus=0, ip="127.0.0.2")
    wait_until(lambda: "gone" in hosts.told()["nodes"], 240, "its node")
    command = [sys.executable, "-W", "ignore", "-c", LOST, hosts.address, "127.0.0.2"]
    driver = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    wait_until(lambda: "joined" in driver.stdout.readline(), 60, "the driver")  # type: ignore[union-attr]
    raylet = f"--raylet_socket_name={hosts.told()['nodes']['gone']}"
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet" and raylet in (process.info["cmdline"] or ()):
            process.kill()
    wait_until(lambda: "gone" not in hosts.told()["nodes"], 60, "the end of its node")
    driver.stdin.write("\n")
    driver.stdin.flush()
    wait_until(lambda: "asked" in driver.stdout.readline(), 60, "groups")  # type: ignore[union-attr]
    driver.kill()
    driver.communicate()
    assert len(hosts.told()["groups"]) == 2  # one waits where no other host is there
    output = Tree(packages, tmp_path / "runs").run(*launch(hosts, "left", 1, 1)).stdout
    assert "2 placement groups that dead drivers had left in this Ray, with 2 CPU asked for, were removed" in output
    wait_until(lambda: hosts.told()["groups"] == [], 20, "no placement group")
