"""What a call from Python does to the process that it is made in, without a search."""

import faulthandler
import logging
import os
import signal
import sys
import threading
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from data_utils.errors import LabelError
from search import api
from search.command.guest import guest
from search.command.outcome import RAY_THREAD
from search.command.signals import Signals
from search.command.terminal import LOGGER, log_to, say, screen
from search.errors import Interrupted, SearchFailed, UsageError
from studies.errors import StorageGoneError


def state() -> dict[str, object]:
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment": dict(os.environ),
        "hooks": (sys.excepthook, sys.unraisablehook),
        "streams": (sys.stdout, sys.stderr),
        "faults": faulthandler.is_enabled(),
        "warnings": list(warnings.filters),
        "logging": (LOGGER.handlers[:], LOGGER.level, LOGGER.propagate, logging.raiseExceptions),
        "threads": threading.enumerate(),
    }


def disturb(folder: Path) -> None:
    """What Ray, Tune and a run do to a process; a failure in the end."""
    os.environ["RAY_SOMETHING"] = "1"
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.excepthook = lambda *_: None
    faulthandler.enable()
    warnings.simplefilter("ignore")
    log_to(folder, "launch", "debug")
    threading.Thread(target=threading.Event().wait, args=(0.2,), name=RAY_THREAD).start()
    del os.environ["TZ"]


def test_all_that_a_run_does_to_its_process_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was_on = faulthandler.is_enabled()  # pytest has it on
    faulthandler.disable()
    before = state()
    try:
        with guest("", progress=False):
            disturb(tmp_path)
        assert state() == before
        monkeypatch.delenv("TZ")
        before = state()
        with pytest.raises(KeyError), guest("", progress=False):
            disturb(tmp_path)  # TZ is gone already
        assert state() == before
    finally:
        if was_on:
            faulthandler.enable()


def fail_on_record(folder: Path) -> None:
    log_to(folder, "launch", "info")
    LOGGER.info("trial 0 begins")
    raise LabelError("labels are 0 and 2")


def test_a_handler_of_the_callers_is_told_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    own = Keep()
    monkeypatch.setattr(LOGGER, "handlers", [own])  # other tests leave their log files
    with pytest.raises(UsageError), guest("", progress=False):
        fail_on_record(tmp_path)
    assert told == ["trial 0 begins", "labels are 0 and 2"]
    (log,) = tmp_path.iterdir()
    assert "ERROR labels are 0 and 2" in log.read_text()
    assert LOGGER.handlers == [own]


def test_ctrl_c_is_a_keyboard_interrupt_that_says_how_to_go_on() -> None:
    told = pytest.raises(KeyboardInterrupt, match=r"go on with: search\.api\.launch\(\)")
    with told, guest("search.api.launch()", progress=False):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class InOrder:
    """Work that has to be closed."""

    def __init__(self, order: list[object]) -> None:
        self._order = order

    def close(self) -> None:
        self._order.append("in order")


def test_sigterm_is_answered_by_the_process_once_the_work_has_ended_in_order() -> None:
    order: list[object] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: order.append(number))
    try:
        with pytest.raises(Interrupted), guest("", progress=False), closing(InOrder(order)):
            os.kill(os.getpid(), signal.SIGTERM)
        assert order == ["in order", signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("problem", "kind", "said"),
    [
        (LabelError("labels\nare 0 and 2"), UsageError, "^labels are 0 and 2$"),
        (StorageGoneError("postgresql://a:b@c/d", 3, "away"), SearchFailed, r"a:\*\*\*@c/d.*go on with: here$"),
        (PermissionError(13, "Permission denied", "runs"), SearchFailed, "^runs cannot be used"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_goes_wrong_is_of_two_kinds_in_one_line_without_passwords(
    problem: Exception, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as raised, guest("here", progress=False):
        raise problem
    assert raised.value.__cause__ is problem


def test_an_error_of_the_program_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), guest("", progress=False):
        raise ZeroDivisionError


def test_a_second_call_at_once_is_refused() -> None:
    with guest("", progress=False), pytest.raises(UsageError, match="is at work in this process"):
        api.launch(model="cnn")
    with guest("", progress=False):
        """The first has ended."""


def test_a_script_that_a_process_of_ours_imports_again_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.current_process", lambda: type("Starting", (), {"_inheriting": True}))
    with pytest.raises(UsageError, match='if __name__ == "__main__":'):
        api.launch(model="cnn")


def test_signals_are_left_alone_in_another_thread() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with guest("", progress=False) as signals, signals.deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    with Signals("").installed():
        assert signal.getsignal(signal.SIGINT) != before


@pytest.mark.parametrize(("progress", "shown"), [(True, "as it is\n"), (False, "")])
def test_progress_is_plain_lines_on_standard_output_or_nothing(
    progress: bool, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter has it
    with guest("", progress=progress):
        console = screen(stderr=True)
        say(console, "as it is")
        assert not console.is_terminal
    assert capsys.readouterr() == (shown, "")
