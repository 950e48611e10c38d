"""A driver that is ended without a chance to speak: what happened is said for it, and how to go on."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import os, sys
from pathlib import Path
from search.command.last_words import LastWords

with LastWords("python -m search.launch --model cnn", Path(sys.argv[1])) as last_words:
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
    if sys.argv[2] == "by C++":
        os._exit(1)
    if sys.argv[2] == "Ray died":
        last_words.exit("Ray's raylet has died")
"""


def run(log: Path, how: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), "HISTOTUNE_STORAGE": "postgresql://me:secret@host/db"}
    return subprocess.run(
        [sys.executable, "-c", DRIVER, str(log), how],
        env=environment,
        capture_output=True,  # which ends when nobody holds the pipe any more: after the last words
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("killed", -9, "ended without a word: it was killed"),
        ("by C++", 1, "ended without a word: it was killed, the machine ran out of memory, or Ray's control store"),
        ("Ray died", 1, "Ray's raylet has died. All results"),
    ],
)
def test_what_happened_and_how_to_go_on_is_said_on_the_terminal_and_in_the_log(
    tmp_path: Path, how: str, code: int, said: str
) -> None:
    log = tmp_path / "launch.log"
    done = run(log, how)
    assert done.returncode == code
    for told in (done.stderr, log.read_text()):
        assert said in told
        assert told.endswith("Go on with: python -m search.launch --model cnn\n")
        assert len(told.splitlines()) == 1


def test_nothing_is_said_of_a_driver_that_ended_in_order(tmp_path: Path) -> None:
    done = run(tmp_path / "launch.log", "in order")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "launch.log").exists()


def test_who_speaks_knows_no_password(tmp_path: Path) -> None:
    script = DRIVER + "    import time\n"
    script += (
        "    while not open(f'/proc/{last_words._speaker.pid}/cmdline').read():\n"  # empty while it is being started
    )
    script += "        time.sleep(0.01)\n"
    script += "    print(open(f'/proc/{last_words._speaker.pid}/environ').read())\n"
    script += "    print(open(f'/proc/{last_words._speaker.pid}/cmdline').read())\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "launch.log"), "in order"],
        env={"PYTHONPATH": str(ROOT), "HISTOTUNE_STORAGE": "postgresql://me:secret@host/db"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "last_words.py" in done.stdout
    assert "secret" not in done.stdout


def test_ctrl_c_does_not_silence_it(tmp_path: Path) -> None:
    """The terminal sends SIGINT to all processes in front; the one that is to speak is not among them."""
    script = DRIVER + "    print(os.getpgid(0) == os.getpgid(last_words._speaker.pid))\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "launch.log"), "in order"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "False\n"
