"""Ray's own processes are killed for real: the user is told, and the same command goes on.

With other nodes left it goes on on those: ``tests/cluster`` cuts their links.
"""

import time
from pathlib import Path

import psutil
import pytest
from tree import Tree, epochs_stored, wait_until

COUNTS = ("--trials", "4", "--epochs", "4", "--pruner", "none", "--workers", "2")
LAUNCH = ("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "ray", *COUNTS)


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_when_ray_is_killed_the_user_is_told_and_the_same_command_goes_on(
    packages: Path, tmp_path: Path, name: str
) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15"})
    driver = tree.start(*LAUNCH)
    wait_until(lambda: epochs_stored(tree) >= 3, 240, "three epochs")
    (victim,) = [child for child in psutil.Process(driver.pid).children() if child.name() == name]
    victim.kill()
    died = time.monotonic()
    output, _ = driver.communicate(timeout=120)
    print(f"\nended {time.monotonic() - died:.1f} s after the kill, {len(output.splitlines())} lines")
    assert driver.returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert "has died: it was killed, or the machine ran out of memory" in last
    assert "Go on with: python -m search.launch --model tiny" in last
    assert set(tree.status("ray-tiny")["trials"]) <= {"COMPLETE", "WAITING", "RUNNING"}
    tree.run(*LAUNCH)
    assert tree.status("ray-tiny")["trials"] == {"COMPLETE": 4}
    tree.run("status", "--check")
