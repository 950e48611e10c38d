"""A command's work in a process that is another's: a script, a notebook, a program that goes on afterwards.

A command has its process for itself, and leaves it to its end what Ray, Tune and signals have done to it. Here all of
that is put back.
"""

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from data_utils.machine import limit_threads
from search.command.outcome import RAY_THREAD, of_two_kinds, told
from search.command.signals import Signals
from search.command.terminal import LOGGER, called
from search.errors import Interrupted, SearchError, UsageError
from studies.storage.closing import closed_afterwards

_ALONE = threading.Lock()
_ENDING_SECONDS = 60.0
"""For a Ray to end; one that has died takes half of it."""


@contextmanager
def guest(go_on: str, *, progress: bool) -> Iterator[Signals]:
    """Within the block a command may work; after it the process is as it was before.

    Signals, environment, hooks and logging are the process's, so that two calls at once would put back each other's.

    Args:
        go_on: the call, which continues the work where it was interrupted.
        progress: whether it is shown.

    Raises:
        UsageError: bad input or a refusal; or another call is at work.
        SearchFailed: the work itself failed.
        KeyboardInterrupt: Ctrl-C ended the work, in order.
        Interrupted: so did another signal, and this process has a handler of its own for it, which has returned.
    """
    _check_main()
    if not _ALONE.acquire(blocking=False):
        raise UsageError("another call of search.api is at work in this process: wait for its end, or start a process")
    try:
        with _as_it_was(), closed_afterwards(), called(progress=progress):
            yield from _working(go_on)
    except Interrupted as ended:
        if ended.signal == signal.SIGINT:
            raise KeyboardInterrupt(f"ended in order; go on with: {go_on}") from None
        signal.raise_signal(ended.signal)  # the process's own answer to it; mostly its end
        raise
    finally:
        _ALONE.release()


def _working(go_on: str) -> Iterator[Signals]:
    signals = Signals(go_on)
    limit_threads()
    try:
        with of_two_kinds(lambda: go_on), signals.installed():
            yield signals
    except SearchError as error:
        line = told(error)
        if LOGGER.handlers:  # else Python would print it
            LOGGER.error("%s", line)
        error.args = (line,)
        raise


def _check_main() -> None:
    """Refuses a script that a process of ours imports again, to find its functions: it would begin all anew.

    Raises:
        UsageError: this is such a process.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "this script is imported by a process that reads pictures for it: let it call search.api below a line "
            'if __name__ == "__main__":'
        )


@contextmanager
def _as_it_was() -> Iterator[None]:
    environment, hook, faults = dict(os.environ), sys.excepthook, faulthandler.is_enabled()
    log = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate, logging.raiseExceptions
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="IProgress not found"
            )  # no bar of tqdm, which Optuna has, is shown
            yield
    finally:
        _wait_for_ray()
        _put_back_environment(environment)
        _put_back_handlers(handlers)
        for ours in [one for one in LOGGER.handlers if one not in log[0]]:
            ours.close()
        LOGGER.handlers, level, LOGGER.propagate, logging.raiseExceptions = log
        LOGGER.setLevel(level)
        sys.excepthook = hook
        if not faults:
            faulthandler.disable()


def _wait_for_ray() -> None:
    """Lets a Ray end that was interrupted as it started: it would stay, and the next call could not start its own."""
    for thread in threading.enumerate():
        if thread.name == RAY_THREAD:
            thread.join(_ENDING_SECONDS)


def _put_back_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _put_back_handlers(before: Mapping[signal.Signals, Any]) -> None:
    """Tune takes SIGUSR1, Ray SIGTERM. A handler that is None was set by something other than Python."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
