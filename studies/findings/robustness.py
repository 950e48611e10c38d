"""How much small changes of the patches move a model, on development patients that its members did not learn from."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from studies.errors import RecordError
from studies.files import write_whole
from studies.final_models import FinalModel
from studies.npz import MEND, read_npz
from studies.records import Disturbed, Floats, ReportData
from studies.statistics.calibration import sigmoid
from studies.statistics.comparison import paired_difference
from studies.statistics.metrics import PRIMARY, Estimate, estimate, ranking
from studies.statistics.resampling import Resampling, resample
from studies.statistics.selective import share

ROBUSTNESS_FILE = "robustness.npz"
_KINDS = {
    "made_for": ("U", 0), "changes": ("U", 1), "logits": ("f", 2), "labels": ("i", 1), "patients": ("U", 1),
    "seconds": ("f", 0),
}  # fmt: skip
"""Name of each array, kind of NumPy's types, and dimensions."""


@dataclass(frozen=True)
class Moved:
    """What one change does.

    Attributes:
        auc: with it minus without, over the same patches.
        flipped: share of the calls at the frozen threshold that are another one.
    """

    change: str
    auc: Estimate
    flipped: Estimate


@dataclass(frozen=True)
class Robustness:
    """Of one model; each patch is seen in one view, by the member that did not learn from its patient.

    Attributes:
        auc: of the patches as they are.
        seconds: that it took in ``search.finalize``.
    """

    patches: int
    patients: int
    auc: Estimate
    moved: tuple[Moved, ...]
    seconds: float


def find_robustness(data: ReportData) -> dict[str, Robustness]:
    """Of each model for which it was computed."""
    return {
        model.model: _of(data.disturbed[model.model], model)
        for model in data.plan.models
        if model.model in data.disturbed
    }


def _of(found: Disturbed, model: FinalModel) -> Robustness:
    resampling = resample(found.patients, found.labels, draws=0, seed=0)
    ranked = [ranking(found.labels, logits, resampling)["auc"] for logits in found.logits]
    calls = sigmoid(found.logits, model.temperature) >= model.threshold  # (K + 1, n)
    moved = []
    for number, change in enumerate(found.changes, start=1):
        auc = paired_difference(PRIMARY, ranked[number], ranked[0], resampling)
        told = Estimate(auc.value, auc.low, auc.high, auc.reason)
        moved.append(Moved(change, told, _flipped(calls[0] != calls[number], resampling)))
    return Robustness(
        patches=len(found.labels),
        patients=len(np.unique(found.patients)) if resampling.known else 0,
        auc=estimate(ranked[0], resampling),
        moved=tuple(moved),
        seconds=found.seconds,
    )


def _flipped(other: np.ndarray, resampling: Resampling) -> Estimate:
    return estimate(share(other, np.ones(len(other)), resampling), resampling)


# --- on disk --------------------------------------------------------------------------------------------------------


def members_key(members: Sequence[str]) -> str:
    """Of the members' sha256, so that what was computed with others is known."""
    return sha256(" ".join(members).encode()).hexdigest()


def save_disturbed(found: Disturbed, members: Sequence[str], folder: Path) -> None:
    """Keeps it beside the final model of these members.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        made_for=np.array(members_key(members)),
        changes=np.array(found.changes),
        logits=found.logits,
        labels=found.labels,
        patients=found.patients,
        seconds=np.array(found.seconds),
    )
    write_whole(folder / ROBUSTNESS_FILE, content.getvalue())


def load_disturbed(members: Sequence[str], folder: Path) -> Disturbed | None:
    """That of these members; None where there is none, or one of others.

    Raises:
        RecordError: it cannot be read.
    """
    path = folder / ROBUSTNESS_FILE
    if not os.path.lexists(path):
        return None
    arrays = read_npz(path)
    if any(name not in arrays or (arrays[name].dtype.kind, arrays[name].ndim) != kind for name, kind in _KINDS.items()):
        raise RecordError(f"{path} does not hold what search.finalize keeps there: {MEND}")
    if str(arrays["made_for"]) != members_key(members):
        return None
    changes, logits, labels = arrays["changes"], arrays["logits"], arrays["labels"]
    if logits.shape != (len(changes) + 1, len(labels)) or arrays["patients"].shape != labels.shape:
        raise RecordError(f"the arrays of {path} do not belong together: {MEND}")
    known: Floats = logits
    return Disturbed(tuple(changes.tolist()), known, labels, arrays["patients"], float(arrays["seconds"]))
