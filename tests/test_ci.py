"""What .ci/run answers, with a stand-in for make."""

import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_with(make, tmp_path):
    """Runs .ci/run where ``make`` is this shell script, and what it would install is there already."""
    for name, script in (("make", make), ("chromium", ""), ("faketime", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "NOTE": str(tmp_path / "note")}
    return subprocess.run([ROOT / ".ci/run"], env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        ("true", 0),
        ('test "$1" != install', 1),
        ('test "${1#--jobs}" = "$1"', 1),
        ('test "$1" != test-all', 1),
        ("false", 1),
    ],
)
def test_it_fails_when_lint_docs_or_the_tests_fail_and_runs_all(tmp_path, make, code):
    done = run_with(f'echo "ran $*"; {make}', tmp_path)
    assert done.returncode == code
    both = "ran --jobs=2 --keep-going --output-sync=target lint docs"
    assert done.stdout.split("\n")[:3] == ["ran install", both, "ran test-all"]


@pytest.mark.parametrize("failing", ["lint", "docs"])
def test_make_fails_and_runs_both_when_one_of_the_two_at_once_fails(tmp_path, failing):
    targets = "".join(f"{name}:\n\techo ran {name}{'; exit 3' * (name == failing)}\n" for name in ("lint", "docs"))
    (tmp_path / "Makefile").write_text(targets)
    command = next(line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make --jobs"))
    done = subprocess.run(["bash", "-c", command.partition("||")[0]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert {"ran lint", "ran docs"} <= set(done.stdout.split("\n"))


def test_it_ends_what_the_tests_left_behind(tmp_path):
    leave = '{ setsid sleep 600 >/dev/null 2>&1 & echo $! > "$NOTE"; sleep 1; }'  # until it is another program
    done = run_with(f'test "$1" != test-all || {leave}', tmp_path)
    pid = (tmp_path / "note").read_text().strip()
    assert "left over, sent TERM: " in done.stdout
    assert ended(pid)


def ended(pid):
    """Whether the process is gone within a few seconds; one that nobody waits for stays as a zombie."""
    for _ in range(50):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
