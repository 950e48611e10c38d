"""What workers may be given: of this machine, or of the nodes of a Ray that was joined, as PyTorch finds it there."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.errors import UsageError
from search.training.device import choose_device, has_bf16
from search.workers.room import Node, live_nodes

ANSWER_SECONDS = 120.0
"""For a node: a process that imports PyTorch on a busy machine."""
JOIN_SECONDS = 60.0
"""For the first node that lends something: what starts together with this command joins some seconds after it."""
LOOK_SECONDS = 0.5
"""Between two looks at what is waited for, and at whether to wait on."""


@dataclass(frozen=True)
class Machines:
    """Of all that will be used together.

    Attributes:
        gpus: that PyTorch finds, and Ray lends.
        memory: bytes of the smallest of them; 0 where there is none.
        bf16: devices ("cpu", "cuda") all of which multiply it.
        joined: whether they are nodes of a Ray that was joined.
    """

    gpus: int
    memory: int
    bf16: frozenset[str]
    joined: bool = False

    def device(self, asked: str) -> str:
        """The device for "auto", "cpu" or "cuda".

        Raises:
            UsageError: "cuda" was asked for and there is none.
        """
        if not self.joined:
            return choose_device(asked)
        if asked == "cuda" and not self.gpus:
            raise UsageError(
                "--device cuda: on no node of this Ray PyTorch finds a GPU that Ray lends; check `nvidia-smi` and "
                "`ray status` there, or use --device cpu"
            )
        return "cuda" if asked != "cpu" and self.gpus else "cpu"


@dataclass(frozen=True)
class Found:
    """What PyTorch finds on one machine.

    Attributes:
        memory: bytes of each GPU.
        bf16: devices ("cpu", "cuda") that multiply it, all GPUs or none.
    """

    memory: tuple[int, ...]
    bf16: frozenset[str]


def look() -> Found:
    """On the machine of this process."""
    import os

    import torch

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # so Ray hides them from whoever has not asked for one
        del os.environ["CUDA_VISIBLE_DEVICES"]
    gpus = range(torch.cuda.device_count())
    memory = tuple(torch.cuda.get_device_properties(number).total_memory for number in gpus)
    devices = {"cpu": ["cpu"], "cuda": [f"cuda:{number}" for number in gpus]}
    return Found(memory, frozenset(kind for kind, each in devices.items() if each and all(map(has_bf16, each))))


def this_machine() -> Machines:
    """The one of this process."""
    found = look()
    return Machines(len(found.memory), min(found.memory, default=0), found.bf16)


def of_nodes(
    tell: Callable[[str], None],
    check: Callable[[], None],
    *,
    nodes: Callable[[], Sequence[Node]] = live_nodes,
    ask: Callable[[Sequence[Node], Callable[[], None]], Mapping[str, Found]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Machines:
    """The nodes of the Ray that this process has joined.

    Device and precision are chosen by them, the latter for good, so one that lends something is waited for.

    Args:
        tell: shows the user a line.
        check: called several times a second; raises to end the waiting at once.
        nodes: those that there are.
        ask: what each of them has.
        clock: in seconds.
        sleep: for so many seconds.
    """
    until, lending = clock() + JOIN_SECONDS, _lending(nodes())
    if not lending:
        tell(f"no node of this Ray lends anything yet: waiting up to {JOIN_SECONDS:.0f} s for one to join")
    while not lending and clock() < until:
        check()
        sleep(LOOK_SECONDS)
        lending = _lending(nodes())
    if not lending:
        tell("none has joined: planned as for nodes without a GPU, and without bf16")
    found = (ask or asked_by_ray)(lending, check)
    for node in lending:
        if node.id not in found:
            tell(f"node {node.name} has not said what it has: nothing is planned by it")
        elif node.gpu > len(found[node.id].memory):
            few = len(found[node.id].memory) or "none"
            tell(f"node {node.name} lends {node.gpu:g} GPU, and PyTorch finds {few} there")
    known = [(node, found[node.id]) for node in lending if node.id in found]
    gpus = [(min(int(node.gpu), len(one.memory)), one) for node, one in known if node.gpu and one.memory]
    used = {"cpu": [one for node, one in known if node.cpu], "cuda": [one for _, one in gpus]}
    return Machines(
        sum(count for count, _ in gpus),
        min((min(one.memory) for _, one in gpus), default=0),
        frozenset(kind for kind, each in used.items() if each and all(kind in one.bf16 for one in each)),
        joined=True,
    )


def _lending(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.cpu or node.gpu]


def asked_by_ray(nodes: Sequence[Node], check: Callable[[], None]) -> dict[str, Found]:
    """What each node answers, by its id; none of one that does not in time. ``check`` as ``of_nodes`` takes it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asking = ray.remote(num_cpus=0, max_retries=0)(look)
    promises = {
        asking.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(): node.id
        for node in nodes
    }
    waiting, until = list(promises), time.monotonic() + ANSWER_SECONDS
    while waiting and time.monotonic() < until:
        check()
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=LOOK_SECONDS)
    answered = promises.keys() - set(waiting)
    return {promises[promise]: found for promise in answered if (found := _answer(promise)) is not None}


def _answer(promise: Any) -> Found | None:
    import ray

    try:
        found: Found = ray.get(promise)
    except ray.exceptions.RayError:
        return None
    return found
