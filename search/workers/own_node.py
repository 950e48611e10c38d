"""A node on a machine that is none of the Ray that a command joins: it lends nothing, and leaves in order.

Ray wants a driver on one of its nodes. A node that goes with its container has crashed, to Ray, which tells so others
who search next.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from search.workers.place import without_database

_START = """
import ctypes, runpy, signal

getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(1, signal.SIGTERM)  # it ends with the thread that has started it
runpy.run_module("ray.scripts.scripts", run_name="__main__", alter_sys=True)
"""
_PORTS = ("node-manager", "object-manager", "dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export")
_OBJECT_STORE = 100 * 2**20  # bytes: nothing large goes through Ray
LEAVING_SECONDS = 15.0


@contextmanager
def own_node(address: str) -> Iterator[None]:
    """Within the block this machine is a node of the Ray at HOST:PORT, or about to be one."""
    lends = ("--num-cpus=0", "--num-gpus=0", f"--object-store-memory={_OBJECT_STORE}", "--include-log-monitor=false")
    free = [f"--{port}-port=0" for port in _PORTS]  # whoever else is a node here has the usual ones
    node = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _START, "start", "--block", f"--address={address}", *lends, *free],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and a closed terminal are the driver's to answer
        # The token is as this process has it, whatever one a file of the user's has.
        env={"RAY_AUTH_MODE": "disabled", **without_database()},
    )
    try:
        yield
    finally:
        node.terminate()
        try:
            node.wait(LEAVING_SECONDS)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
