"""deploy/in_ray.sh, with a stand-in for ray that notes what it was asked."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
from tree import wait_until

SCRIPT = Path(__file__).resolve().parent.parent / "deploy" / "in_ray.sh"
RAY = """#!/bin/bash
echo "ray $1 $2 storage=${HISTOTUNE_STORAGE-none} password=${PGPASSWORD-none}" >> "$SEEN"
[[ $2 != *nowhere* ]] || { printf 'Traceback\\n  a frame\\nConnectionError: no answer. See there\\n\\n'; exit 1; }
"""


@pytest.fixture
def around(tmp_path: Path) -> dict[str, str]:
    """The environment of a command that knows the database."""
    (tmp_path / "ray").write_text(RAY)
    (tmp_path / "ray").chmod(0o755)
    known = {"HISTOTUNE_STORAGE": "postgresql://u@h/d", "PGPASSWORD": "hush"}
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SEEN": str(tmp_path / "seen"), **known}


def start(around: dict[str, str], *typed: str) -> subprocess.Popen[str]:
    """Starts it as a terminal does: what ignores a hang-up, as nohup, has all that it starts ignore it."""
    hears = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    return subprocess.Popen([SCRIPT, *typed], env=around, stdout=-1, stderr=-1, text=True, preexec_fn=hears)


def seen(around: dict[str, str]) -> list[str]:
    file = Path(around["SEEN"])
    return file.read_text().splitlines() if file.exists() else []


def test_the_command_alone_knows_the_database_and_its_node_is_taken_out(around: dict[str, str]) -> None:
    command = start(around, "head:6379", "sh", "-c", 'echo "$HISTOTUNE_STORAGE $PGPASSWORD $*"; exit 7', "sh", "a b")
    said, told = command.communicate(timeout=60)
    assert (said, told, command.returncode) == ("postgresql://u@h/d hush a b\n", "", 7)
    first, last = seen(around)
    assert first == "ray start --address=head:6379 storage=none password=none"
    assert last.startswith("ray stop")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_command_once_which_ends_in_its_own_time(
    around: dict[str, str], number: signal.Signals
) -> None:
    end = f"trap 'echo told; sleep 0.3; echo done; exit 3' {number.name.removeprefix('SIG')}; echo begun >> $SEEN"
    command = start(around, "head:6379", "bash", "-c", f"{end}; while true; do sleep 0.1; done")
    wait_until(lambda: "begun" in seen(around), 60, "the command")
    command.send_signal(number)
    said, _ = command.communicate(timeout=60)
    assert (said, command.returncode) == ("told\ndone\n", 3)
    assert seen(around)[-1].startswith("ray stop")


def test_a_ray_that_cannot_be_joined_is_one_line(around: dict[str, str]) -> None:
    command = start(around, "nowhere:1", "echo", "begun")
    said, told = command.communicate(timeout=60)
    assert (said, command.returncode) == ("", 1)
    assert told == "Ray at nowhere:1 cannot be joined: ConnectionError: no answer\n"


@pytest.mark.parametrize("cores", ["abc", "0", "1.5", "-1"])
def test_workers_that_could_not_begin_are_told_of_where_somebody_reads(around: dict[str, str], cores: str) -> None:
    command = start({**around, "WORKER_CPUS": cores}, "head:6379", "echo", "begun")
    said, told = command.communicate(timeout=60)
    assert (said, command.returncode) == ("", 2)
    assert told.startswith(f"WORKER_CPUS={cores} is no number of cores, as 4 is: mend it in .env")
    assert seen(around) == []
