"""Memory that runs out for real, in a control group of the kernel's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from containers import GB, inside, real_group
from tree import copy_tree

LAUNCH = ["--model", "tiny", "--data", "synthetic:300", "--study", "s", "--trials", "1", "--epochs", "1"]
LIMIT = 3 * GB
"""Bytes for driver, Ray and a worker, which take half of it."""


def test_a_worker_that_the_kernel_kills_for_memory_ends_its_trial_with_that_reason(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(f"taken = bytearray(b'x') * {2 * LIMIT}")
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree.environment["TINY_PROBE"] = str(probe)
    with real_group("memory", {"memory.max": str(LIMIT), "memory.limit_in_bytes": str(LIMIT)}) as group:
        done = subprocess.run(
            inside(group, tree.command("launch", *LAUNCH)),
            cwd=tree.folder,
            env=tree.environ(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    (reason,) = tree.status("s-tiny")["cut_short"]
    assert reason.startswith("1 x its worker died 3 times, as memory ran out (3.0 GB for all processes here): give few")
    assert reason in done.stderr


SECOND = """
import sys
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from search.workers.kills import Kills

ray.init(address=sys.argv[1], log_to_driver=False)
second = next(node["NodeID"] for node in ray.nodes() if "node:__internal_head__" not in node["Resources"])
there = NodeAffinitySchedulingStrategy(second, soft=False)

def take(size):
    return len(bytearray(b"x") * size)

kills = Kills()
kills.begin(second)
told = [kills.one_more(second)]
for size in (1000, 2 * int(sys.argv[2])):
    try:
        ray.get(ray.remote(take).options(max_retries=0, scheduling_strategy=there).remote(size))
    except ray.exceptions.RayError:
        told.append("died")
    told.append(kills.one_more(second))
print("told", *told, kills.one_more(second), kills.one_more(None))
"""


def test_a_kill_by_the_kernel_of_another_node_is_told_by_that_node(cluster: dict[str, Any]) -> None:
    limit = GB
    with real_group("memory", {"memory.max": str(limit), "memory.limit_in_bytes": str(limit)}) as group:
        raylet = psutil.Process(cluster["raylets"][1])
        for process in (raylet, *raylet.children(recursive=True)):
            (group / "cgroup.procs").write_text(str(process.pid))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SECOND, str(cluster["address"]), str(limit)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        raylet.kill()  # or the group is not left
        for process in psutil.process_iter():
            if str(process.pid) in (group / "cgroup.procs").read_text().split():
                process.kill()
    assert "told False False died True False False" in done.stdout, done.stderr


JOINED = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_a_kill_in_the_group_of_a_ray_that_was_joined_is_told_by_a_launch_outside_of_it(tmp_path: Path) -> None:
    """As where a service or a container holds the Ray of a machine, and a person at its terminal searches on it."""
    probe = tmp_path / "probe.py"
    probe.write_text(f"taken = bytearray(b'x') * {2 * LIMIT}")
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    with real_group("memory", {"memory.max": str(LIMIT), "memory.limit_in_bytes": str(LIMIT)}) as group:
        ray = subprocess.Popen(
            inside(group, [sys.executable, "-W", "ignore", "-c", JOINED]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**tree.environ(), "TINY_PROBE": str(probe)},
        )
        assert ray.stdout is not None
        address = next(line.strip() for line in ray.stdout if ":" in line)
        done = tree.run("launch", *LAUNCH, "--ray-address", address, expect=1)
        ray.communicate(timeout=60)
    (reason,) = tree.status("s-tiny")["cut_short"]
    assert reason.startswith(f"1 x its worker died 3 times, as memory ran out (on {os.uname().nodename}): give fewer")
    assert reason in done.stderr
