"""A limit on the time of a job, also for one that never comes back."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_SECONDS = 5.0
"""After its time limit, a job that has not ended by itself is ended with its process."""


class Deadline:
    """A limit on the time that a job may take.

    Between epochs the job is told. A job that does not come back is ended with its process, and leaves a note so that
    it is not started again.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        """``folder`` is the job's own, for the note; ``seconds`` is None for no limit."""
        self._note = folder / "timed_out"
        self._seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds

    def spent(self, seconds: float) -> None:
        """Counts what earlier processes spent on the job as well."""
        if self._until is not None:
            self._until -= seconds

    def check(self) -> None:
        """Raises TimeoutError once the time is over."""
        if self._until is not None and (self._ended_before() or time.monotonic() > self._until):
            raise TimeoutError(f"it took longer than --trial-timeout {self._seconds:g} s")

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
        timer = threading.Timer(max(0.0, self._until - time.monotonic()) + GRACE_SECONDS, self._end_process)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_process(self) -> None:
        try:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_text(str(self._seconds), encoding="ascii")
        finally:  # also where the disk is full
            os._exit(1)
