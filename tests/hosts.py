"""Hosts on one machine, and a network of their own: each has a name, an address, processes and mounts like no other.

They are namespaces of Linux. A link is cut as a cable is pulled; whatever runs on a host ends with it. The disks are
shared, but for what a host has mounted over them.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tree import FORKS, Process, Tree, wait_until

HEAD = "head"
PORT, DATABASE = 6379, 5432
# On the head: tells on each line that it reads what Ray knows of nodes and groups, and hands a port on to PostgreSQL's
# socket, which is a file.
TELLS = """
import json, socket, socketserver, sys, threading, time
import ray
from ray._raylet import GcsClient
from ray.util.placement_group import placement_group_table

def pass_on(one, other):
    try:
        while part := one.recv(65536):
            other.sendall(part)
    except OSError:
        pass
    finally:
        other.close()

class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        database = socket.socket(socket.AF_UNIX)
        database.connect(sys.argv[2])
        threading.Thread(target=pass_on, args=(database, self.request), daemon=True).start()
        pass_on(self.request, database)

host, port = sys.argv[1].split(":")
socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer((host, int(sys.argv[3])), Connection)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not ray.is_initialized():
    try:
        ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError):  # it is being started
        time.sleep(0.5)
print("{}", flush=True)
client = GcsClient(address=sys.argv[1])
for _ in sys.stdin:
    found = client.get_all_node_info(timeout=10).values()
    nodes = [node.node_manager_hostname for node in found if node.state == 0]
    ends = {node.node_manager_hostname: node.death_info.reason for node in found if node.state == 1}
    groups = sorted(one["state"] for one in placement_group_table().values() if one["state"] != "REMOVED")
    left = [name for name, reason in ends.items() if reason in (1, 3)]  # 3: SIGTERM has ended it
    print(json.dumps({"nodes": nodes, "groups": groups, "left": left}), flush=True)
"""
# A command of the packages on a host, in a fork that has the libraries already.
ENTERS = """
import ctypes, os, runpy, sys

init, folder, module, *arguments = sys.argv[1:]
spaces = [os.open(f"/proc/{init}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts", "pid", "mnt")]
for space in spaces:
    if ctypes.CDLL(None, use_errno=True).setns(space, 0):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(space)
os.chdir(folder)
if child := os.fork():  # whose processes are those of the host
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
RAY = {
    "RAY_health_check_initial_delay_ms": "0",  # a node is dead after ten seconds, not a minute
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "10",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_AUTH_MODE": "disabled",  # else the head takes a token from a file of the user's, where there is one
}


@dataclass
class Host:
    """One of them.

    Attributes:
        name: as ``hostname`` has it.
        address: in the network of the hosts.
        ends: holds it as long as its input is open.
        init: its first process, as this machine numbers it.
        ray: ``ray start`` on it, the last one first.
    """

    name: str
    address: str
    ends: "subprocess.Popen[str]"
    init: int
    ray: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def typed(self, *command: str) -> list[str]:
        """A command line that runs on it."""
        return ["nsenter", f"--target={self.init}", "--net", "--uts", "--pid", "--mount", *command]


class Hosts:
    """The hosts, and the Ray that they are nodes of."""

    def __init__(self) -> None:
        """None yet."""
        self._switch = _begun(["unshare", "--net"], "")
        self._run("ip link add name lan type bridge", "ip link set lan up")
        self._all: dict[str, Host] = {}
        self._numbers = itertools.count(1)
        self._temp = tempfile.TemporaryDirectory(prefix="lan-", ignore_cleanup_errors=True)

    def begin(self, database: Path) -> None:
        """A head that lends nothing; ``database`` is the socket of a PostgreSQL, which has a port there."""
        head = self.add(HEAD)
        self.address = f"{head.address}:{PORT}"
        self.database = f"{head.address}:{DATABASE}"
        own = [f"--port={PORT}", f"--temp-dir={self._temp.name}", "--include-dashboard=false"]
        self.start_ray(HEAD, "--head", *own, cpus=0)
        ask = [sys.executable, "-W", "ignore", "-c", TELLS, self.address, str(database), str(DATABASE)]
        self._tells = subprocess.Popen(
            head.typed(*ask), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer()

    def add(self, name: str, *mounts: str) -> Host:
        """A host; ``mounts`` are commands that make its view of the files another."""
        apart = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        own = f"mount -t tmpfs tmpfs {self._temp.name}"  # two nodes that start there at once are in each other's way
        ends = _begun(apart, "\n".join([f"hostname {name}", own, *mounts]))
        (init,) = psutil.Process(ends.pid).children()
        host = self._all[name] = Host(name, f"10.77.0.{next(self._numbers)}", ends, init.pid)
        self._run(
            f"ip link add name to-{name} type veth peer name eth0 netns {init.pid}", f"ip link set to-{name} master lan"
        )
        self.join(name)
        here = ("ip link set lo up", f"ip address add {host.address}/24 dev eth0", "ip link set eth0 up")
        subprocess.run(host.typed("sh", "-ec", "\n".join(here)), check=True)
        return host

    def start_ray(self, name: str, *flags: str, cpus: int = 1, **environment: str) -> None:
        """Makes a host a node of the Ray."""
        host = self._all[name]
        ray = [sys.executable, "-W", "ignore", "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={cpus}"]
        where = [] if name == HEAD else [f"--address={self.address}"]
        more = [f"--node-ip-address={host.address}", "--object-store-memory=100000000"]
        started = subprocess.Popen(
            host.typed(*ray, *where, *more, "--include-log-monitor=false", *flags),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **RAY, **environment},
        )
        host.ray.insert(0, started)

    def start(self, name: str, tree: Tree, command: str, *arguments: str) -> Process:
        """Starts a command of the packages on a host."""
        _, _, module, *rest = tree.command(command, *arguments)
        enters = [sys.executable, "-c", ENTERS, str(self._all[name].init), str(tree.folder), module, *rest]
        return FORKS.start(enters, folder=tree.folder, environment=tree.environ())

    def run(self, name: str, tree: Tree, command: str, *arguments: str, expect: int = 0) -> str:
        """Runs one to its end; what it said."""
        process = self.start(name, tree, command, *arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == expect, f"{command} ended with {process.returncode}\n{output}"
        return output

    def python(self, name: str, code: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts a script on a host."""
        return subprocess.Popen(
            self._all[name].typed(sys.executable, "-W", "ignore", "-c", code, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )

    def cut(self, name: str) -> None:
        """Pulls the cable of a host."""
        self._run(f"ip link set to-{name} down")

    def join(self, name: str) -> None:
        """Puts it in again."""
        self._run(f"ip link set to-{name} up")

    def kill_ray(self, name: str) -> None:
        """Kills what makes a host a node."""
        (raylet,) = [
            process
            for process in psutil.Process(self._all[name].ray[0].pid).children(recursive=True)
            if process.name() == "raylet"
        ]
        raylet.kill()

    def wait_for_end_of_ray(self, name: str) -> None:
        """Until a host is no node any more and knows it."""
        wait_until(lambda: self._all[name].ray[0].poll() is not None, 90, f"the end of Ray on {name}")

    def nodes(self) -> list[str]:
        """Names of the hosts that Ray takes for alive."""
        return list(self._told()["nodes"])

    def groups(self) -> list[str]:
        """States of the placement groups that there are."""
        return list(self._told()["groups"])

    def left(self) -> list[str]:
        """Names of the hosts that have left it in order."""
        return list(self._told()["left"])

    def end(self, name: str) -> None:
        """Ends a host with all that runs on it."""
        host = self._all.pop(name)
        host.ends.communicate(timeout=60)
        for process in host.ray:
            process.wait(60)

    def close(self) -> None:
        """Ends all."""
        for name in list(self._all):
            self.end(name)
        if hasattr(self, "_tells"):
            self._tells.communicate(timeout=60)
        self._switch.communicate(timeout=60)
        self._temp.cleanup()

    def _told(self) -> dict[str, Any]:
        assert self._tells.stdin is not None
        self._tells.stdin.write("\n")
        self._tells.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._tells.stdout is not None
        line = next(line for line in self._tells.stdout if line.startswith("{"))
        told: dict[str, Any] = json.JSONDecoder().raw_decode(line)[0]  # Ray's threads may have written behind it
        return told

    def _run(self, *commands: str) -> None:
        """On the switch that all cables lead to."""
        switch = ["nsenter", f"--target={self._switch.pid}", "--net", "sh", "-ec", "\n".join(commands)]
        subprocess.run(switch, check=True)


def _begun(apart: list[str], commands: str) -> "subprocess.Popen[str]":
    """A process apart, which has run some commands and stays until its input is closed."""
    process = subprocess.Popen(
        [*apart, "sh", "-ec", f"{commands}\necho begun\nexec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "begun\n":
        raise OSError(f"{' '.join(apart)} ended with {process.wait()}")
    return process


def why_none() -> str | None:
    """Why no hosts can be made here; None where they can."""
    try:
        tried = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "ip", "link", "add", "name", "lan"]
        done = subprocess.run([*tried, "type", "bridge"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or None if done.returncode else None
