"""How many processes the kernel of each node has killed since memory ran out: Ray says nothing of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_utils.machine import ROOT, killed_for_memory

ANSWER_SECONDS = 20.0
"""For a node's count: a process that starts on a busy machine. Without an answer nothing is said of memory."""

Asked = Callable[[], int | None]
"""Waits for the count of a node; None where it does not answer in time, or cannot."""


class Kills:
    """Those of one run, by node of a Ray that was joined, or of this machine.

    What was killed before a worker was there has nothing to do with it.
    """

    def __init__(self, root: Path = ROOT, ask: Callable[[str], Asked] | None = None) -> None:
        """``root`` as ``data_utils.machine`` takes it, for this machine; ``ask`` asks another node, by its id."""
        self._root = root
        self._ask = ask or asked_by_ray
        self._begun: dict[str, Asked] = {}
        self._known: dict[str | None, int] = {None: killed_for_memory(root)}  # and accounted for

    def begin(self, node: str) -> None:
        """A worker is on a node, perhaps its first there."""
        if node not in self._begun:
            self._begun[node] = self._ask(node)

    def one_more(self, node: str | None) -> bool:
        """Whether a node, None for this machine, has killed one that no death is accounted for by; now one is."""
        if node not in self._known:
            begun = self._begun[node]() if node in self._begun else None
            if begun is None:  # it may be known at the next death
                return False
            self._known[node] = begun
        count = killed_for_memory(self._root) if node is None else self._ask(node)()
        if count is None or count <= self._known[node]:
            return False
        self._known[node] += 1
        return True


def asked_by_ray(node: str) -> Asked:
    """Asks in a process of the node, which runs our program (``search.workers.probe``)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    asking = ray.remote(killed_for_memory).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    promise = asking.remote()
    return lambda: _answer(promise)


def _answer(promise: Any) -> int | None:
    import ray

    try:
        return int(ray.get(promise, timeout=ANSWER_SECONDS))
    except Exception:  # noqa: BLE001 - a node that has no memory for a process, or is gone: then nobody knows
        return None
