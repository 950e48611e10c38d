"""Processes that are killed for real: the study holds what was asked for, whatever died."""

import json
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from tree import Tree, copy_tree, end, epochs_stored, stored_values, wait_until

from data_utils.split.prepare import load_development
from soak.launched import workers_of

PATCHES = "synthetic:300"


def launch(trials: int, epochs: int, *more: str) -> list[str]:
    counts = ["--trials", str(trials), "--epochs", str(epochs)]
    return ["launch", "--model", "tiny", "--data", PATCHES, "--study", "kills", *counts, *more]


def check_whole(tree: Tree, trials: int, epochs: int) -> None:
    """What must be true at the end, from the database alone."""
    entry = tree.status("kills-tiny")
    assert entry["finished"] == trials
    assert set(entry["trials"]) <= {"COMPLETE", "PRUNED", "FAIL"}
    steps = stored_values(tree.runs / "studies.db")
    for number, stored in steps.items():
        assert stored == list(range(1, len(stored) + 1)), f"trial {number} has holes: {stored}"
        assert len(stored) <= epochs
    tree.run("status", "--check")


OWN = re.compile(
    r"\d\d:\d\d:\d\d tiny \d+ (COMPLETE|PRUNED|FAIL|WAITING)\b.*|kills(-tiny)?: .*|next: .*|"
    r"lock [0-9a-f]{12}, .*; log: .*|no trial of study kills-tiny is COMPLETE .*|"
    r"ending in order; .*|interrupted by SIG(INT|TERM); go on with: .*"
)
"""What a search says by itself."""


def check_only_own_lines(output: str, tree: Tree, *, told: bool = True) -> None:
    """What Ray and Tune say of a worker that died is in the log, without colours, and nowhere else.

    They say it (``told``) where the command goes on for a while after that.
    """
    assert [line for line in output.splitlines() if not OWN.fullmatch(line)] == []
    log = "".join(path.read_text() for path in (tree.runs / "kills" / "logs").glob("launch-*.log"))
    assert not told or re.search(r"(WARNING|ERROR) Ray: .*(died|worker)", log)
    assert "\x1b" not in log


def test_a_driver_killed_again_and_again_leaves_exactly_the_trials_asked_for(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15"})
    command = launch(4, 4, "--pruner", "none", "--workers", "2")
    for _ in range(2):
        driver = tree.start(*command)
        begun = epochs_stored(tree)
        wait_until(partial(more_epochs, tree, begun + 2), what="an epoch or two")
        end(driver, signal.SIGKILL)
    assert tree.status("kills-tiny")["trials"].get("RUNNING"), "the kill came too late to test anything"
    tree.run(*command)
    check_whole(tree, 4, 4)
    assert tree.status("kills-tiny")["trials"] == {"COMPLETE": 4}
    assert not list((tree.runs / "kills" / "tiny" / "checkpoints").glob("*/*"))


def more_epochs(tree: Tree, wanted: int) -> bool:
    return epochs_stored(tree) >= wanted


# Notes how many patches each batch of a training has.
DIARY = """
import os
from torch import nn

def noting(self, images, forward=nn.Conv2d.forward):
    if self.training:
        with open(os.environ["DIARY"], "a") as diary:
            diary.write(f"{len(images)}\\n")
    return forward(self, images)

if nn.Conv2d.forward.__name__ != "noting":
    nn.Conv2d.forward = noting
"""


def test_a_killed_worker_loses_an_epoch_at_most_and_no_slot(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(DIARY)
    environment = {"TINY_PROBE": str(tmp_path / "probe.py"), "DIARY": str(tmp_path / "diary"), "TINY_PAUSE": "0.15"}
    tree = Tree(packages, tmp_path / "runs", environment=environment)
    driver = tree.start(*launch(6, 5, "--pruner", "none", "--workers", "2"))
    wait_until(lambda: epochs_stored(tree) >= 3, what="three epochs")
    victim = workers_of(driver.pid)[0]
    victim.kill()
    wait_until(lambda: len(set(workers_of(driver.pid)) - {victim}) == 2, 180, "a second worker")
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output
    check_only_own_lines(output, tree)
    check_whole(tree, 6, 5)
    assert tree.status("kills-tiny")["trials"] == {"COMPLETE": 6}
    epoch = int((load_development(tree.runs / "kills" / "data" / "development").part == "train").sum())
    learned = sum(map(int, (tmp_path / "diary").read_text().split()))
    assert 6 * 5 * epoch <= learned <= (6 * 5 + 1) * epoch


def test_a_worker_that_dies_as_it_is_handed_its_next_fold_costs_nothing(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree.run(*launch(1, 2, "--workers", "1"))
    trainable = tree.folder / "search" / "workers" / "trainable.py"
    handed = "-> bool:\n"
    once = f"{handed}        import os, pathlib\n        died = pathlib.Path({str(tmp_path / 'died')!r})\n"
    once += "        if not died.exists():\n            died.touch()\n            os._exit(9)\n"
    trainable.write_text(trainable.read_text().replace(handed, once))
    tree.run("finalize", "--study", "kills", "--workers", "1")
    assert len(list((tree.runs / "kills" / "tiny").glob("members/*/*.safetensors"))) == 5
    assert (tmp_path / "died").exists()


# At which of its methods the worker of a trial is to die, one after the other, by the trial's number.
DYING = """
import json, os, pathlib

def die(config, here, plan=pathlib.Path(PLAN)):
    left = json.loads(plan.read_text())
    mine = left.get(str(config["job"].number), [])
    if mine and mine[0] == here:
        left[str(config["job"].number)] = mine[1:]
        plan.write_text(json.dumps(left))
        os._exit(9)

"""


def test_a_trial_is_tried_again_twice_wherever_its_worker_dies(tmp_path: Path) -> None:
    """Tune tells of one death twice where a trial waits for its worker: it must not be counted twice."""
    tree, plan = copy_tree(tmp_path / "tree", tmp_path / "runs"), tmp_path / "plan.json"
    trainable = tree.folder / "search" / "workers" / "trainable.py"
    code = trainable.read_text().replace(
        "class TrialWorker", DYING.replace("PLAN", repr(str(plan))) + "class TrialWorker"
    )
    for method, config in (("setup", "config"), ("reset_config", "new_config"), ("step", "self._config")):
        head = next(line for line in code.splitlines() if f"def {method}(" in line)
        code = code.replace(head, f"{head}\n        die({config}, {method!r})")
    trainable.write_text(code)
    places = {
        0: ["step", "setup", "step"],
        1: ["setup", "setup"],
        2: ["reset_config", "setup"],
        3: ["reset_config", "step", "setup"],
    }
    plan.write_text(json.dumps(places))
    tree.run(*launch(4, 2, "--workers", "1", "--pruner", "none"))
    assert json.loads(plan.read_text()) == {str(number): [] for number in places}
    assert "1 study checked, 0 problems" in tree.run("status", "--check").stdout
    entry = tree.status("kills-tiny")
    assert entry["trials"] == {"COMPLETE": 2, "FAIL": 2}
    assert entry["failures"] == {"its worker died 3 times": 2}


def test_a_worker_that_always_dies_fails_its_trial_with_the_reason(packages: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("import os; os._exit(9)")
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PROBE": str(probe)})
    tree.run(*launch(1, 2, "--workers", "1"), expect=1)
    entry = tree.status("kills-tiny")
    assert entry["trials"] == {"FAIL": 1}
    assert entry["failures"] == {"its worker died 3 times": 1}


def test_an_exception_in_a_model_is_a_failed_trial_and_five_of_them_at_the_begin_end_the_search(
    packages: Path, tmp_path: Path
) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("raise ValueError('no such layer')")
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PROBE": str(probe)})
    done = tree.run(*launch(30, 2), expect=1)
    assert "study kills-tiny: all 5 trials failed: 5 x ValueError: no such layer" in done.stderr
    assert "run the same command again" in done.stderr
    entry = tree.status("kills-tiny")
    assert entry["trials"]["FAIL"] == 5
    assert "RUNNING" not in entry["trials"]


# The process of the first trial breaks after it.
BROKEN = """
import os
import sys
from pathlib import Path

first = Path(os.environ["FIRST"])
if not first.exists():
    first.write_text(str(os.getpid()))
frame = sys._getframe()
while "job" not in frame.f_locals:
    frame = frame.f_back
if frame.f_locals["job"].number > 0 and first.read_text() == str(os.getpid()):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
"""


def test_a_worker_that_fails_five_times_in_a_row_is_replaced_and_the_search_goes_on(
    packages: Path, tmp_path: Path
) -> None:
    (tmp_path / "probe.py").write_text(BROKEN)
    environment = {"TINY_PROBE": str(tmp_path / "probe.py"), "FIRST": str(tmp_path / "first")}
    tree = Tree(packages, tmp_path / "runs", environment=environment)
    tree.run(*launch(8, 1, "--workers", "1"))
    assert tree.status("kills-tiny")["trials"] == {"FAIL": 5, "COMPLETE": 3}
    tree.run("status", "--check")


def test_a_model_that_never_returns_is_ended_by_the_trial_timeout(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "1000"})
    done = tree.run(*launch(1, 2, "--workers", "1", "--trial-timeout", "3"), expect=1)
    check_only_own_lines(done.stdout + done.stderr, tree, told=False)
    entry = tree.status("kills-tiny")
    assert entry["trials"] == {"FAIL": 1}
    assert "longer than --trial-timeout 3 s" in next(iter(entry["failures"]))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_in_order_and_says_how_to_go_on(
    packages: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.15"})
    driver = tree.start(*launch(4, 6, "--workers", "2"))
    wait_until(lambda: epochs_stored(tree) >= 2, what="two epochs")
    began = time.monotonic()
    output = end(driver, number)
    took = time.monotonic() - began
    print(f"\n{number.name}: ended after {took:.1f} s")
    assert driver.returncode == code, output
    assert took < 10
    assert "go on with: python -m search.launch --model tiny" in output
    assert [line for line in output.splitlines() if not OWN.fullmatch(line)] == []
    assert set(tree.status("kills-tiny")["trials"]) <= {"WAITING", "COMPLETE", "PRUNED"}


def test_a_time_limit_leaves_a_study_that_goes_on(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.3"})
    told = tree.run(*launch(3, 8, "--timeout", "25")).stdout
    assert "time limit reached; go on with:" in told
    assert "RUNNING" not in tree.status("kills-tiny")["trials"]


def test_a_time_limit_that_is_over_before_the_first_trial_ends_the_search_at_once(
    packages: Path, tmp_path: Path
) -> None:
    """Tune asks again and again where it has no trial, and looks at nothing else: the watchdog ended it, as failed."""
    tree = Tree(packages, tmp_path / "runs")
    told = tree.run(*launch(3, 8, "--timeout", "0.1"), seconds=100).stdout
    assert "time limit reached; go on with:" in told
    assert "RUNNING" not in tree.status("kills-tiny")["trials"]


def test_two_launchers_on_one_study_share_the_work(packages: Path, tmp_path: Path) -> None:
    tree = Tree(packages, tmp_path / "runs", environment={"TINY_PAUSE": "0.05"})
    both = [tree.start(*launch(6, 3, "--workers", "1")) for _ in range(2)]
    for driver in both:
        output, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, output
    check_whole(tree, 6, 3)


def test_a_search_on_postgresql_goes_on_after_its_driver_was_killed(
    packages: Path, tmp_path: Path, postgresql_url: str
) -> None:
    tree = Tree(packages, tmp_path / "runs", storage=postgresql_url, environment={"TINY_PAUSE": "0.1"})
    driver = tree.start(*launch(3, 3))
    log = tree.runs / "kills" / "logs"
    wait_until(lambda: any("begins" in path.read_text() for path in log.glob("*.log")), what="a trial")
    end(driver, signal.SIGKILL)
    assert tree.status("kills-tiny")["trials"].get("RUNNING")
    tree.run(*launch(3, 3))
    entry = tree.status("kills-tiny")
    assert entry["finished"] == 3
    assert set(entry["trials"]) <= {"COMPLETE", "PRUNED"}
