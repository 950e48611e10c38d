"""Room for workers on the nodes of a Ray: what fits on none is refused, and what waits for it is told.

Tune itself waits without a word for a node that could hold a worker, and asks for jobs that no worker is free for.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from search.errors import UsageError
from search.workers._ray import free_by_node

RECOUNT_SECONDS = 5.0
"""Between two counts of the nodes, which may join and leave at any time."""
WAIT_SECONDS = 30.0
"""For a worker that has no place yet, until the user is told."""
_EXACT = 1e-6  # of a share, as Ray counts them
_WORDS = {"cpu": "CPU", "gpu": "GPU"}


@dataclass(frozen=True)
class Node:
    """What one live node lends, as Ray counts it; its host's name, and the id and address that Ray knows it by."""

    name: str
    cpu: float
    gpu: float
    id: str = ""
    address: str = ""

    def holds(self, worker: Mapping[str, float]) -> int:
        """How many workers of these resources ("cpu", "gpu") fit on it, where nobody else is."""
        return min((int(getattr(self, kind) / share + _EXACT) for kind, share in worker.items() if share), default=0)

    def __str__(self) -> str:
        gpus = f" and {self.gpu:g} GPU" if self.gpu else ""
        return f"{self.name} lends {self.cpu:g} CPU{gpus}"


def live_nodes() -> list[Node]:
    """The nodes of the Ray that this process is part of, without those that have left."""
    import ray

    return [
        Node(
            node["NodeManagerHostname"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["NodeID"],
            node["NodeManagerAddress"],
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


def slots(worker: Mapping[str, float], nodes: Sequence[Node]) -> int:
    """How many workers of these resources all nodes hold together."""
    return sum(node.holds(worker) for node in nodes)


def take_back(held: Mapping[str, Mapping[str, float]], tell: Callable[[str], None]) -> None:
    """Frees what placement groups hold that drivers left behind: Ray keeps it for them for ever.

    Args:
        held: id of a group -> what it holds, by Ray's names.
        tell: shows the user a line.
    """
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    for group in held:
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group))))
    if held:
        amounts = [f"{sum(one.get(word, 0.0) for one in held.values()):g} {word}" for word in _WORDS.values()]
        what = " and ".join(amount for amount in amounts if not amount.startswith("0 "))
        groups = "1 placement group" if len(held) == 1 else f"{len(held)} placement groups"
        tell(f"{groups} that dead drivers had left in this Ray, with {what} asked for, were removed")


def untold(placed: int, waiting: int) -> None:
    """For nobody."""


class Room:
    """Counts what the nodes hold, and which of the jobs that were handed out have no worker yet."""

    def __init__(
        self,
        worker: Mapping[str, float],
        workers: int | None,
        tell: Callable[[str], None],
        *,
        own: bool = False,
        nodes: Callable[[], Sequence[Node]] = live_nodes,
        free: Callable[[], Mapping[str, Mapping[str, float]]] = free_by_node,
        clock: Callable[[], float] = time.monotonic,
        staffed: Callable[[int, int], None] = untold,
    ) -> None:
        """``worker`` has the resources of one, as Tune names them; ``workers`` is None for as many as the nodes hold.

        ``tell`` shows the user a line; ``own`` says that nobody else uses this Ray; ``staffed`` is told how many jobs
        have a worker and how many wait for one, whenever that changes.
        """
        self._worker = {kind: share for kind, share in worker.items() if share}
        self._workers = workers
        self._tell, self._own = tell, own
        self._nodes, self._free, self._clock = nodes, free, clock
        self._staffed = staffed
        self._counted = -RECOUNT_SECONDS
        self._slots: int | None = None  # not counted yet
        self._waiting: dict[str, float] = {}  # job -> since when it has no worker
        self._placed: set[str] = set()

    def check(self) -> None:
        """Refuses workers that no node could ever hold. Where none lends anything, one may still join.

        Raises:
            UsageError: with what each node lends.
        """
        nodes = [node for node in self._nodes() if node.cpu or node.gpu]
        if nodes and not any(node.holds(self._worker) for node in nodes):
            raise UsageError(
                f"no node of this Ray holds a worker with {self._wanted()}: {', '.join(sorted(map(str, nodes)))}; ask "
                "for less (--cpus-per-worker, --gpus-per-worker), or add a larger node"
            )

    def is_full(self, jobs: int) -> bool:
        """Whether so many jobs are as many as the nodes hold; never where there is none, as nodes may join."""
        if self._clock() - self._counted >= RECOUNT_SECONDS:
            self._count()
        return 0 < jobs >= (self._slots or 0)

    def _count(self) -> None:
        nodes, before = self._nodes(), self._slots
        self._slots, self._counted = slots(self._worker, nodes), self._clock()
        if before is not None and before != self._slots:
            self._tell(f"{_few(nodes)} now, with room for {self._slots} workers of {self._wanted()}; it was {before}")

    def asked(self, job: str) -> None:
        """A job was handed out, which needs a worker."""
        self._waiting[job] = self._clock()
        self._staffed(len(self._placed), len(self._waiting))

    def placed(self, job: str) -> None:
        """It has one."""
        if self._waiting.pop(job, None) is not None:
            self._placed.add(job)
            self._staffed(len(self._placed), len(self._waiting))

    def ended(self, job: str) -> None:
        """It needs none any more."""
        self._waiting.pop(job, None)
        self._placed.discard(job)
        self._staffed(len(self._placed), len(self._waiting))

    def look(self) -> None:
        """Tells of jobs that have waited for long; of each once."""
        now = self._clock()
        if not any(now - since >= WAIT_SECONDS for since in self._waiting.values()):
            return
        waiting, nodes = len(self._waiting), self._nodes()
        self._waiting = dict.fromkeys(self._waiting, float("inf"))  # told of
        workers = slots(self._worker, nodes) if self._workers is None else self._workers
        if self._own:  # nobody else takes its room
            why = f"{waiting} still starting after {WAIT_SECONDS:.0f} s, as on a busy machine or a slow disk"
        else:
            why = f"{waiting} waiting for {self._wanted()}: {self._lent(nodes)}"
        self._tell(f"{len(self._placed)} of {workers} workers placed, {why}")

    def _wanted(self) -> str:
        return " and ".join(f"{share:g} {_WORDS[kind]}" for kind, share in self._worker.items())

    def _lent(self, nodes: Sequence[Node]) -> str:
        free = self._free()
        of_ours = [free.get(node.id, {}) for node in nodes]  # others are left out, or barred
        lent = [
            f"{sum(one.get(_WORDS[kind], 0.0) for one in of_ours):g} of {sum(getattr(node, kind) for node in nodes):g} "
            f"{_WORDS[kind]} free"
            for kind in self._worker
        ]
        return f"{', '.join(lent)} on {_few(nodes)}"


def _few(nodes: Sequence[Node]) -> str:
    return "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
