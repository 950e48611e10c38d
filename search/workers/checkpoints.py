"""What lets a job go on in another process: one file, replaced after each epoch, with every report so far in it.

It serves a worker that died and a driver that died alike, and a report that was lost on its way to the database is
told again from it.
"""

import logging
import warnings
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from data_utils.files import file_size
from search.training.jobs import EpochReport, Job
from studies.files import whole
from studies.measure import BEFORE

LOGGER = logging.getLogger("histotune")
_REPORT = TypeAdapter(EpochReport)


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
        """The job's checkpoint; None where there is none, one of another configuration, or a damaged one.

        A damaged one costs its epochs, not the trial: the job begins again, which the log says. Tensors, numbers and
        texts only are read, never code.
        """
        path = _path(job)
        try:
            if not path.exists():
                return None
            _check_whole(path)
            kept = _load(path)
            if kept["identity"] != _identity(job):
                return None
            told = [_REPORT.validate_python(report) for report in kept["told"]]
            return Checkpoint(str(kept["layout"]), told, dict(kept["training"]))
        except Exception as error:  # noqa: BLE001 - torch raises nearly anything for a damaged file
            reason = " ".join(str(error).split())[:200]
            LOGGER.warning("%s: %s is damaged (%s); it begins again", job.label, path, reason)
            return None

    def write(self, job: Job) -> None:
        """Replaces the job's checkpoint, whole or not at all.

        Raises:
            NotWrittenError: the disk is full, or nothing may be written there; an earlier checkpoint is still there.
        """
        told = [asdict(report) for report in self.told]
        content = {"identity": _identity(job), "layout": self.layout, "told": told, "training": self.training}
        with whole(_path(job)) as draft:
            _save(content, draft)


def _save(content: dict[str, Any], draft: Path) -> None:
    try:
        torch.save(content, draft)
    except RuntimeError as error:  # all that PyTorch's writer says is "unexpected pos 576 vs 534"
        raise OSError("it cannot be written whole, as on a full disk") from error


def _load(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # the log says it
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return content
    except Exception as error:  # PyTorch's own words advise to run what is in the file
        raise ValueError("it holds other things than tensors, numbers and texts") from error


def _check_whole(path: Path) -> None:
    """Refuses what ``torch.save`` does not write: a file cut off or changed, or one that unpacks to more than it has.

    Torch itself checks no checksum and believes the sizes that the file claims.
    """
    size = file_size(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or sum(member.file_size for member in members) > size:
            raise zipfile.BadZipFile("it claims to unpack to more than it has")
        if broken := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {broken} is another")


def _path(job: Job) -> Path:
    return job.checkpoint / "last.pt"


def _identity(job: Job) -> str:
    measure = () if job.measure == BEFORE else (str(job.measure),)  # those of before know of none
    return repr((job.model, sorted(job.params.items()), job.seed, job.epochs, job.fold, *measure))
