"""Ray's own processes are killed for real: the user is told, and the same command goes on.

Trials of a node that is lost go on on the others: ``tests/cluster`` cuts its link.
"""

import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tree import Process, Tree, epochs_stored, wait_until


def launch(*more: str) -> list[str]:
    counts = ["--trials", "4", "--epochs", "4", "--pruner", "none", "--workers", "2"]
    return ["launch", "--model", "tiny", "--data", "synthetic:300", "--study", "ray", *counts, *more]


def after_epochs(tree: Tree, *more: str) -> Process:
    """A launch that has trained for a while."""
    driver = tree.start(*launch(*more))
    wait_until(lambda: epochs_stored(tree) >= 3, 240, "three epochs")
    return driver


def raylet_of(tree: Tree) -> int:
    """The process by which the driver takes part in Ray."""
    log = "".join(path.read_text() for path in (tree.runs / "ray" / "logs").glob("*.log"))
    return int(re.findall(r"raylet is process (\d+)", log)[-1])


def check_told(driver: Process, died: float) -> None:
    """The driver ends by itself, and its last line says how to go on."""
    output, _ = driver.communicate(timeout=120)
    print(f"\nended {time.monotonic() - died:.1f} s after the kill, {len(output.splitlines())} lines")
    assert driver.returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert "has died: it was killed, or the machine ran out of memory" in last
    assert "Go on with: python -m search.launch --model tiny" in last


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_when_ray_is_killed_the_user_is_told_and_the_same_command_goes_on(
    packages: Path, tmp_path: Path, name: str
) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15"})
    driver = after_epochs(tree)
    (victim,) = [child for child in psutil.Process(driver.pid).children() if child.name() == name]
    victim.kill()
    check_told(driver, time.monotonic())
    assert set(tree.status("ray-tiny")["trials"]) <= {"COMPLETE", "WAITING", "RUNNING"}
    tree.run(*launch())
    assert tree.status("ray-tiny")["trials"] == {"COMPLETE": 4}
    tree.run("status", "--check")


def test_when_the_node_of_the_driver_dies_the_user_is_told_and_the_same_command_goes_on_on_the_other(
    packages: Path, tmp_path: Path, cluster: dict[str, Any]
) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15"})
    address = ("--ray-address", str(cluster["address"]), "--cpus-per-worker", "1")
    driver = after_epochs(tree, *address)
    psutil.Process(raylet_of(tree)).kill()
    check_told(driver, time.monotonic())
    tree.run(*launch(*address))
    assert tree.status("ray-tiny")["trials"] == {"COMPLETE": 4}
    tree.run("status", "--check")
