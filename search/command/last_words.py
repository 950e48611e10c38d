"""Speaks for a driver that cannot: after ``kill -9``, or where Ray's C++ ends it because Ray itself has died.

A process of its own waits for the driver's end of a pipe to close. A driver that ends in order says goodbye first;
where none was said, the process writes on the terminal and in the log what happened and how to go on. It knows the
standard library only, so that it is there at once and costs next to nothing.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn

_GOODBYE = "goodbye"


class LastWords:
    """Within the block, the death of this process is told on stderr and in the log."""

    def __init__(self, go_on: str, log: Path) -> None:
        """``go_on`` is the command that continues the work, without passwords; ``log`` the file to append to."""
        self._go_on = go_on
        self._log = log.resolve()

    def __enter__(self) -> "LastWords":
        """Starts the process that waits."""
        self._speaker = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C and a closed terminal are the driver's to answer
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},  # no passwords
        )
        died = (
            f"the driver (process {os.getpid()}) ended without a word: it was killed, the machine ran out of memory, "
            "or Ray's control store (GCS), or the way to it, died and took it along"
        )
        self._say(f"{self._log}\n{self.told(died)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Says goodbye: whatever there is to tell now, the driver tells itself."""
        self._speaker.communicate(_GOODBYE)

    def told(self, reason: str) -> str:
        """The line that a user reads."""
        return (
            f"{reason}. All results that were shown are in the database, and what was running goes on from its last "
            f"epoch. Go on with: {self._go_on}"
        )

    def exit(self, reason: str) -> NoReturn:
        """Ends this process at once, with exit code 1, and has the reason told."""
        self._say(self.told(reason))
        os._exit(1)

    def _say(self, line: str) -> None:
        assert self._speaker.stdin is not None
        with suppress(BrokenPipeError):
            self._speaker.stdin.write(f"{line}\n")
            self._speaker.stdin.flush()


def _speak() -> None:
    log, *told = sys.stdin.read().splitlines() or [""]  # read to the end: until the driver has ended
    if not told or told[-1] == _GOODBYE:
        return
    with suppress(OSError):
        sys.stderr.write(f"{told[-1]}\n")
        sys.stderr.flush()
    with suppress(OSError), Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')},000 ERROR {told[-1]}\n")


if __name__ == "__main__":
    _speak()
