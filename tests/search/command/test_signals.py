"""Signals and output that goes nowhere, without a search."""

import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest

from search.command.signals import Signals
from search.errors import Interrupted

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_waits_for_the_work_and_the_second_does_not(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # the tests may run under nohup
    signals = Signals("go on")
    with signals.installed(), signals.deferred():
        os.kill(os.getpid(), number)
        assert "ending in order" in capsys.readouterr().err
        with pytest.raises(Interrupted) as waited:
            signals.check()
        assert (waited.value.signal, waited.value.go_on) == (number, "go on")
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)


def test_a_signal_before_the_work_began_ends_it_at_once() -> None:
    with Signals("go on").installed(), pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_that_a_weak_references_callback_swallows_comes_again(capfd: pytest.CaptureFixture[str]) -> None:
    class Patches:
        """Something that can be referred to weakly."""

    patches = Patches()
    watched = weakref.ref(patches, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with Signals("go on").installed():
        del patches
        assert watched() is None  # reached: the callback's exception has not left it
        with pytest.raises(Interrupted) as ended:
            time.sleep(60)
    assert ended.value.signal == signal.SIGTERM
    assert capfd.readouterr().err == ""


def test_another_failure_of_a_finalizer_is_told_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("not the signal's")

    with Signals("go on").installed():
        Broken()
    assert "ValueError: not the signal's" in capfd.readouterr().err


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals = Signals("go on")
        with signals.installed(), signals.deferred():
            os.kill(os.getpid(), signal.SIGHUP)
            signals.check()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_work_goes_on_when_nobody_reads_its_output_any_more() -> None:
    script = """
import sys
from search.command.signals import Signals
with Signals("").installed():
    for _ in range(3):
        print("x" * 100_000, flush=True)
        sys.stderr.write("still here\\n")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.decode()) == (0, "still here\n" * 3)
