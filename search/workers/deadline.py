"""A limit on the time of a job, also for one that never comes back."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_SECONDS = 5.0
"""After its time limit, a job that has not ended by itself is ended with its process, unless epochs take longer."""


class OutOfTimeError(Exception):
    """The time limit of a job has passed."""


class Deadline:
    """A limit on the time that a job may take, from its first epoch on: what it needs to be set up is not counted.

    Between epochs the job is told, so that the epoch that crosses the limit counts. A job that does not come back is
    ended with its process, and leaves a note so that it is not started again. It is given as long beyond the limit as
    its longest epoch took, and the time of the limit for its set-up.
    """

    def __init__(self, folder: Path, seconds: float | None, leave: Callable[[Path], None] | None = None) -> None:
        """Begins with a job.

        Args:
            folder: the job's own, for the note.
            seconds: None for no limit.
            leave: is given the note, where the folder is not seen by whoever takes up the job.
        """
        self._note = folder / "timed_out"
        self._seconds = seconds
        self._leave = leave
        self._until = None if seconds is None else time.monotonic() + seconds
        self._begun = False
        self._longest = 0.0  # seconds of an epoch
        self._timer: threading.Timer | None = None

    def begin(self, before: float, epochs: int) -> None:
        """The job is set up: its time runs from now.

        Args:
            before: seconds that earlier processes spent on its epochs.
            epochs: that are behind it.
        """
        self._begun = True
        if self._seconds is not None:
            self._until = time.monotonic() + self._seconds - before
            self._longest = before / max(epochs, 1)
            if self._timer is not None:
                self._watch()

    def epoch(self, seconds: float) -> None:
        """An epoch took so long."""
        self._longest = max(self._longest, seconds)

    def check(self) -> None:
        """Raises OutOfTimeError once the time is over, or where it was in an earlier process."""
        over = self._begun and self._until is not None and time.monotonic() > self._until
        if over or self._ended_before():
            raise OutOfTimeError(f"it took longer than --trial-timeout {self._seconds:g} s")

    def _ended_before(self) -> bool:
        """Whether a process was ended over this job under no shorter limit than today's."""
        with suppress(OSError, ValueError):
            return self._seconds is not None and float(self._note.read_text(encoding="ascii")) >= self._seconds
        return False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ends the process where the block does not end in time; nobody watches a worker that waits for work."""
        if self._until is None:
            yield
            return
        self._watch()
        try:
            yield
        finally:
            assert self._timer is not None
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Starts the watch, or starts it anew."""
        assert self._until is not None
        if self._timer is not None:
            self._timer.cancel()
        left = max(0.0, self._until - time.monotonic()) + max(GRACE_SECONDS, self._longest)
        self._timer = threading.Timer(left, self._end_process)
        self._timer.daemon = True
        self._timer.start()

    def _end_process(self) -> None:
        try:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_text(str(self._seconds), encoding="ascii")
            if self._leave is not None:
                self._leave(self._note)
        finally:  # also where the disk is full
            os._exit(1)
