"""Standard streams as a command needs them: open, able to write every sign, and without harm where nobody reads."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class Lasting:
    """A stream that goes nowhere once its reader is gone, instead of ending the work.

    Attributes:
        gone: whether it is.
    """

    def __init__(self, stream: TextIO, kind: type[OSError] = BrokenPipeError) -> None:
        """``kind`` of error tells that nobody reads."""
        self.gone = False
        self._stream, self._kind = stream, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As the stream's."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As the stream's."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except self._kind:
            self.gone = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def lasting(stream: TextIO, kind: type[OSError] = BrokenPipeError) -> TextIO:
    """The stream, as ``Lasting``."""
    return cast("TextIO", Lasting(stream, kind))


@contextmanager
def settled_streams() -> Iterator[None]:
    """Within the block standard output and errors can be written to, whatever became of them and of the locale.

    A stream that was closed before the start is nowhere (else the next file that is opened would take its number, and
    what children print would go there); a sign that the locale lacks is written as an escape.
    """
    for number in range(3):
        _open(number)
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # it asks where it stands, which a pipe that took the place of a file does not know
                stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (lasting(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk: the interpreter says so, when it tries again at its end
                stream.flush()
        sys.stdout, sys.stderr = before


def _open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    name = ("stdin", "stdout", "stderr")[number]
    if getattr(sys, name) is None:
        setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
