"""A worker that is stopped for good, as one behind a cut link: its job goes on elsewhere, and the search ends whole."""

import signal
from pathlib import Path

from tree import copy_tree, epochs_stored, wait_until

from soak.launched import workers_of


def test_a_job_that_says_nothing_any_more_is_handed_out_again(tmp_path: Path) -> None:
    """After the longest epoch here, and 4 s at least, not ten times that and 120 s."""
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree.environment["TINY_PAUSE"] = "0.1"
    path = tree.folder / "search" / "workers" / "silence.py"
    code = path.read_text()
    for old, new in (("SILENT_SECONDS = 120.0", "SILENT_SECONDS = 4.0"), ("TIMES = 10", "TIMES = 1")):
        assert old in code
        code = code.replace(old, new)
    path.write_text(code)
    counts = ["--trials", "4", "--epochs", "4", "--pruner", "none", "--workers", "2"]
    driver = tree.start("launch", "--model", "tiny", "--data", "synthetic:300", "--study", "silent", *counts)
    wait_until(lambda: epochs_stored(tree) >= 3, what="three epochs")
    victim = workers_of(driver.pid)[0]
    victim.send_signal(signal.SIGSTOP)
    output, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, output
    assert " has said nothing for " in output
    assert "it is handed out again" in output
    assert not victim.is_running()
    assert tree.status("silent-tiny")["trials"] == {"COMPLETE": 4}
