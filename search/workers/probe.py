"""Whether a node runs the driver's program: each proves it before its first job.

What asks travels to the node as code, since one of another version would answer by its own.
"""

import hashlib
import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from models._foreign import is_foreign
from search.errors import UsageError
from search.training.jobs import WorkerContext
from search.workers.room import Node, live_nodes

PACKAGES = ("search", "models", "data_utils", "studies")
LIBRARIES = ("torch", "numpy", "optuna", "ray")
PROOF_SECONDS = 120.0
"""For a node's answer: a process that imports Ray on a busy machine."""
_LOOK_SECONDS = 0.25
_SHOWN = 2  # files that differ, by name

Answer = tuple[dict[str, str], dict[str, str]]
Poll = Callable[[], Answer | str | None]
"""A node's answer; in words, why it has none; None where it has not answered yet."""


@dataclass(frozen=True)
class Question:
    """What a node is asked.

    Attributes:
        packages: whose sources must be the same.
        folders: in which packages of foreign models lie.
    """

    packages: tuple[str, ...]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, context: WorkerContext) -> "Question":
        """What workers of this context run; what they read, they are brought (``search.workers.post``)."""
        foreign = sorted({name.partition(".")[0] for name in context.layouts if is_foreign(name)})
        return cls((*PACKAGES, *foreign), context.packages)

    def answered_here(self) -> Answer:
        """As this process answers it."""
        return prove(self.packages, self.folders, LIBRARIES)


def prove(packages: Sequence[str], folders: Sequence[str], libraries: Sequence[str]) -> Answer:
    """The answer of the process that it runs in, for which it needs no more than the standard library.

    Returns:
        Digests of source files by name, and versions of Python and libraries.
    """
    digests = {name: digest for package in packages for name, digest in _sources(package, folders)}
    versions = {"Python": platform.python_version(), **{name: _version(name) for name in libraries}}
    return digests, versions


def _sources(package: str, folders: Sequence[str]) -> list[tuple[str, str]]:
    spec = PathFinder.find_spec(package, [*sys.path, *folders])
    if spec is None or spec.origin is None:
        return []
    top = Path(spec.origin)
    if not spec.submodule_search_locations:
        return [(top.name, _digest(top))]
    return [(path.relative_to(top.parent.parent).as_posix(), _digest(path)) for path in top.parent.rglob("*.py")]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library).partition("+")[0]  # with or without CUDA
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def difference(here: Answer, there: Answer) -> str | None:
    """How another's answer differs from this one's, in words; None where it does not."""
    lacks = _packages(here[0]) - _packages(there[0])
    sources = sorted(
        name
        for name in here[0].keys() | there[0].keys()
        if here[0].get(name) != there[0].get(name) and _package(name) not in lacks
    )
    told = [
        f"its {name} is {there[1].get(name)}, not {version}"
        for name, version in here[1].items()
        if there[1].get(name) != version
    ]
    if sources:
        more = f" and {len(sources) - _SHOWN} more" if len(sources) > _SHOWN else ""
        told.insert(0, f"its sources are others ({', '.join(sources[:_SHOWN])}{more})")
    if lacks:
        told.insert(0, f"it lacks the package {' and '.join(sorted(lacks))}")
    return "; ".join(told) or None


def _packages(sources: Iterable[str]) -> set[str]:
    return {_package(name) for name in sources}


def _package(source: str) -> str:
    """Of which a file is, by its name as ``prove`` has it."""
    return source.partition("/")[0].removesuffix(".py")


class Proofs:
    """Asks each live node, and knows which may have jobs."""

    def __init__(
        self,
        question: Question,
        tell: Callable[[str], None],
        ask: Callable[[Question, str], Poll],
        *,
        nodes: Callable[[], Sequence[Node]] = live_nodes,
    ) -> None:
        """``tell`` shows the user a line; ``ask`` puts the question to the node of an id."""
        self._question = question
        self._here = question.answered_here()
        self._tell = tell
        self._ask, self._nodes = ask, nodes
        self._asked: dict[str, tuple[Poll, float]] = {}  # node -> its answer, until when
        self._proven: set[str] = set()
        self.left_out: dict[str, str] = {}
        """Node -> why it gets no job."""

    def wait(self, tick: Callable[[], None]) -> None:
        """Until each node that is there has answered; ``tick`` is called several times a second.

        Raises:
            UsageError: none that lends anything may have jobs.
        """
        self.look()
        while self._asked:
            tick()
            time.sleep(_LOOK_SECONDS)
            self.look()
        lending = [node for node in self._nodes() if node.cpu or node.gpu]
        if lending and not any(node.id in self._proven for node in lending):
            reasons = [f"{node.name}: {self.left_out.get(node.id, 'it joins just now')}" for node in lending]
            raise UsageError(
                f"no node of this Ray can have jobs ({'; '.join(reasons)}): install there what is installed here"
            )

    def look(self) -> None:
        """Asks nodes that have joined, and takes what has been answered."""
        nodes = {node.id: node for node in self._nodes() if node.cpu or node.gpu}
        for name in nodes.keys() - self._asked.keys() - self._proven - self.left_out.keys():
            self._asked[name] = self._ask(self._question, name), time.monotonic() + PROOF_SECONDS
        for name, (poll, until) in list(self._asked.items()):
            if name not in nodes:
                del self._asked[name]
            elif (answer := poll()) is not None or time.monotonic() > until:
                del self._asked[name]
                self._judge(nodes[name], answer)

    def _judge(self, node: Node, answer: Answer | str | None) -> None:
        if answer is None:
            problem: str | None = f"it has not answered for {PROOF_SECONDS:.0f} s"
        else:
            problem = answer if isinstance(answer, str) else difference(self._here, answer)
        if problem is None:
            self._proven.add(node.id)
        else:
            self.left_out[node.id] = problem
            self._tell(f"node {node.name} ({node.address}) is left out: {problem}")

    def proven(self, node: str) -> bool:
        """Whether a node, by its id, may have jobs."""
        return node in self._proven


def asked_by_ray(question: Question, node: str) -> Poll:
    """Asks in a process of the node."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    try:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asking = ray.remote(prove).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        promise = asking.remote(question.packages, question.folders, LIBRARIES)
        return partial(_answer, promise)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


def _answer(promise: Any) -> Answer | str | None:
    import ray

    if not ray.wait([promise], timeout=0)[0]:
        return None
    try:
        answer: Answer = ray.get(promise)
    except Exception as error:  # noqa: BLE001 - whatever keeps a process from starting there
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"no process of it answers: {lines[-1].strip() if lines else type(error).__name__}"
    return answer
