"""Memory that runs out for real, in a control group of the kernel's."""

import subprocess
from pathlib import Path

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
