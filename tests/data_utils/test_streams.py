"""Output that goes nowhere, is not read to its end, or has signs that a locale lacks: no traceback, no lost work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAYING = """
import os, sys
from {package} import run_command

def main():
    os.close(os.open(os.devnull, os.O_RDONLY))  # a file of the command's own
    for number in range(3):
        sys.stdout.write(chr(252) * 100_000 + chr(10))
        sys.stdout.flush()
    sys.stderr.write("done, " + chr(252) + chr(10))
    return 0

sys.exit(run_command(main))
"""
BOTH = pytest.mark.parametrize("package", ["search.command.outcome", "data_utils.command"])
COMMANDS = pytest.mark.parametrize(
    "command",
    [("search.completion", "bash"), ("search.launch", "--help"), ("data_utils.match", "--help"), ("search", "--help")],
)


def in_shell(line: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, with the interpreter as $0 and what it is given as $@."""
    return subprocess.run(
        ["bash", "-c", line, sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",  # head cuts a sign in two
        check=False,
        timeout=60,
        env={**os.environ, **environ},
    )


@BOTH
@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "| head -c 1"])
def test_a_command_whose_output_nobody_takes_ends_well(package: str, closed: str) -> None:
    done = in_shell(f'set -o pipefail; "$0" "$@" {closed}', "-c", SAYING.format(package=package))
    assert (done.returncode, done.stderr) == (0, "done, \\xfc\n" if done.stderr.isascii() else "done, ü\n")


@BOTH
def test_a_command_without_any_stream_ends_well(package: str) -> None:
    done = in_shell('"$0" "$@" <&- >&- 2>&-', "-c", SAYING.format(package=package))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@COMMANDS
@pytest.mark.parametrize("closed", [">&-", "| head -1 >/dev/null"])
def test_what_is_asked_for_may_go_unread(command: tuple[str, ...], closed: str) -> None:
    done = in_shell(f'set -o pipefail; "$0" "$@" {closed}', "-m", *command)
    assert (done.returncode, done.stderr) == (0, "")


@BOTH
@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"},
    ],
)
def test_a_sign_that_the_locale_lacks_is_written_as_an_escape(package: str, locale: dict[str, str]) -> None:
    done = in_shell('"$0" "$@"', "-c", SAYING.format(package=package), LC_ALL="C", **locale)
    assert (done.returncode, done.stderr) == (0, "done, \\xfc\n")
    assert done.stdout == ("\\xfc" * 100_000 + "\n") * 3


def test_a_path_that_the_locale_lacks_is_named_in_one_line(tmp_path: Path) -> None:
    runs = tmp_path / "für"
    done = in_shell('"$0" "$@"', "-m", "search.status", "--runs", str(runs), LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.startswith(f"there is no database {tmp_path}/f\\xfcr/studies.db yet")
    assert done.stderr.count("\n") == 1
