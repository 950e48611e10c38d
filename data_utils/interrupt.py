"""Ctrl-C in the first moments of a command, while it imports: nothing has begun, so it ends at once, in one line."""

import os
import signal
import sys
from types import FrameType


def guard_imports() -> None:
    """Ends the process on Ctrl-C until ``let_go``, where a command of a package of ours is starting.

    ``python -m`` imports the package while ``sys.argv[0]`` is still "-m"; whoever else imports it is left alone.
    """
    if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def let_go() -> None:
    """From here on the command answers Ctrl-C itself."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    os.write(2, b"interrupted by SIGINT\n")
    os._exit(128 + number)
