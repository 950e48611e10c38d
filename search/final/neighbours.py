"""A score that looks at the patches around one as well: a logistic model on their logits, fitted out of fold."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from data_utils.files import read_small, shown
from data_utils.readers.patchset import Ints, PatchSet, Strings
from search.errors import UsageError
from search.final.ensemble import final_single, out_of_fold_logit
from search.final.member_files import Floats
from search.final.race import Rows
from search.final.retraining import Retrained, fitted
from search.final.scored import patients_of
from studies.files import write_whole
from studies.final_models import Ensemble, Neighbours
from studies.findings.ensemble import ENSEMBLE
from studies.records import from_json, to_json
from studies.statistics.grid import are_placed, around, step_of
from studies.statistics.nested import gain_over

NEIGHBOURS_FILE = "neighbours.json"
FEWEST = 2.0
"""Neighbours of a development patch in the mean, below which a score that looks at them is left out."""
_LARGEST = 2**20  # bytes of a neighbours.json
_STEPS = 1000  # of the optimisation; it takes about ten


def why_none(development: PatchSet) -> str:
    """Why there is no score that looks at neighbours, in words; "" where there can be one."""
    if development.patients is None:
        return "patients are unknown, and neighbours are those within a patient"
    if not are_placed(development.patients, development.x, development.y).any():
        return "the place of no patch on its slide is known"
    usual = _usual(development)
    if usual < FEWEST:
        return f"a development patch has {usual:.1f} neighbours of 8 in the mean, and at least {FEWEST:g} are needed"
    return ""


def _usual(patches: PatchSet) -> float:
    _, counts = around(patients_of(patches), patches.x, patches.y, np.zeros(len(patches)))
    return float(counts.mean())


def _step(patches: PatchSet) -> int | None:
    patients = patients_of(patches)
    placed = are_placed(patients, patches.x, patches.y)
    return step_of(patients[placed], patches.x[placed], patches.y[placed])


def surround(
    retrained: Sequence[Retrained], rows: Rows, development: PatchSet, ensemble: Ensemble | None
) -> Neighbours | None:
    """Fits it to out-of-fold scores of the development patches; None where few patches have neighbours.

    Neighbours are patches of the same patient, so their scores are of the member that did not learn from it either.

    Args:
        retrained: all models, with the scores of their candidates.
        rows: the development rows.
        development: their patches.
        ensemble: of the same models.
    """
    if why_none(development):
        return None
    of, logits, temperature = _made_of(retrained, ensemble)
    seen = _seen(rows.patients, development.x, development.y, logits / temperature)
    held_out = np.empty(len(rows.labels))
    for number in range(rows.folds):
        inside = rows.fold == number
        held_out[inside] = _logistic(seen[~inside], rows.labels[~inside]).decision_function(seen[inside])
    final = _logistic(seen, rows.labels)
    own, mean, count = final.coef_[0].tolist()
    return Neighbours(
        of=of,
        temperature=temperature,
        own=own,
        around=mean,
        count=count,
        intercept=float(final.intercept_[0]),
        usual=_usual(development),
        fit=fitted(held_out, rows.labels, rows.patients),
        gain=gain_over(rows.labels, rows.patients, rows.fold, held_out, logits, [f"{of} with its neighbours"]),
        step=_step(development),
    )


def _made_of(retrained: Sequence[Retrained], ensemble: Ensemble | None) -> tuple[str, Floats, float]:
    """Entry, out-of-fold logits and temperature of the score that it is made of."""
    if ensemble is not None and ensemble.chosen:
        return ENSEMBLE, out_of_fold_logit(ensemble.parts, retrained), ensemble.fit.temperature
    single = final_single(retrained, ensemble).model
    best = next(one for one in retrained if one.final.model == single)
    return best.final.model, best.logits[best.final.chosen], best.final.temperature


def _seen(patients: Strings, x: Ints, y: Ints, scores: Floats, step: int | None = None) -> Floats:
    """(N, 3) own logit, mean of the neighbours' logits, how many there are."""
    means, counts = around(patients, x, y, scores, step)
    return np.stack([scores, means, counts], axis=1)


def _logistic(seen: Floats, labels: Ints) -> LogisticRegression:
    return LogisticRegression(max_iter=_STEPS).fit(seen, labels)


def neighbours_logit(neighbours: Neighbours, patients: Strings, x: Ints, y: Ints, logits: Floats) -> Floats:
    """(N,) its score of patches.

    Args:
        neighbours: as the plan has it.
        patients: (N,) "" where unknown.
        x: (N,) -1 where unknown.
        y: (N,) likewise.
        logits: (N,) by the score that it is made of, before their temperature.
    """
    weights = np.array([neighbours.own, neighbours.around, neighbours.count])
    seen = _seen(patients, x, y, logits / neighbours.temperature, neighbours.step)
    score: Floats = seen @ weights + neighbours.intercept
    return score


# --- on disk --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredNeighbours:
    """What looks at neighbours, beside the JSON of the model or ensemble that it is made of.

    Attributes:
        study: name of the comparison.
        plan_digest: of the analysis plan that it was put to the test under.
        neighbours: as the plan has it.
    """

    study: str
    plan_digest: str
    neighbours: Neighbours


def publish_neighbours(folder: Path, study: str, plan_digest: str, neighbours: Neighbours | None) -> None:
    """Leaves it in ``runs/NAME`` beside what it is made of, and takes away what an earlier plan left elsewhere."""
    for old in (folder / NEIGHBOURS_FILE, *folder.glob(f"*/{NEIGHBOURS_FILE}")):
        old.unlink(missing_ok=True)
    if neighbours is not None:
        place = folder if neighbours.of == ENSEMBLE else folder / neighbours.of
        write_whole(place / NEIGHBOURS_FILE, to_json(StoredNeighbours(study, plan_digest, neighbours)))


def load_neighbours(folder: Path, plan_digest: str) -> Neighbours:
    """What looks at neighbours, made of the model or ensemble in this folder.

    Args:
        folder: such as ``runs/NAME`` or ``runs/NAME/vgg16``.
        plan_digest: that of the model.

    Raises:
        UsageError: there is none, or it is of another plan or out of range.
        RecordError: its JSON cannot be read.
    """
    path = folder / NEIGHBOURS_FILE
    if not os.path.lexists(path):
        raise UsageError(
            f"--neighbours: {folder} holds no {NEIGHBOURS_FILE}: its plan has none (few development patches have "
            "neighbours, or their places are unknown), or made it of another model; leave --neighbours out"
        )
    found = from_json(StoredNeighbours, read_small(path, _LARGEST), str(path))
    one = found.neighbours
    numbers: npt.NDArray[np.float64] = np.array([one.own, one.around, one.count, one.intercept])
    sound = {
        "plan_digest": found.plan_digest == plan_digest,
        "temperature": 0 < one.temperature < float("inf") and 0 < one.fit.temperature < float("inf"),
        "threshold": 0 <= one.fit.threshold <= 1,
        "weights": bool(np.isfinite(numbers).all()),
        "step": one.step is None or one.step > 0,
    }
    wrong = [name for name, holds in sound.items() if not holds]
    if wrong:
        raise UsageError(
            f"{shown(path)} does not belong to this model: {wrong[0]} is another or out of range; expected it as "
            "search.finalize left it: put the original back"
        )
    return one
