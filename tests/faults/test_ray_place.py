"""A Ray of its own in odd places, and one that does not start, for real."""

import signal
from contextlib import suppress
from pathlib import Path

import psutil
from tree import Tree, wait_until

LAUNCH = ["--model", "tiny", "--data", "synthetic:300", "--study", "s", "--trials", "1", "--epochs", "1"]


def test_a_search_runs_where_the_usual_folder_of_ray_does_not_serve(packages: Path, tmp_path: Path) -> None:
    odd = tmp_path / f"\u00fc {'x' * 60}"
    odd.mkdir()
    tree = Tree(packages, tmp_path / "runs", environment={"TMPDIR": str(odd)})
    done = tree.run("launch", *LAUNCH)
    assert "1 COMPLETE" in done.stdout
    assert done.stderr == ""
    assert not (odd / "ray").exists()


def test_a_ray_that_does_not_start_in_time_is_one_line_that_names_its_folder(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs")
    driver = tree.start("launch", *LAUNCH)
    wait_until(lambda: bool(raylets(driver.pid)), what="a raylet")
    (raylet,) = raylets(driver.pid)
    raylet.send_signal(signal.SIGSTOP)
    output, _ = driver.communicate(timeout=120)
    raylet.kill()
    assert driver.returncode == 1, output
    assert "Traceback" not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith("Ray cannot be started in /tmp/ray: The current node timed out during startup")
    assert "run the same command again" in last
    assert tree.status("s-tiny")["trials"] == {"WAITING": 1}  # the default configuration, as it was enqueued


def raylets(driver: int) -> list[psutil.Process]:
    """Of a driver."""
    with suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(driver).children() if child.name() == "raylet"]
    return []
