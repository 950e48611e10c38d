"""Whether a process may take another job: one whose jobs all fail, or that has kept memory of theirs, is replaced."""

import gc
import logging
import os

from search.training.device import free_memory, held_memory
from search.training.jobs import IN_A_ROW

LEAK_BYTES = 2**30
"""A process that holds so much more than after its first job is replaced before the next."""
LOGGER = logging.getLogger("histotune")


class Fitness:
    """Of the process of one worker."""

    def __init__(self, device: str) -> None:
        """``device`` is where its jobs are trained."""
        self.failed = False  # the last job
        self._device = device
        self._failures = 0  # jobs in a row
        self._jobs = 0
        self._held = 0  # bytes after the first job

    def check(self) -> None:
        """Before each job: ends this process where it had better not take it; the job then begins in another one."""
        self._end_if_failing()
        self._end_if_leaking()
        self.failed = False

    def _end_if_failing(self) -> None:
        """As in a broken CUDA context."""
        self._failures = self._failures + 1 if self.failed else 0
        if self._failures >= IN_A_ROW:
            LOGGER.warning("replaced: its last %d trials all failed", self._failures)
            os._exit(1)

    def _end_if_leaking(self) -> None:
        free_memory(self._device)
        if self._jobs <= 1:
            gc.freeze()  # what libraries keep, also those that the first job imports: no later look goes through it
        held = held_memory(self._device)
        if self._jobs == 1:
            self._held = held
        elif self._jobs > 1 and held > self._held + LEAK_BYTES:
            LOGGER.warning("replaced: %.1f GB of earlier trials were left in memory", (held - self._held) / 2**30)
            os._exit(1)
        self._jobs += 1
