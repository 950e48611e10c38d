"""A Ray of two nodes, the second of which has no folder of results: all training is done there, all results come back.

The second node is a process of this machine in a mount namespace of its own, with an empty file system in the place of
``runs/``: its own network, address and clock it has not.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tree import Tree

CLUSTER = """
import ctypes, json, os, subprocess, sys
from ray.cluster_utils import Cluster

folder, own = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
assert ctypes.CDLL(None).unshare(0x00020000) == 0  # CLONE_NEWNS: of what is started from now on
for mount in (["--make-rprivate", "/"], ["-t", "tmpfs", "none", folder]):
    subprocess.run(["mount", *mount], check=True)
os.environ["HISTOTUNE_NODE_FOLDER"] = own
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(json.dumps(cluster.address), flush=True)
sys.stdin.read()
cluster.shutdown()
"""
COUNTS = ("--trials", "2", "--epochs", "2", "--pruner", "none", "--cpus-per-worker", "1")


def _can_unshare() -> bool:
    try:
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="mount namespaces take root on Linux")


@contextmanager
def two_nodes(folder: Path, own: Path) -> Iterator[str]:
    """Address of a Ray whose first node lends nothing, and whose second sees nothing in a folder."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CLUSTER, str(folder), str(own)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(next(line for line in process.stdout if line.startswith('"')))
    finally:
        process.communicate()


@pytest.fixture(scope="module")
def searched(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, Path]:
    """A search and its finalization, and the folder of the node that did the training."""
    own = tmp_path_factory.mktemp("node")
    tree = Tree(packages, tmp_path_factory.mktemp("runs"))
    with two_nodes(tree.runs, own) as address:
        there = ("--ray-address", address)
        tree.run("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "far", *COUNTS, *there)
        tree.run("finalize", "--cpus-per-worker", "1", *there)
    return tree, own


def test_trials_and_members_of_a_node_without_the_folder_of_results_are_as_of_any_other(
    searched: tuple[Tree, Path],
) -> None:
    tree, _ = searched
    assert tree.status("far-tiny")["trials"] == {"COMPLETE": 2}
    assert (tree.runs / "far" / "report.html").exists()
    assert not [path.name for path in (tree.runs / "far").iterdir() if path.name.startswith(".")]
    tree.run("status", "--check")


def test_the_node_got_development_rows_once_and_never_a_sealed_one(searched: tuple[Tree, Path]) -> None:
    tree, own = searched
    data = tree.runs / "far" / "data"
    sealed = set(np.load(data / "sealed" / "digests.npy").tolist())
    pixels = list(own.rglob("pixels.npy"))
    assert len(pixels) == 1
    assert pixels[0].read_bytes() == (data / "development" / "pixels.npy").read_bytes()
    assert not sealed & {sha256(patch.tobytes()).hexdigest() for patch in np.load(pixels[0])}
    assert {path.name for path in own.rglob("*.npy")} <= {path.name for path in data.rglob("*.npy")}
