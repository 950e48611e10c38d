"""What workers died of, as far as Ray and the kernels of their nodes can tell."""

from dataclasses import dataclass
from pathlib import Path

from data_utils.machine import ROOT, memory
from search.training.jobs import EpochReport
from search.workers.kills import Kills

DEATHS_FORGIVEN = 2
"""How often a job is started again after its worker died."""
_BY_RAY = "low on memory"
"""In what Ray says of a worker that its own watch over memory has killed."""


@dataclass(frozen=True)
class Seat:
    """Where a worker was.

    Attributes:
        node: by Ray's id.
        host: by name.
        process: its number.
        here: whether it was in the driver's own control group: on a Ray of its own. One that was joined may run in
            another, also on this machine, as a service or a container does.
        kept: whether it was left there: a node that has just joined, and is not proven yet, may have none.
    """

    node: str
    host: str
    process: int
    here: bool = True
    kept: bool = True

    def __str__(self) -> str:
        return f"{self.host}:{self.process}"


class Deaths:
    """Deaths of workers, by the label of the job that they had or were to have."""

    def __init__(self, root: Path = ROOT, kills: Kills | None = None) -> None:
        """``root`` as ``data_utils.machine`` takes it: which processes the kernel has killed is told there."""
        self._all: dict[str, list[Seat | None]] = {}  # None where the worker had no place yet
        self._by_memory: dict[str, list[Seat | None]] = {}
        self._root = root
        self._kills = kills or Kills(root)

    def watch(self, seat: Seat) -> None:
        """A worker is there: what the kernel of its node kills from now on may be it."""
        if not seat.here:
            self._kills.begin(seat.node)

    def note(self, label: str, error: str, seat: Seat | None = None) -> bool:
        """Takes note of one; ``error`` is what Ray says of it, which knows nothing of the kernel's kills.

        Returns:
            Whether memory ran out.
        """
        self._all.setdefault(label, []).append(seat)
        elsewhere = None if seat is None or seat.here else seat.node
        by_memory = _BY_RAY in error or self._kills.one_more(elsewhere)
        if by_memory:
            self._by_memory.setdefault(label, []).append(seat)
        return by_memory

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
            no_room=len(self._by_memory.get(label, ())) > DEATHS_FORGIVEN,
        )

    def reason(self, label: str) -> str:
        """Why a job is given up whose workers died more often than is forgiven."""
        died, starved = f"its worker died {DEATHS_FORGIVEN + 1} times", self._by_memory.get(label)
        if not starved:
            return died
        hosts = sorted({"here" if seat is None or seat.here else f"on {seat.host}" for seat in starved})
        here = f"{memory(self._root) / 2**30:.1f} GB for all processes here"
        return (
            f"{died}, as memory ran out ({here if hosts == ['here'] else ' and '.join(hosts)}): give fewer "
            "--workers or more memory, or search smaller batches under a new name: --study NEW --set "
            f"{label.partition(' ')[0]}.batch_size=N"
        )
