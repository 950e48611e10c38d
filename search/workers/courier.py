"""A worker's end of the way to the launch: on a node without its folder of results, jobs work in a folder of the node.

What a job needs is fetched once a node; its checkpoint goes back after an epoch and a member's files with its last one,
before the report, so that the launch finds them where it always does. Where the folder of results is here, or there is
one machine, nothing is copied.
"""

import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from os import getpid
from pathlib import Path

from data_utils.scratch import dead_scratch_in
from models._weights import Weights
from search.errors import SearchError
from search.training.jobs import EpochReport, Job, WorkerContext
from search.training.node import node_folder
from search.workers.parcels import PIECE, Copies
from search.workers.post import DEVELOPMENT, FOLDS, PREPROCESSED, WEIGHTS, Ask, ask_by_ray
from search.workers.worker import Worker
from studies.errors import StudyError

JOBS = "job"
"""Kind of scratch in a node's folder: see ``scratch_in``."""
COPIES = "copies"
"""Folder of what was fetched, in a node's folder."""
_LOST = (SearchError, StudyError, OSError)
LARGEST = 2**30
"""Bytes of a checkpoint that is sent."""
SHARE = 0.1
"""Of a worker's time that sending checkpoints may take: one that takes long is sent after fewer epochs."""


class Courier:
    """Of one worker process."""

    def __init__(self, ask: Ask, *, shared: bool, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Asks the post office; ``shared`` says that the folder of results is here, ``folder`` is the node's own."""
        self._ask = ask
        self._shared = shared
        self._copies = Copies(folder / COPIES)
        for left in dead_scratch_in(folder, JOBS):
            shutil.rmtree(left, ignore_errors=True)
        self._folder = folder / f".{JOBS}-{socket.gethostname()}-{getpid()}"
        self._clock = clock
        self._job: Job | None = None  # as the launch has it
        self._next = 0.0  # when a checkpoint may be sent again
        self._warned = False

    @classmethod
    def of(cls, context: WorkerContext) -> "Courier | None":
        """That of this process; None where there is one machine."""
        if context.delivery is None:
            return None
        return cls(ask_by_ray(context.delivery), shared=context.delivery.is_here(), folder=node_folder())

    def unpacked(self, context: WorkerContext) -> WorkerContext:
        """The context with the paths that this node has.

        Raises:
            SearchError, StudyError, OSError: see ``Copies.folder``.
        """
        weights = {model: self._weights(model, found) for model, found in context.weights.items()}
        if self._shared:
            return replace(context, weights=weights)
        return replace(
            context,
            weights=weights,
            development=self._fetched(DEVELOPMENT),
            preprocessed=None if context.preprocessed is None else self._fetched(PREPROCESSED),
            folds=None if context.folds is None else self._fetched(FOLDS) / context.folds.name,
        )

    def _weights(self, model: str, weights: Weights | None) -> Weights | None:
        if weights is None or (self._shared and weights.path.is_file()):
            return weights
        return replace(weights, path=self._fetched(WEIGHTS + model) / weights.path.name)

    def _fetched(self, name: str) -> Path:
        return self._copies.folder(
            self._ask("parcel", name), lambda file, start: bytes(self._ask("piece", name, file, start))
        )

    def begin(self, job: Job) -> Job:
        """The job as it is done on this node, with what another worker has left of it."""
        if self._shared:
            return job
        self._job = job
        shutil.rmtree(self._folder, ignore_errors=True)  # of the job before
        here = replace(
            job, checkpoint=self._folder / "checkpoint", out=None if job.out is None else self._folder / "out"
        )
        here.checkpoint.mkdir(parents=True)
        for name in self._ask("left", job.checkpoint):
            self._fetch_left(job.checkpoint, name, here.checkpoint / name)
        self._next = 0.0
        return here

    def _fetch_left(self, folder: Path, name: str, path: Path) -> None:
        with path.open("wb") as file:
            while piece := self._ask("piece_left", folder, name, file.tell()):
                file.write(piece)

    def ended(self, report: EpochReport) -> EpochReport:
        """Gives back what an epoch has left, before its report: that says so where it could not be."""
        job = self._job
        if job is None or report.epoch == 0:
            return report
        if report.epoch < job.last_epoch:
            problem = self._send_checkpoint(job)
            return report if problem is None else replace(report, warnings=(*report.warnings, problem))
        if job.out is None:
            return report
        try:
            for path in sorted((self._folder / "out").iterdir()):
                self._send(path, job.out)
        except _LOST as error:
            return replace(report, failure=f"what it has left did not reach {job.out}: {error}")
        return report

    def leave(self, path: Path) -> None:
        """Sends a file of the job's checkpoint folder at once, as this process ends."""
        if self._job is not None:
            self._send(path, self._job.checkpoint)

    def _send_checkpoint(self, job: Job) -> str | None:
        """Sends it unless one was sent a moment ago; why it could not be, told once."""
        path, began = self._folder / "checkpoint" / "last.pt", self._clock()
        if began < self._next or not path.exists():
            return None
        try:
            _check_size(path)
            self._send(path, job.checkpoint)
        except _LOST as error:
            warned, self._warned = self._warned, True
            told = (
                f"no checkpoint of a node without runs/ reaches {job.checkpoint.parent} ({error}): training goes on, "
            )
            return None if warned else told + "but what is cut off now goes on from an earlier epoch"
        self._next = self._clock() + (self._clock() - began) * (1 / SHARE - 1)
        return None

    def _send(self, path: Path, folder: Path) -> None:
        """Piece by piece; the next one goes once the last has been taken."""
        digest, sent, size = sha256(), 0, path.stat().st_size
        with path.open("rb") as file:
            while True:
                piece = file.read(PIECE)
                digest.update(piece)
                is_last = sent + len(piece) >= size
                self._ask("take", folder, path.name, sent, piece, digest.hexdigest() if is_last else None)
                if is_last:
                    return
                sent += len(piece)


def _check_size(path: Path) -> None:
    if (size := path.stat().st_size) > LARGEST:
        raise OSError(f"it has {size / 2**30:.1f} GB, and {LARGEST / 2**30:.0f} GB are sent at most")


class CarriedWorker:
    """A worker whose jobs come from another machine, and whose results go there."""

    def __init__(self, context: WorkerContext, courier: Courier) -> None:
        """Fetches what the node lacks; raises what ``Worker`` and ``Courier.unpacked`` raise."""
        self._courier = courier
        self._worker = Worker(courier.unpacked(context), leave=courier.leave)

    def begin(self, job: Job) -> EpochReport:
        """As ``Worker.begin``."""
        try:
            here = self._courier.begin(job)
        except _LOST as error:
            return EpochReport(0, {}, float("nan"), failure=f"it cannot be begun on {socket.gethostname()}: {error}")
        return self._courier.ended(self._worker.begin(here))

    def advance(self) -> EpochReport:
        """As ``Worker.advance``."""
        return self._courier.ended(self._worker.advance())


def worker_of(context: WorkerContext) -> Worker | CarriedWorker:
    """The worker of this process."""
    courier = Courier.of(context)
    return Worker(context) if courier is None else CarriedWorker(context, courier)
