"""Which nodes workers are placed on, and where the worker of each job is."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.util.placement_group import PlacementGroup, placement_group

from search.workers._ray import place_of_actor
from search.workers.deaths import Seat
from search.workers.hosts import Hosts
from search.workers.probe import Proofs
from search.workers.room import Node, live_nodes
from studies.records import HostLent

NODES_FORGIVEN = 5
"""Nodes that may leave under the worker of a job that comes no further, until it is thought to end them, as by more
memory than they have."""
_NODE = "ray.io/node-id"
"""Ray's label of each node."""


class Seats:
    """Of one run's workers. A node has them once it is proven, and as long as its host is not barred."""

    def __init__(self, proofs: Proofs | None, tell: Callable[[str], None]) -> None:
        """``proofs`` of the nodes of a Ray that was joined; None for one of its own, which is this machine."""
        self._proofs = proofs
        self.hosts = Hosts(self._others, tell)
        self._actors: dict[str, Any] = {}
        self._seats: dict[str, Seat] = {}
        self._nodes_lost: Counter[str] = Counter()  # by the label of the job that was on each
        self._furthest: dict[str, int] = {}

    def nodes(self) -> list[Node]:
        """Those that may have workers."""
        if self._proofs is not None:
            self._proofs.look()
        return [node for node in live_nodes() if self._takes(node.id, node.name)]

    def _takes(self, node: str, host: str) -> bool:
        return host not in self.hosts.barred and (self._proofs is None or self._proofs.proven(node))

    def _others(self, host: str) -> bool:
        return any(node.name != host and (node.cpu or node.gpu) for node in self.nodes())

    def kept_away_from(self) -> set[str]:
        """Nodes that never will have workers; one that is still to be proven may."""
        left_out = set() if self._proofs is None else set(self._proofs.left_out)
        return left_out | {node.id for node in live_nodes() if node.name in self.hosts.barred}

    def lent(self, worker: Mapping[str, float]) -> tuple[HostLent, ...]:
        """How many workers of these resources each host holds, and why one gets none."""
        slots: dict[tuple[str, str | None], int] = {}
        for node in live_nodes():
            held = node.holds(worker)
            if held:
                key = node.name, self._why_not(node)
                slots[key] = slots.get(key, 0) + held
        return tuple(HostLent(host, count, reason) for (host, reason), count in sorted(slots.items(), key=str))

    def _why_not(self, node: Node) -> str | None:
        left_out = None if self._proofs is None else self._proofs.left_out.get(node.id)
        return left_out or self.hosts.barred.get(node.name)

    def taken(self, job: str, actor: Any) -> Seat:
        """A job has this worker, which is ended where its node may have none; its place."""
        node, process = place_of_actor(actor)
        host = next((one.name for one in live_nodes() if one.id == node), "")
        seat = Seat(node, host, process, here=self._proofs is None, kept=self._takes(node, host))
        self._actors[job], self._seats[job] = actor, seat
        if not seat.kept:
            self.end(job)
        return seat

    def left(self, job: str) -> Seat | None:
        """Where the worker of a job was, which has none any more."""
        self._actors.pop(job, None)
        return self._seats.pop(job, None)

    def host(self, job: str) -> str:
        """Of the worker of a job; "" where it has none."""
        return self._seats[job].host if job in self._seats else ""

    def excused(self, label: str, seat: Seat) -> str:
        """Why the death of a job's worker says nothing of the job; "" where it may."""
        if not seat.kept:
            return ", ended as its node was not proven"
        if seat.host in self.hosts.barred:
            return ", on a host that is barred"
        if any(one.id == seat.node for one in live_nodes()):
            return ""
        self._nodes_lost[label] += 1
        return ", with its node" if self._nodes_lost[label] <= NODES_FORGIVEN else ""

    def reached(self, label: str, epoch: int) -> None:
        """A job that comes further than ever does not end its nodes."""
        if epoch > self._furthest.get(label, 0):
            self._furthest[label] = epoch
            del self._nodes_lost[label]

    def end(self, job: str) -> None:
        """Ends the worker of a job, which begins again in another one."""
        import ray

        if job in self._actors:
            ray.kill(self._actors[job])

    def leave(self, host: str) -> None:
        """Ends all workers on a host."""
        for job, seat in self._seats.items():
            if seat.host == host:
                self.end(job)


class Place(PlacementGroupFactory):
    """The place of one worker. All are alike to Tune, whatever nodes are kept away from when one is looked for."""

    def __init__(self, worker: Mapping[str, float], kept_away_from: Callable[[], set[str]]) -> None:
        """``worker`` has its resources ("cpu", "gpu")."""
        super().__init__([{kind.upper(): share for kind, share in worker.items()}])
        self._kept_away_from = kept_away_from

    def to_placement_group(self) -> PlacementGroup:
        """Asks Ray for it."""
        away = self._kept_away_from()
        labels = [{_NODE: f"!in({','.join(sorted(away))})"}] if away else None
        place: PlacementGroup = placement_group(self.bundles, strategy=self.strategy, bundle_label_selector=labels)
        return place

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles it, for a restore that never comes."""
        return PlacementGroupFactory, (self.bundles,)
