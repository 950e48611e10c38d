"""Hosts on one machine: each has a name and mounts of its own, and is a node of one Ray."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

# The first host: a head with one core, which tells on each line that it reads what Ray knows of nodes and groups.
HEAD = """
import json, sys
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
print(json.dumps({"address": cluster.address}), flush=True)
for _ in sys.stdin:
    nodes = {node["NodeManagerHostname"]: node["RayletSocketName"] for node in ray.nodes() if node["Alive"]}
    groups = sorted(one["state"] for one in placement_group_table().values() if one["state"] != "REMOVED")
    print(json.dumps({"nodes": nodes, "groups": groups}), flush=True)
ray.shutdown()
cluster.shutdown()
"""
PORTS = ("node-manager", "object-manager", "dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export")
QUICK = {  # Ray's checks of nodes: dead after three seconds, not a minute
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass
class Hosts:
    """The Ray, at ``address``, and its hosts."""

    address: str
    head: "subprocess.Popen[str]"
    others: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def add(self, name: str, *mounts: str, cpus: int = 1, ip: str = "", **environment: str) -> None:
        """Starts a host; ``mounts`` are commands that make its view of the files another."""
        flags = [*(f"--{port}-port=0" for port in PORTS), *([f"--node-ip-address={ip}"] if ip else [])]
        ray = f"{sys.executable} -W ignore -m ray.scripts.scripts start --address={self.address} --num-cpus={cpus}"
        join = f"exec {ray} --object-store-memory=100000000 --block {' '.join(flags)}"
        self.others.append(
            subprocess.Popen(
                ["unshare", "--uts", "--mount", "sh", "-ec", "\n".join([f"hostname {name}", *mounts, join])],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        )

    def told(self) -> dict[str, Any]:
        """What Ray knows: sockets of living raylets by host, and states of placement groups."""
        assert self.head.stdin is not None
        assert self.head.stdout is not None
        self.head.stdin.write("\n")
        self.head.stdin.flush()
        told: dict[str, Any] = json.loads(next(line for line in self.head.stdout if line.startswith("{")))
        return told
