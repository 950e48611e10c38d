"""A launch says that it is alive, and sees which others are."""

import os
import re
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil
from sqlalchemy.exc import SQLAlchemyError

from studies.ledger.ledger import BEAT_SECONDS, Launch, Ledger

MISSED_BEATS = 3
_SCRATCH = "histotune-{}-"


class Presence:
    """This driver's row among the launches, with a heartbeat in a thread of its own."""

    def __init__(self, ledger: Ledger, study: str) -> None:
        """Registers the launch and begins to beat."""
        self._ledger = ledger
        self._study = study
        self._over = threading.Event()
        self._beaten, self._unbroken = _clocks(), True
        pid = os.getpid()
        self.launch = ledger.begin_launch(study, socket.gethostname(), pid, _started(pid))
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Presence":
        """Begins to beat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Says that this launch has ended in order."""
        self._over.set()
        self._thread.join()
        self._ledger.end_launch(self.launch)

    def alive(self) -> set[str]:
        """Ids of the launches of this study that are at work, this one among them."""
        others = [launch for launch in self._ledger.open_launches(self._study) if launch.id != self.launch]
        return {self.launch} | {launch.id for launch in others if is_alive(launch)}

    def unbroken(self) -> bool:
        """Whether no beat was ever so late that another launch may have taken over this one's trials."""
        late = max(now - then for now, then in zip(_clocks(), self._beaten, strict=True))
        self._unbroken = self._unbroken and late < (MISSED_BEATS - 1) * BEAT_SECONDS
        return self._unbroken

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            now = _clocks()  # before the beat: the database may take its time
            try:
                self._ledger.beat(self.launch)
            except SQLAlchemyError:
                continue  # the database is away: others will take this launch for dead, as they must
            self.unbroken()  # remembers a gap before it is closed
            self._beaten = now


def _clocks() -> tuple[float, float]:
    """Seconds by two clocks: one counts while a laptop sleeps, the other is set right after a machine stood still."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), time.time()


def is_alive(launch: Launch) -> bool:
    """Whether it beats and, on this host, its process is still the one that registered it."""
    if launch.silent > MISSED_BEATS * BEAT_SECONDS:
        return False
    if launch.host != socket.gethostname():
        return True
    try:
        return abs(_started(launch.pid) - launch.pid_started) < 1.0
    except psutil.NoSuchProcess:
        return False


def _started(pid: int) -> float:
    """Seconds from the start of this machine to that of a process.

    The time of day at which a process began is the kernel's guess from the clock as it is set now: it moves with it.
    """
    return float(psutil.Process(pid).create_time() - psutil.boot_time())


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for what this process needs no longer than itself; its name says whose it is."""
    return tempfile.TemporaryDirectory(prefix=_SCRATCH.format(os.getpid()))


def dead_scratch() -> list[Path]:
    """Such folders of processes that were killed."""
    found = []
    for folder in Path(tempfile.gettempdir()).glob(_SCRATCH.format("*") + "*"):
        owner = re.match(_SCRATCH.format("([0-9]+)"), folder.name)
        if owner and not psutil.pid_exists(int(owner[1])) and folder.stat().st_uid == os.geteuid():
            found.append(folder)
    return sorted(found)
