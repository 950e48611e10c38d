"""Room on the nodes of a Ray: told and refused, where Tune waits without a word."""

from collections.abc import Callable, Mapping

import pytest

from search.errors import UsageError
from search.workers.room import RECOUNT_SECONDS, WAIT_SECONDS, Node, Room

SMALL, LARGE = Node("small", 4, 0, "s"), Node("large", 8, 2, "l")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def room(
    worker: Mapping[str, float],
    nodes: list[Node],
    *,
    clock: Clock | None = None,
    tell: Callable[[str], None] = print,
    free: float = 0.0,
    own: bool = False,
) -> Room:
    left = {"s": {"CPU": free}, "l": {"CPU": 7.0, "GPU": 2.0}}
    return Room(worker, 4, tell, own=own, nodes=lambda: nodes, free=lambda: left, clock=clock or Clock())


@pytest.mark.parametrize(
    ("worker", "held"),
    [({"cpu": 1}, 8), ({"cpu": 3}, 2), ({"cpu": 9}, 0), ({"cpu": 2, "gpu": 0.5}, 4), ({"cpu": 1, "gpu": 0.3333}, 6)],
)
def test_a_node_holds_what_fits_into_it(worker: dict[str, float], held: int) -> None:
    assert LARGE.holds(worker) == held


def test_what_fits_on_no_node_is_refused_with_what_each_lends() -> None:
    nodes = [SMALL, Node("head", 0, 0), Node("other", 2, 1)]
    room({"cpu": 4}, nodes).check()
    with pytest.raises(UsageError) as refused:
        room({"cpu": 2, "gpu": 2}, nodes).check()
    assert str(refused.value) == (
        "no node of this Ray holds a worker with 2 CPU and 2 GPU: other lends 2 CPU and 1 GPU, small lends 4 CPU; ask "
        "for less (--cpus-per-worker, --gpus-per-worker), or add a larger node"
    )


def test_where_no_node_lends_anything_yet_one_may_join() -> None:
    empty = room({"cpu": 1}, [Node("head", 0, 0)])
    empty.check()
    assert not empty.is_full(0)
    assert empty.is_full(1)


def test_nodes_that_join_and_leave_are_counted_again() -> None:
    nodes, clock, told = [SMALL], Clock(), []
    seats = room({"cpu": 2}, nodes, clock=clock, tell=told.append)
    assert [seats.is_full(jobs) for jobs in (1, 2)] == [False, True]
    nodes.append(LARGE)
    assert seats.is_full(2)
    clock.now += RECOUNT_SECONDS
    assert [seats.is_full(jobs) for jobs in (2, 5, 6)] == [False, False, True]
    del nodes[:]
    clock.now += RECOUNT_SECONDS
    assert seats.is_full(1)
    assert told == [
        "2 nodes now, with room for 6 workers of 2 CPU; it was 2",
        "0 nodes now, with room for 0 workers of 2 CPU; it was 6",
    ]


def test_on_a_ray_of_its_own_a_worker_waits_for_nothing_but_its_start() -> None:
    told: list[str] = []
    clock = Clock()
    seats = room({"cpu": 2}, [SMALL], clock=clock, tell=told.append, own=True)
    seats.asked("a")
    clock.now += WAIT_SECONDS
    seats.look()
    assert told == ["0 of 4 workers placed, 1 still starting after 30 s, as on a busy machine or a slow disk"]


def test_what_waits_for_a_worker_is_told_of_once() -> None:
    told: list[str] = []
    clock = Clock()
    seats = room({"cpu": 2}, [SMALL], clock=clock, tell=told.append, free=1.0)
    seats.asked("a")
    seats.asked("b")
    seats.placed("a")
    clock.now += WAIT_SECONDS - 1
    seats.look()
    assert told == []
    clock.now += 1
    seats.look()
    seats.look()
    assert told == ["1 of 4 workers placed, 1 waiting for 2 CPU: 1 of 4 CPU free on 1 node"]
    seats.ended("b")
    seats.asked("c")
    clock.now += WAIT_SECONDS
    seats.look()
    assert len(told) == 2
    seats.ended("a")
    seats.placed("c")
    clock.now += WAIT_SECONDS
    seats.look()
    assert len(told) == 2
