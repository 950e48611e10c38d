"""The cluster is counted, not the machine of the command."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from search.command.settings import WorkerSettings
from search.errors import UsageError
from search.workers.cluster import crew_on, pack, settled
from search.workers.machines import Found, Machines, of_nodes
from search.workers.room import Node, slots

GB = 2**30
OLD, NEW = Found((16 * GB,), frozenset({"cpu"})), Found((80 * GB, 40 * GB), frozenset({"cpu", "cuda"}))
BARE = Found((), frozenset())
HEAD = Node("head", 0, 0, "0")
JOINED = WorkerSettings(ray_address="auto")


def asked(nodes: Sequence[Node], tell: Callable[[str], None] = print, **found: Found) -> Machines:
    def ask(lending: Sequence[Node], _: Callable[[], None]) -> Mapping[str, Found]:
        return {node.id: found[node.id] for node in lending if node.id in found}

    return of_nodes(tell, lambda: None, nodes=lambda: nodes, ask=ask)


def test_a_head_without_a_gpu_uses_those_of_its_nodes() -> None:
    machines = asked([HEAD, Node("a", 8, 1, "a"), Node("b", 8, 2, "b")], a=OLD, b=NEW)
    assert (machines.gpus, machines.memory) == (3, 16 * GB)
    crew = crew_on(machines, JOINED, 50)
    assert (crew.device, crew.cpus, crew.gpus, crew.workers) == ("cuda", 1.0, 1.0, None)
    assert str(crew) == "as many workers as fit with 1 CPU and 1 GPU each, on cuda"


def test_one_precision_is_what_all_that_are_used_multiply() -> None:
    nodes = [Node("a", 8, 1, "a"), Node("b", 8, 2, "b"), Node("c", 8, 0, "c")]
    assert asked(nodes, a=OLD, b=NEW, c=BARE).bf16 == frozenset()
    assert asked(nodes[1:], b=NEW, c=BARE).bf16 == {"cuda"}
    assert asked(nodes[:2], a=OLD, b=NEW).bf16 == {"cpu"}


def awaited(
    joins: float, tell: Callable[[str], None], check: Callable[[], None] = lambda: None
) -> tuple[Machines, float]:
    """Of a head, and of a node that joins it after so many seconds; and how many were waited for."""
    now = [0.0]
    machines = of_nodes(
        tell,
        check,
        nodes=lambda: [HEAD, Node("b", 8, 2, "b")] if now[0] >= joins else [HEAD],
        ask=lambda lending, _: {node.id: NEW for node in lending},
        clock=lambda: now[0],
        sleep=lambda seconds: now.append(now.pop() + seconds),
    )
    return machines, now[0]


def test_nodes_that_join_after_the_command_are_waited_for_before_device_and_precision_are_chosen() -> None:
    told: list[str] = []
    machines, waited = awaited(7, told.append)
    assert (machines.device("auto"), machines.bf16, waited) == ("cuda", {"cpu", "cuda"}, 7)
    assert told == ["no node of this Ray lends anything yet: waiting up to 60 s for one to join"]
    assert awaited(0, told.append)[1] == 0
    assert len(told) == 1


def test_where_no_node_joins_it_goes_on_and_says_by_what_it_plans() -> None:
    told: list[str] = []
    machines, waited = awaited(1000, told.append)
    assert (machines.device("auto"), machines.bf16, waited) == ("cpu", frozenset(), 60)
    assert told[-1] == "none has joined: planned as for nodes without a GPU, and without bf16"


def test_a_signal_or_the_end_of_its_time_ends_the_waiting() -> None:
    def over() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        awaited(7, lambda _: None, over)


def test_a_gpu_that_is_lent_and_not_found_is_told_and_not_planned_by() -> None:
    told: list[str] = []
    machines = asked([Node("a", 8, 2, "a"), Node("b", 8, 1, "b")], told.append, a=BARE)
    assert told == [
        "node a lends 2 GPU, and PyTorch finds none there",
        "node b has not said what it has: nothing is planned by it",
    ]
    assert machines.device("auto") == "cpu"
    with pytest.raises(UsageError, match="on no node of this Ray PyTorch finds a GPU that Ray lends"):
        machines.device("cuda")


def test_a_machine_lends_no_more_gpus_than_ray_was_told_of() -> None:
    assert asked([Node("b", 8, 1, "b")], b=NEW).gpus == 1


@pytest.mark.parametrize(("workers", "bound"), [(None, None), (3, 3)])
def test_workers_are_a_bound_and_without_one_each_slot_is_used(workers: int | None, bound: int | None) -> None:
    wanted = WorkerSettings(ray_address="auto", workers=workers, device="cpu", cpus_per_worker=2)
    crew = crew_on(asked([Node("a", 9, 0, "a")], a=BARE), wanted, 50)
    assert crew.workers == bound
    assert settled(wanted, crew).workers == bound
    assert slots(crew.resources, [Node("a", 9, 0, "a"), Node("b", 4, 0, "b"), HEAD]) == 6


def test_gpus_of_nodes_are_packed_by_the_smallest_memory() -> None:
    machines = asked([Node("a", 8, 1, "a"), Node("b", 8, 2, "b")], a=OLD, b=NEW)
    wanted = WorkerSettings(ray_address="auto", gpus_per_worker="auto")
    begun = crew_on(machines, wanted, 50)
    assert (begun.packs, begun.workers) == (True, 3)
    packed = pack(begun, wanted, machines.gpus, 2 * GB, machines.memory)
    assert (packed.gpus, packed.workers, packed.machines) == (0.2, None, machines)
