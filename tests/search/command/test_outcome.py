"""How a command ends: exit codes, one line on stderr, no password in it."""

import signal
import subprocess
import sys

import pytest
from rich.console import Console

from data_utils.errors import FormatError, LabelError
from models._errors import WeightsError
from search.command.outcome import command_line, run_command
from search.command.settings import parse_launch
from search.command.terminal import say
from search.errors import Interrupted, SearchFailed, UsageError
from studies.errors import DefinitionMismatchError
from studies.secrets import bare, masked


def raising(error):
    def main():
        raise error

    return main


def test_a_command_that_does_its_work_hands_on_its_exit_code(capsys):
    assert run_command(lambda: 0) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FormatError("X.npy is cut short"), 2),
        (LabelError("labels are 0 and 2"), 2),
        (WeightsError("no weights"), 2),
        (DefinitionMismatchError("epochs was 12, is 4"), 2),
        (UsageError("two studies; name one"), 2),
        (SearchFailed("the first 5 trials failed:\n  out of memory"), 1),
    ],
)
def test_our_own_errors_are_one_line_and_a_code(capsys, error, code):
    assert run_command(raising(error)) == code
    assert capsys.readouterr().err == " ".join(str(error).split()) + "\n"


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_an_interruption_says_how_to_go_on(capsys, number, code):
    assert run_command(raising(Interrupted(number, "python -m search.launch --model cnn"))) == code
    assert capsys.readouterr().err.endswith("go on with: python -m search.launch --model cnn\n")


def test_ctrl_c_before_the_work_began_is_an_interruption(capsys):
    assert run_command(raising(KeyboardInterrupt())) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search.status", "data_utils.match"])
def test_ctrl_c_while_a_command_imports_ends_it_without_a_traceback(command):
    package = command.partition(".")[0]
    start = [sys.executable, "-X", "importtime", "-m", command, "--help"]
    with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as starting:
        for line in starting.stderr:
            if line.endswith(f"| {package}\n"):  # the package is imported, the command is not
                starting.send_signal(signal.SIGINT)
                break
        told = starting.stderr.read().splitlines(keepends=True)
    assert starting.returncode == 130
    assert [line for line in told if not line.startswith("import time:")] == ["interrupted by SIGINT\n"]


def test_only_a_starting_command_takes_ctrl_c_for_itself():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(raising(ZeroDivisionError()))


def test_nothing_takes_an_interruption_for_a_failure():
    assert not issubclass(Interrupted, Exception)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@host:5432/name",
        "postgresql+psycopg://:s3cret@host/name",
        "postgresql://user:s3c/ret@with@raw:signs@host/name",
        "postgresql:///name?host=/tmp&password=s3cret&port=1",
        "postgresql:///name?host=/tmp&pass%77ord=s3cret&port=1",
        "postgresql://user@server:s3cret@host/name",
        "postgresql://a user:s3cret@host/name",
        "postgresql://user:s3c ret@host/name",
    ],
)
def test_passwords_are_masked_wherever_a_url_is_written(capsys, url):
    text = masked(f"cannot open {url} now")
    assert "s3c" not in text
    assert "***" in text
    assert "name" in text
    assert text.endswith(" now")
    assert "s3c" not in bare(url)
    run_command(raising(UsageError(f"cannot open {url}")))
    assert "s3c" not in capsys.readouterr().err


def test_what_has_no_password_stays_as_it_is():
    text = "sqlite:///runs/studies.db and postgresql://user@host/name, 12:30 by a@b"
    assert masked(text) == text


HINT = "there is no study: begin with python -m search.launch, or python -m data_utils.fetch; see python -m searches"


@pytest.mark.parametrize(
    ("by", "script", "launch"),
    [
        ("", "pytest", "python -m search.launch"),
        ("", "/opt/venv/bin/histotune", "histotune launch"),
        ("docker compose run --rm", "/app/search/launch.py", "docker compose run --rm launch"),
    ],
)
def test_hints_are_words_that_their_reader_can_type(capsys, monkeypatch, by, script, launch):
    monkeypatch.setenv("HISTOTUNE_RUN_BY", by)
    monkeypatch.setattr("sys.argv", [script])
    hint = HINT.replace("python -m search.launch", launch)
    assert run_command(raising(UsageError(HINT))) == 2
    assert capsys.readouterr().err == f"{hint}\n"
    say(Console(file=sys.stdout, width=1000), HINT)
    assert capsys.readouterr().out == f"{hint}\n"
    assert command_line("launch", ["--model", "cnn"]) == f"{launch} --model cnn"
    with pytest.raises(SystemExit):
        parse_launch(["--model", "cnn", "--trails", "3"], {})
    assert capsys.readouterr().err.startswith(f"{launch}: --trails is not an option")


def test_the_command_to_go_on_with_can_be_pasted_and_holds_no_password():
    line = command_line("launch", ["--data", "my patches", "--storage", "postgresql://u:s3cret@h/d"])
    assert line == "python -m search.launch --data 'my patches' --storage 'postgresql://u:***@h/d'"
