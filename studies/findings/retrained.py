"""Retrained configurations in numbers that owe nothing to the test split, and beside those that do."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from studies.final_models import CandidateResult, Dropped, FinalModel
from studies.records import Predictions, ReportData
from studies.statistics.metrics import Estimate, auc, average_precision, balanced_accuracy
from studies.storage.results import as_used


@dataclass(frozen=True)
class OvertuningRow:
    """The same configuration seen three times: a search that fitted its validation split falls from left to right.

    Attributes:
        search_value: AUC, or whatever the objective was, on the validation split in the search.
        out_of_fold_auc, out_of_fold_balanced_accuracy: None where it was dropped before the last fold.
        training_patients_auc: out of fold, of the training patients alone, by whom neither the configuration nor its
            last epoch was chosen; None where patients are unknown.
        test_auc: None where this configuration was not put to the test.
        dropped: why it was not retrained over all folds; None where it was.
    """

    configuration: str
    trial: int
    chosen: bool
    search_value: float
    out_of_fold_auc: float | None
    training_patients_auc: float | None
    out_of_fold_balanced_accuracy: float | None
    test_auc: Estimate | None
    dropped: Dropped | None


def as_shown(data: ReportData, model: FinalModel) -> tuple[CandidateResult, ...]:
    """The configurations of a model, with 0 for what is stored below it and is none."""
    space = next((study.space for study in data.studies if study.model == model.model), {})
    return tuple(replace(one, params=as_used(one.params, space)) for one in model.candidates)


def out_of_fold(rows: Predictions | None, name: str, threshold: float) -> dict[str, float | None]:
    """AUC, average precision, balanced accuracy and Brier score of a model's development rows, without intervals."""
    if rows is None or name not in rows.logits:
        return {}
    logits, probabilities = rows.logits[name], rows.probabilities[name]
    found = {
        "auc": auc(rows.labels, logits),
        "average_precision": average_precision(rows.labels, logits),
        "balanced_accuracy": balanced_accuracy(rows.labels, probabilities, threshold),
        "brier": float(np.mean((probabilities - rows.labels) ** 2)),
    }
    return {metric: value if np.isfinite(value) else None for metric, value in found.items()}


def by_part(data: ReportData, name: str, entry: str) -> dict[str, float | None]:
    """Out-of-fold AUC of the patients of each development part."""
    rows, part = data.out_of_fold.get(name), _parts(data, name)
    if rows is None or part is None or entry not in rows.logits:
        return {}
    found = {}
    for one in ("train", "validation"):
        chosen = part == one
        value = auc(rows.labels[chosen], rows.logits[entry][chosen]) if chosen.any() else float("nan")
        found[one] = value if np.isfinite(value) else None
    return found


def _parts(data: ReportData, name: str) -> npt.NDArray[np.str_] | None:
    """(N,) the part of each out-of-fold row of a model; None where patients are unknown."""
    rows, part_of = data.out_of_fold.get(name), {patient: part for patient, part, *_ in data.data.patients}
    if rows is None or not part_of:
        return None
    return np.array([part_of.get(patient, "") for patient in rows.patients.tolist()])


def of_validation(data: ReportData, name: str) -> float | None:
    """Share of a model's out-of-fold rows that are of validation patients; None where patients are unknown."""
    part = _parts(data, name)
    return None if part is None else float(np.mean(part == "validation"))


def overtuning(
    data: ReportData, model: FinalModel, candidate: CandidateResult, test_auc: Estimate | None
) -> OvertuningRow:
    """A configuration in the search, out of fold and on the test split."""
    entry, whole = model.entry(candidate.label), candidate.dropped is None
    return OvertuningRow(
        configuration=candidate.label,
        trial=candidate.trial,
        chosen=candidate.label == model.chosen,
        search_value=candidate.search_value,
        out_of_fold_auc=candidate.out_of_fold_auc if whole else None,
        training_patients_auc=by_part(data, model.model, entry).get("train"),
        out_of_fold_balanced_accuracy=candidate.out_of_fold_balanced_accuracy if whole else None,
        test_auc=test_auc,
        dropped=candidate.dropped,
    )
