"""What workers died of, as far as this machine can tell."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_utils.machine import ROOT, killed_for_memory, memory
from search.training.jobs import EpochReport

DEATHS_FORGIVEN = 2
"""How often a job is started again after its worker died."""
_BY_RAY = "low on memory"
"""In what Ray says of a worker that its own watch over memory has killed."""


@dataclass(frozen=True)
class Seat:
    """Where a worker was: its node by Ray's id, its host by name, its process."""

    node: str
    host: str
    process: int

    def __str__(self) -> str:
        return f"{self.host}:{self.process}"


class Deaths:
    """Deaths of workers, by the label of the job that they had or were to have."""

    def __init__(self, root: Path = ROOT) -> None:
        """``root`` as ``data_utils.machine`` takes it: which processes the kernel has killed is told there."""
        self._all: dict[str, list[Seat | None]] = {}  # None where the worker had no place yet
        self._by_memory: Counter[str] = Counter()
        self._root = root
        self._kills = killed_for_memory(root)  # that are accounted for

    def note(self, label: str, error: str, seat: Seat | None = None) -> bool:
        """Takes note of one; ``error`` is what Ray says of it, which knows nothing of the kernel's kills.

        Returns:
            Whether memory ran out.
        """
        self._all.setdefault(label, []).append(seat)
        by_memory = _BY_RAY in error or self._killed_by_the_kernel()
        self._by_memory[label] += by_memory
        return by_memory

    def _killed_by_the_kernel(self) -> bool:
        killed = killed_for_memory(self._root) > self._kills
        self._kills += killed
        return killed

    def of(self, label: str) -> int:
        """How many a job has had."""
        return len(self._all.get(label, ()))

    def forget(self, host: str) -> None:
        """Those on a host say nothing of the jobs."""
        for label, seats in self._all.items():
            self._all[label] = [seat for seat in seats if seat is None or seat.host != host]

    def report(self, label: str) -> EpochReport:
        """Of a job that is given up; with the place of the last worker that is known."""
        places = [str(seat) for seat in self._all.get(label, ()) if seat is not None]
        return EpochReport(
            0,
            {},
            float("nan"),
            {"worker": places[-1]} if places else {},
            failure=self.reason(label),
            no_room=self._by_memory[label] > DEATHS_FORGIVEN,
        )

    def reason(self, label: str) -> str:
        """Why a job is given up whose workers died more often than is forgiven."""
        died = f"its worker died {DEATHS_FORGIVEN + 1} times"
        if not self._by_memory[label]:
            return died
        return (
            f"{died}, as memory ran out ({memory(self._root) / 2**30:.1f} GB for all processes here): give fewer "
            "--workers or more memory, or search smaller batches under a new name: --study NEW --set "
            f"{label.partition(' ')[0]}.batch_size=N"
        )
