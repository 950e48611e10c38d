"""Ctrl-C, SIGTERM and a closed terminal: the first ends the work in order, the second at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from data_utils.streams import lasting
from search.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_AFTER = 0.05  # seconds until a signal that was swallowed is sent once more


class Signals:
    """Turns signals into ``Interrupted``, at a moment that suits the work."""

    def __init__(self, go_on: str) -> None:
        """``go_on`` is the command that continues the work."""
        self.go_on = go_on
        self._received: int | None = None
        self._deferred = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Receives signals within the block, and lets it outlive its terminal."""
        before = {number: signal.signal(number, self._receive) for number in _wanted()}
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (lasting(stream, OSError) for stream in streams)
        unraisable = sys.unraisablehook
        sys.unraisablehook = _send_again
        try:
            yield
        finally:
            sys.unraisablehook = unraisable
            sys.stdout, sys.stderr = streams
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block the first signal waits for ``check``; a second one still ends the block at once.

        To be entered after Ray has started, since Ray takes SIGTERM for itself.
        """
        self._deferred = True
        for number in _wanted():
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self._received is not None:
            raise Interrupted(self._received, self.go_on)

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        again = self._received is not None
        self._received = number
        if again or not self._deferred:
            raise Interrupted(number, self.go_on)
        sys.stderr.write("ending in order; press Ctrl-C again to end at once\n")


def _send_again(swallowed: "sys.UnraisableHookArgs") -> None:
    """Sends a signal once more whose exception met a finalizer or a weak reference's callback, which swallow it."""
    if isinstance(swallowed.exc_value, Interrupted):
        threading.Timer(_AGAIN_AFTER, os.kill, (os.getpid(), swallowed.exc_value.signal)).start()
    else:
        sys.__unraisablehook__(swallowed)


def _wanted() -> list[signal.Signals]:
    """All but a SIGHUP that is ignored, as ``nohup`` asks for; none outside of the main thread, where none comes."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in _SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
