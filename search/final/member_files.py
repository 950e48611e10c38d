"""What each retrained network leaves on disk: weights, out-of-fold scores, and last of all its record."""

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.final.candidates import Candidate
from search.training.jobs import EpochReport, Job
from search.training.seeds import derive_seed
from studies.errors import RecordError
from studies.files import read_file, write_whole
from studies.final_models import MemberResult
from studies.npz import read_npz
from studies.records import from_json, to_json

_LARGEST_RECORD = 2**20  # bytes of a member's record
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def member_job(candidate: Candidate, fold: int, *, folds: int, folder: Path, lock_digest: str) -> Job:
    """What trains one member; ``folder`` is that of the comparison."""
    return Job(
        label=f"{candidate.model} {candidate.label}, fold {fold + 1} of {folds}",
        model=candidate.model,
        number=-1,
        params=candidate.params,
        seed=derive_seed(lock_digest, candidate.model, candidate.key, fold),
        epochs=candidate.epochs,
        last_epoch=candidate.last_epoch,
        checkpoint=(folder / candidate.model / "checkpoints" / f"{candidate.key}-{fold}").resolve(),
        fold=fold,
        out=member_folder(folder, candidate).resolve(),
        measure=candidate.measure,
    )


def member_folder(folder: Path, candidate: Candidate) -> Path:
    """Where the members of a candidate are."""
    return folder / candidate.model / "members" / candidate.key


def stored_member(members: Path, fold: int) -> MemberResult | None:
    """The record of a member; None where it is not whole, yet or any more. The record is written last."""
    path = members / f"member_{fold}.json"
    if not all(os.path.lexists(path.with_suffix(kind)) for kind in (".json", ".npz", ".safetensors")):
        return None
    return from_json(MemberResult, read_file(path, _LARGEST_RECORD), str(path))


def store_member(job: Job, report: EpochReport) -> None:
    """Writes the record of a member whose worker has written the rest."""
    assert job.out is not None
    assert job.fold is not None
    weights = (job.out / f"member_{job.fold}.safetensors").read_bytes()
    member = MemberResult(
        fold=job.fold,
        seed=job.seed,
        epochs=job.last_epoch,
        seconds=report.attributes["seconds"],
        out_of_fold_auc=report.scores.get("auc"),
        sha256=sha256(weights).hexdigest(),
    )
    write_whole(job.out / f"member_{job.fold}.json", to_json(member))


def out_of_fold(members: Path, fold: Ints, folds: int) -> Floats:
    """(N,) mean logit over the 8 views, each from the member that never saw the row's patient.

    Args:
        members: their folder.
        fold: (N,) that of each row.
        folds: the first so many have members; rows of the others are NaN.
    """
    logits = np.full(len(fold), np.nan)
    for number in range(folds):
        _fill(logits, members / f"member_{number}.npz")
    if np.isnan(logits[fold < folds]).any():
        raise RecordError(f"{members} does not hold a score of every patch; delete it and run the same command again")
    return logits


def _fill(logits: Floats, path: Path) -> None:
    stored = read_npz(path)
    try:
        logits[stored["rows"]] = stored["logits"].mean(axis=1)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise RecordError(f"{path} is not what a member predicted; delete it and run the same command again") from error
