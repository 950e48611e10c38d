"""A Ray of several hosts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hosts import HEAD, QUICK, Hosts


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """One host, and more as a test adds them."""
    tried = ["unshare", "--uts", "--mount", "hostname", "other"]
    if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here: hosts need Linux and root")
    head = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HEAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **QUICK},
    )
    assert head.stdout is not None
    hosts = Hosts(json.loads(next(line for line in head.stdout if line.startswith("{")))["address"], head)
    yield hosts
    for other in hosts.others:
        other.terminate()
    for other in hosts.others:
        other.wait(60)
    head.communicate(timeout=60)
