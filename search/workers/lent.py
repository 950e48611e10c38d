"""Tells whoever decides which hosts may have workers, as often as that changes."""

import time
from collections.abc import Callable

from search.workers.room import RECOUNT_SECONDS
from studies.records import HostLent


class Lent:
    """What was told last."""

    def __init__(
        self,
        hosts: Callable[[], tuple[HostLent, ...]],
        tell: Callable[[tuple[HostLent, ...]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``hosts`` counts them now."""
        self._hosts, self._tell, self._clock = hosts, tell, clock
        self._counted = -RECOUNT_SECONDS
        self._told: tuple[HostLent, ...] | None = None

    def look(self) -> None:
        """Counts them unless that was done a moment ago."""
        now = self._clock()
        if now - self._counted < RECOUNT_SECONDS:
            return
        self._counted = now
        hosts = self._hosts()
        if hosts != self._told:
            self._told = hosts
            self._tell(hosts)
