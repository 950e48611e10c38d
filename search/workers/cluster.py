"""Where jobs run: how many workers this machine or cluster carries, and the Ray session that holds them."""

import logging
import math
import os
import secrets
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from data_utils.machine import ROOT, cores, free_memory, killed_for_memory
from data_utils.readers.patchset import USUAL_SIDE
from search.command.last_words import LastWords
from search.command.outcome import RAY_THREAD
from search.command.settings import WorkerSettings
from search.command.signals import Signals
from search.errors import SearchError, SearchFailed, UsageError
from search.workers._ray import (
    GCS_PATIENCE,
    PRESTART,
    TEMP_DIR,
    as_imported,
    finds_packages_in,
    runs_here,
    start_no_more_than_needed,
    stay_on_this_machine,
    tell_the_log,
    use_token,
)
from search.workers.machines import Machines, this_machine
from search.workers.own_node import own_node
from search.workers.place import OF_THE_DATABASE, ray_folder, running_ray
from search.workers.room import Node

MEMORY_OF_A_WORKER = 2 * 2**30
"""Bytes of a process with torch, its patches and a network in training, at the usual side of a patch."""
MEMORY_OF_MAPS = 2**28
"""Bytes of these that grow with the area of a patch: those of feature maps. cnn's default configuration takes 1.0 GB at
50 pixels, 1.1 at 96 and 1.9 at 256, a seventh of this growth; its largest one has five times as many maps in a batch.
"""
MEMORY_OF_A_CONTEXT = 600 * 2**20
"""Bytes that CUDA takes for each process beside what PyTorch counts."""
HEADROOM = 1.3
"""Room for configurations larger than those so far; what exceeds it is trained in smaller parts of a batch."""
MOST_ON_A_GPU = 8
"""More workers than this only wait for each other."""
GCS_SECONDS = 20
"""After so long without an answer of its control store (GCS), Ray ends the driver, without a ``finally``."""
_LOGGER = logging.getLogger("histotune")
LOOK_SECONDS = 1.0
"""Between two looks at whether Ray is alive."""
STOPPED_SECONDS = 5.0
"""Between two looks that follow each other; after longer, this process itself was stopped, or the machine slept."""
SILENCE_SECONDS = 120.0
"""After so long without a sign of its main thread the driver is ended: Ray's C++ waits for what may never come."""
PATIENCE_SECONDS = 10.0
"""For an end in order after Ray has died; then the driver is ended at once."""
ENDING_SECONDS = 30.0
"""For a Ray that is told to end; then it ends with its driver. Where the clock is set back meanwhile, its gRPC sleeps
until the clock shows the same time again."""
_OBJECT_STORE = 200 * 2**20  # nothing large goes through Ray


@dataclass(frozen=True)
class Crew:
    """The workers of one run.

    Attributes:
        workers: how many at a time; None for as many as the nodes of a Ray hold, which may join and leave.
        device: "cpu" or "cuda".
        cpus, gpus: of each worker, as Ray counts them.
        threads: CPU threads of each worker.
        address: of a running Ray; None for one of its own.
        packs: whether workers are to share GPUs as far as their measured memory allows.
        machines: on which they are.
    """

    workers: int | None
    device: str
    cpus: float
    gpus: float
    threads: int
    address: str | None
    packs: bool = False
    machines: Machines = field(default_factory=this_machine)

    @property
    def resources(self) -> dict[str, float]:
        """Of one worker, as Tune names them."""
        return {"cpu": self.cpus} | ({"gpu": self.gpus} if self.gpus else {})

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        many = f"{self.workers} workers" if self.workers else "as many workers as fit"
        return f"{'1 worker' if self.workers == 1 else many} with {self.cpus:g} CPU{gpus} each, on {self.device}"


def crew_on(machines: Machines, asked: WorkerSettings, side: int) -> Crew:
    """The workers for these machines; ``side`` is of a patch in pixels.

    Raises:
        UsageError: what was asked for is not there.
    """
    return replace(plan_crew(asked, machines.device(asked.device), machines.gpus, side), machines=machines)


def plan_crew(asked: WorkerSettings, device: str, gpus: int, side: int = USUAL_SIDE, root: Path = ROOT) -> Crew:
    """How many workers, of what size.

    Args:
        asked: what the user wants; None for what fits.
        device: "cpu" or "cuda".
        gpus: GPUs that PyTorch sees, here or on the nodes of the Ray that is joined.
        side: of a patch in pixels.
        root: as ``data_utils.machine`` takes it.

    Raises:
        UsageError: this machine holds no such worker, or not so many, where they would be on it.
    """
    here = cores(root)
    packs = device == "cuda" and asked.gpus_per_worker == "auto"
    gpus_each = _share(asked.gpus_per_worker) if device == "cuda" else 0.0
    workers: int | None
    if packs:
        workers = max(1, gpus)  # until the first trials have shown what they need
    elif asked.workers is not None or asked.ray_address is not None:
        workers = asked.workers
    elif device == "cuda":
        workers = max(1, int(gpus / gpus_each))
    else:
        by_memory = free_memory(root) // _memory_of_a_worker(side)
        workers = max(1, min(int(here / (asked.cpus_per_worker or 1.0)), by_memory))
    own = asked.ray_address is None
    shared_out = max(1.0, here // workers) if own and workers else 1.0  # of others' cores nothing is known
    cpus_each = asked.cpus_per_worker or shared_out
    if own and cpus_each > here:
        lent = Node(os.uname().nodename, here, max(gpus, 0))
        raise UsageError(
            f"this machine holds no worker with {cpus_each:g} CPU: {lent}; ask for less (--cpus-per-worker)"
        )
    if own and workers and workers * gpus_each > max(gpus, 0) + 1e-6:
        raise UsageError(
            f"{workers} workers with {gpus_each:g} GPU each need more than the {gpus} GPU here: "
            "ask for fewer --workers or a smaller --gpus-per-worker"
        )
    return Crew(workers, device, cpus_each, gpus_each, max(1, int(cpus_each)), asked.ray_address, packs)


def _memory_of_a_worker(side: int) -> int:
    return MEMORY_OF_A_WORKER + MEMORY_OF_MAPS * (side**2 - USUAL_SIDE**2) // USUAL_SIDE**2


def settled(asked: WorkerSettings, crew: Crew) -> WorkerSettings:
    """What was asked for, with what was left open as the crew has it; a crew that packs is still to be measured."""
    if crew.packs:
        return replace(asked, device=crew.device)
    gpus = crew.gpus if crew.device == "cuda" else None
    return replace(asked, workers=crew.workers, cpus_per_worker=crew.cpus, gpus_per_worker=gpus, device=crew.device)


def _share(asked: float | str | None) -> float:
    """GPUs of a worker before anything is measured."""
    return float(asked) if asked and asked != "auto" else 1.0


def pack(crew: Crew, asked: WorkerSettings, gpus: int, peak: int, memory: int) -> Crew:
    """The crew whose workers share each GPU as far as its memory goes.

    Args:
        crew: as planned, one worker a GPU.
        asked: what the user wants.
        gpus: GPUs here.
        peak: bytes of the largest configuration so far.
        memory: bytes of one GPU.
    """
    together = int(memory // (peak * HEADROOM + MEMORY_OF_A_CONTEXT))
    together = max(1, min(together, MOST_ON_A_GPU))
    share = math.floor(10_000 / together) / 10_000  # as finely as Ray counts
    workers = min(asked.workers or together * gpus, together * gpus)
    bound = None if asked.ray_address is not None and asked.workers is None else workers
    packed = plan_crew(replace(asked, gpus_per_worker=share, workers=bound), crew.device, gpus)
    return replace(packed, machines=crew.machines)


class RaySession:
    """A Ray of its own on this machine, or a seat in a running one; ended with the block.

    It starts beside whatever the block does first, in a thread of its own: Ray ties its processes to the life of the
    thread that started them.
    """

    def __init__(self, asked: WorkerSettings, last_words: LastWords) -> None:
        """``asked`` says where, and how many workers it must hold; ``last_words`` are said where it dies.

        Raises:
            UsageError: this process has one already, which would be ended with the block.
        """
        if runs_here():
            raise UsageError("this process has a Ray already: end it by ray.shutdown(), or search in another process")
        self._asked = asked
        self._last_words = last_words
        self._death: str | None = None
        self._moved: float | None = None  # when the main thread did last, in monotonic seconds; None where it need not
        self._ready, self._over = threading.Event(), threading.Event()
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._live, name=RAY_THREAD, daemon=True)

    def __enter__(self) -> "RaySession":
        """Begins to start."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault(GCS_PATIENCE, str(GCS_SECONDS))
        os.environ.setdefault(PRESTART, "0")
        # A local worker inherits the environment of its driver; the database is none of its business.
        self._hidden = {name: os.environ.pop(name) for name in OF_THE_DATABASE if name in os.environ}
        self._thread.start()
        return self

    def ready(self) -> None:
        """Waits until Ray answers.

        Raises:
            UsageError: see ``check_ray``; or it could not be joined for another reason.
            SearchFailed: it could not be started.
        """
        self._ready.wait()
        os.environ.update(self._hidden)  # what Ray starts from now on has its environment from Ray
        if isinstance(self._problem, UsageError):
            raise self._problem
        if self._problem is not None:
            raise self._not_there(self._problem) from self._problem
        self._moved = time.monotonic()

    def _not_there(self, problem: Exception) -> SearchError:
        """What the user is told, in a line; the log has the rest."""
        _LOGGER.error("Ray is not there", exc_info=problem)
        reason = next(iter(str(problem).strip().splitlines()), type(problem).__name__).rstrip(".")
        if (address := self._asked.ray_address) is not None:
            return UsageError(f"Ray at {address} cannot be joined: {reason}")
        folder = ray_folder(self._asked.ray_temp_dir)
        return SearchFailed(
            f"Ray cannot be started in {folder}: {reason}. Its logs are in {folder}/session_latest/logs; run the same "
            "command again where the machine was busy, or name another folder by --ray-temp-dir"
        )

    def rest(self) -> None:
        """Lets the main thread do without Ray for as long as it likes, until it waits for it again."""
        self._moved = None

    def check(self) -> None:
        """Ends the work where Ray has died; to be called several times a second, or the driver is ended as it waits.

        Raises:
            SearchFailed: its raylet or its control store (GCS) was killed.
        """
        self._moved = self._moved and time.monotonic()
        if self._death is not None:
            raise SearchFailed(self._last_words.told(self._death))

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends Ray, or leaves it where it ran before."""
        self._over.set()
        if self._ready.is_set() and self._death is None:  # else it takes half a minute, and the user is told first
            self._thread.join(ENDING_SECONDS)
        os.environ.update(self._hidden)  # where nobody waited until it was ready

    def _live(self) -> None:
        with ExitStack() as at_the_end:
            try:
                _start_ray(self._asked, at_the_end)
            except Exception as problem:  # noqa: BLE001 - raised again in the thread that waits
                self._problem = problem
            self._ready.set()
            self._watch()
            import ray

            ray.shutdown()

    def _watch(self) -> None:
        """Returns when the session is over. Who waits in Ray's C++ for a Ray that has died is ended from here."""
        processes = [] if self._problem else _processes_of_ray()
        kills = killed_for_memory()
        _LOGGER.info("Ray: %s", ", ".join(f"{name} is process {process.pid}" for name, process in processes))
        looked = time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            self._end_if_silent(looked)
            looked = time.monotonic()
            dead = [name for name, process in processes if not _is_at_work(process)]
            if dead:
                starved = killed_for_memory() > kills
                reason = "memory ran out" if starved else "it was killed, or the machine ran out of memory"
                if self._asked.ray_address is not None and not starved:
                    reason += ", or the link was cut and Ray gave this machine up: then join it again by 'ray start'"
                self._death = f"Ray's {dead[0]} has died: {reason}"
                if not self._over.wait(PATIENCE_SECONDS):
                    self._last_words.exit(self._death)
                return

    def _end_if_silent(self, looked: float) -> None:
        """Ends the driver whose main thread hangs, and its heartbeats with it; ``looked`` is when it was last asked."""
        now = time.monotonic()
        if self._moved is None or now - looked > STOPPED_SECONDS:
            self._moved = self._moved and now
        elif now - self._moved > SILENCE_SECONDS:
            self._last_words.exit(
                f"the search has stood still for {SILENCE_SECONDS:.0f} s, in which Ray did not answer: a node or a "
                "link is gone"
            )


def check_both(signals: Signals, ray: RaySession) -> None:
    """Raises where a signal has come, or Ray has died; for whoever works, or waits for a database, beside Ray."""
    signals.check()
    ray.check()


def _processes_of_ray() -> list[tuple[str, psutil.Process]]:
    """What this driver cannot do without, as far as it is on this host: its raylet, and the GCS of a Ray of its own."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    node = next(node for node in nodes if node["NodeID"] == here)
    raylet = f"--raylet_socket_name={node['RayletSocketName']}"  # another one's may only begin like it
    found = []
    for process in psutil.process_iter(["name", "cmdline", "ppid"]):
        told = process.info
        if told["name"] == "raylet" and raylet in (told["cmdline"] or ()):
            found.append(("raylet", process))
        if told["name"] == "gcs_server" and told["ppid"] == os.getpid():
            found.append(("control store (GCS)", process))
    return found


def _is_at_work(process: psutil.Process) -> bool:
    """Whether it runs; one that has died is a zombie until its parent asks for it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start_ray(asked: WorkerSettings, at_the_end: ExitStack) -> None:
    import ray

    at_the_end.enter_context(as_imported())
    tell_the_log(_LOGGER)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    quiet["job_config"] = finds_packages_in(Path(__file__).resolve().parents[2])
    if asked.ray_address is not None:
        address, is_node = running_ray(asked.ray_address)
        _warn_of_open_ray(asked.ray_address)
        if not is_node:
            at_the_end.enter_context(own_node(address))
        import torch  # noqa: F401 - twice a driver died of a segmentation fault where the main thread imported it meanwhile

        ray.init(address=address, **quiet)
        return
    quiet[TEMP_DIR] = str(ray_folder(asked.ray_temp_dir))
    stay_on_this_machine()
    start_no_more_than_needed()
    use_token(os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32))  # else it takes one from a file of the user's
    wanted = math.ceil((asked.workers or 1) * (asked.cpus_per_worker or 1.0))
    ray.init(
        address="local",  # not one that an inherited RAY_ADDRESS names
        num_cpus=max(cores(), wanted),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE,
        **quiet,
    )


def _warn_of_open_ray(address: str) -> None:
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        sys.stderr.write(
            f"warning: Ray at {address} is joined without a token: whoever reaches its ports runs code there. Keep "
            "them inside, or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on every machine\n"
        )
