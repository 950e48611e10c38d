"""What lets a job go on in another process: one file, replaced after each epoch, with every report so far in it.

It serves a worker that died and a driver that died alike, and a report that was lost on its way to the database is
told again from it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from search.jobs import EpochReport, Job


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A job as it stood after its last epoch.

    Attributes:
        layout: of feature maps in memory, as the job began.
        told: every report so far.
        training: the state of the training, tensors on the CPU.
    """

    layout: str
    told: list[EpochReport]
    training: dict[str, Any]

    @staticmethod
    def read(job: Job) -> "Checkpoint | None":
        """The job's checkpoint; None where there is none, or one of another configuration.

        Tensors, numbers and texts only are read, never code.
        """
        path = _path(job)
        if not path.exists():
            return None
        kept = torch.load(path, map_location="cpu", weights_only=True)
        if kept["identity"] != _identity(job):
            return None
        return Checkpoint(kept["layout"], [EpochReport(**report) for report in kept["told"]], kept["training"])

    def write(self, job: Job) -> None:
        """Replaces the job's checkpoint, whole or not at all."""
        job.checkpoint.mkdir(parents=True, exist_ok=True)
        draft = _path(job).with_suffix(".part")
        told = [asdict(report) for report in self.told]
        content = {"identity": _identity(job), "layout": self.layout, "told": told, "training": self.training}
        torch.save(content, draft)
        draft.replace(_path(job))


def _path(job: Job) -> Path:
    return job.checkpoint / "last.pt"


def _identity(job: Job) -> str:
    return repr((job.model, sorted(job.params.items()), job.seed, job.epochs, job.fold))
