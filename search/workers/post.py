"""The launch's end of the way to nodes without its folder of results: out goes what workers need, in what they leave.

An actor on the launch's own node, which reads and writes there as its workers do. It hands out development rows, folds
and weights by the names below, and nothing else: of the sealed rows it knows no path.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import SEEK_END
from pathlib import Path
from typing import Any, Protocol

from search.errors import SearchFailed, UsageError
from search.training.jobs import Delivery, WorkerContext
from search.workers.parcels import PIECE, NotAsSentError, Parcel, sha256_of
from studies.files import naming, write_whole

DEVELOPMENT, PREPROCESSED, FOLDS, WEIGHTS = "development", "preprocessed", "folds", "weights of "
_OF_JOBS = ("checkpoints", "members")
"""Folders of a comparison's models that workers write into."""
_DEPTH = 3  # MODEL/checkpoints/NUMBER, MODEL/members/KEY
_ANSWER_SECONDS = 60.0


class Ask(Protocol):
    """Calls a method of the post office, wherever that is."""

    def __call__(self, method: str, *args: Any) -> Any:
        """What it returns; raises what it raises."""
        ...


class PostOffice:
    """Of one launch."""

    def __init__(self, given: Mapping[str, Path], results: Path) -> None:
        """``given`` is what may be handed out, by name; ``results`` the folder of the comparison."""
        self._given = dict(given)
        self._results = results
        self._parcels: dict[str, Parcel] = {}

    def sees(self, delivery: Delivery) -> bool:
        """Whether this process reads the launch's own files."""
        return delivery.is_here()

    def parcel(self, name: str) -> Parcel:
        """What goes by a name; its files are read through at the first call."""
        if name not in self._parcels:
            self._parcels[name] = Parcel.of(self._given[name])
        return self._parcels[name]

    def piece(self, name: str, file: str, start: int) -> bytes:
        """At most ``PIECE`` bytes of one of its files."""
        assert file in {known for known, _, _ in self.parcel(name).files}, "only what is in the parcel"
        place = self._given[name]
        return _read(place / file if place.is_dir() else place, start)

    def left(self, folder: Path) -> list[str]:
        """Names of the files in a job's folder."""
        place = self._of_job(folder)
        return sorted(file.name for file in place.iterdir() if file.is_file()) if place.is_dir() else []

    def piece_left(self, folder: Path, file: str, start: int) -> bytes:
        """At most ``PIECE`` bytes of one of them; none where it is gone, or ends there."""
        try:
            return _read(self._of_job(folder) / Path(file).name, start)
        except FileNotFoundError:
            return b""

    def take(self, folder: Path, file: str, start: int, piece: bytes, digest: str | None) -> None:
        """Takes a piece of a file for a job's folder; with the last one comes the sha256, and the file gets its name.

        The same piece may come once more: Ray repeats a call whose answer was lost.

        Raises:
            NotWrittenError: the disk is full.
            NotAsSentError: what came is not what was sent.
            OSError: nothing may be written there.
        """
        path = self._of_job(folder) / Path(file).name
        draft = path.with_name(f".{path.name}.part")
        if start and not draft.exists() and path.exists() and sha256_of(path) == digest:
            return
        try:
            with naming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _append(draft, start, piece)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        if digest is None:
            return
        if sha256_of(draft) != digest:
            draft.unlink()
            raise NotAsSentError(f"{path} did not come as it was sent")
        draft.replace(path)

    def _of_job(self, folder: Path) -> Path:
        parts = folder.relative_to(self._results).parts
        assert len(parts) == _DEPTH and parts[1] in _OF_JOBS and ".." not in parts, "folders of jobs only"  # noqa: PT018
        return folder


def _read(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(PIECE)


def _append(draft: Path, start: int, piece: bytes) -> None:
    """From the beginning, or where another piece ended; a piece that is there already is written over."""
    with draft.open("r+b" if start and draft.exists() else "wb") as file:
        held = file.seek(0, SEEK_END)
        if held not in (start, start + len(piece)):
            raise NotAsSentError(f"{draft} has {held} bytes; expected the {start} that came before")
        file.seek(start)
        file.write(piece)


def given_of(context: WorkerContext) -> dict[str, Path]:
    """What workers need, by the names that it is handed out by."""
    weights = {WEIGHTS + model: found.path for model, found in context.weights.items() if found is not None}
    places = {DEVELOPMENT: context.development, PREPROCESSED: context.preprocessed, FOLDS: context.folds, **weights}
    return {name: place.absolute() for name, place in places.items() if place is not None}


@contextmanager
def delivering(context: WorkerContext, results: Path | None) -> Iterator[WorkerContext]:
    """The context with what a node needs that has not the folder of results.

    Args:
        context: as the launch has it.
        results: folder of the comparison; None on a Ray of its own, where there is no other node.

    Raises:
        UsageError: the processes of this node do not see that folder.
    """
    if results is None:
        yield context
        return
    name = f"histotune-post-{secrets.token_hex(8)}"
    results = results.resolve()
    delivery = Delivery(name, results / f".{name}.part", secrets.token_hex(16))
    write_whole(delivery.sign, delivery.word)
    try:
        with _opened(name, given_of(context), results, delivery):
            yield replace(context, delivery=delivery)
    finally:
        delivery.sign.unlink(missing_ok=True)


@contextmanager
def _opened(name: str, given: Mapping[str, Path], results: Path, delivery: Delivery) -> Iterator[None]:
    """The actor, on this node; it needs no processor of those that workers are given."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    placed = ray.remote(PostOffice).options(
        name=name, num_cpus=0, scheduling_strategy=here, max_restarts=3, max_task_retries=3
    )
    office: Any = placed.remote(given, results)
    try:
        _check_sees(office, delivery, results)
        yield
    finally:
        ray.kill(office)


def _check_sees(office: Any, delivery: Delivery, results: Path) -> None:
    import ray

    try:
        seen = ray.get(office.sees.remote(delivery), timeout=_ANSWER_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        words = f"Ray has started no process on this machine in {_ANSWER_SECONDS:.0f} s: run the same command again"
        raise SearchFailed(words) from error
    if not seen:
        raise UsageError(
            f"the Ray node on this machine does not see {results}: it runs in another container or on other "
            "mounts; start one where the search runs: ray start --address=HOST:PORT --num-cpus=0"
        )


def ask_by_ray(delivery: Delivery) -> Ask:
    """The way to a post office from any node."""
    import ray

    office = ray.get_actor(delivery.post)

    def ask(method: str, *args: Any) -> Any:
        return ray.get(getattr(office, method).remote(*args))

    return ask
