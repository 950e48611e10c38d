"""Packages to run commands of, a server that may be stopped, and a Ray that is not the driver's own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from server import Server, running_server

# A Ray of two nodes on this machine, as on two: a head with one core and a second node with one.
CLUSTER = """
import json, sys
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, second)]
print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL of the test's own, to be stopped and started."""
    with running_server() as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[dict[str, Any]]:
    """Address of the Ray, and the processes of its raylets."""
    with _running(CLUSTER) as found:
        yield found


@pytest.fixture
def bare_cluster() -> Iterator[str]:
    """Address of a Ray whose nodes lend nothing."""
    with _running(CLUSTER.replace('"num_cpus": 1', '"num_cpus": 0').replace("num_cpus=1", "num_cpus=0")) as found:
        yield str(found["address"])


@contextmanager
def _running(code: str) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TINY_PAUSE": "0.2"},  # a step of models/tiny.py; workers inherit it from here
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines = iter(process.stdout)
    yield json.loads(next(line for line in lines if line.startswith("{")))
    process.communicate()
