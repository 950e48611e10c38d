"""Predictions on disk: arrays in one ``.npz`` without pickle, thresholds and the order of entries as JSON in it."""

import csv
import io
import json
import os
from hashlib import file_digest
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from studies.errors import RecordError
from studies.files import file_size, write_whole
from studies.npz import MEND, read_npz
from studies.records import Predictions

PREDICTIONS_FILE = "predictions.npz"
TABLE_FILE = "test_predictions.csv"
_COLUMNS = {
    **dict.fromkeys(("names", "patients"), "U"),
    **dict.fromkeys(("x", "y", "labels"), "i"),
    **dict.fromkeys(("brightness", "haematoxylin", "eosin"), "f"),
    "near_white": "b",
}
"""Name of each array, and kind of NumPy's types."""
_THRESHOLDS = TypeAdapter(dict[str, float])


def save_predictions(predictions: Predictions, folder: Path) -> Path:
    """Writes them, whole or not at all; returns the file.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    columns = {name: getattr(predictions, name) for name in _COLUMNS}
    scores = {
        f"{kind}/{entry}": values
        for kind in ("logits", "probabilities", "members")
        for entry, values in getattr(predictions, kind).items()
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **columns, **scores, thresholds=np.array(json.dumps(predictions.thresholds)))
    return write_whole(folder / PREDICTIONS_FILE, content.getvalue())


def load_predictions(folder: Path) -> Predictions:
    """Reads what ``save_predictions`` wrote.

    Raises:
        RecordError: the file is missing, cut off or of another form.
    """
    path = folder / PREDICTIONS_FILE
    arrays = read_npz(path)
    try:
        predictions = Predictions(
            **{name: arrays[name] for name in _COLUMNS},
            logits=_of_kind(arrays, "logits"),
            probabilities=_of_kind(arrays, "probabilities"),
            members=_of_kind(arrays, "members"),
            thresholds=_THRESHOLDS.validate_json(str(arrays["thresholds"])),
        )
        _check(predictions)
    except (ValueError, KeyError) as error:  # of pydantic as well
        reason = " ".join(str(error).split())[:200]
        raise RecordError(f"{path} cannot be read ({reason}): {MEND}") from error
    return predictions


def problem_with(folder: Path, recorded: str) -> str | None:
    """Why the predictions in a folder are not those whose sha256 was recorded, in words; None where they are."""
    path = folder / PREDICTIONS_FILE
    if not os.path.lexists(path):
        return f"{path} is missing"
    try:
        file_size(path)
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except (RecordError, OSError) as error:
        return str(error)
    return None if found == recorded else f"{path} was edited after the opening"


def as_table(predictions: Predictions) -> str:
    """Every prediction of every entry as CSV, one row for each model and patch."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["model", "name", "patient", "x", "y", "label", "probability", "predicted"])
    for entry, probabilities in predictions.probabilities.items():
        called = probabilities >= predictions.thresholds[entry]
        for row, probability in enumerate(probabilities):
            table.writerow([entry, *_identity(predictions, row), f"{probability:.6f}", int(called[row])])
    return text.getvalue()


def _identity(predictions: Predictions, row: int) -> list[object]:
    """Name, patient, x, y and label of a patch."""
    x, y = (_known(column[row]) for column in (predictions.x, predictions.y))
    return [predictions.names[row], predictions.patients[row], x, y, predictions.labels[row]]


def _known(position: np.int64) -> object:
    return "" if position < 0 else position


def _check(predictions: Predictions) -> None:
    """Every array is of its kind, and has a row for each patch."""
    count = predictions.names.size  # also of an array without dimensions
    columns = {name: getattr(predictions, name) for name in _COLUMNS}
    wrong = [name for name, column in columns.items() if column.shape != (count,)]
    wrong += [name for name, column in columns.items() if column.dtype.kind != _COLUMNS[name]]
    for scores in (predictions.logits, predictions.probabilities, predictions.members):
        wrong += [name for name, of in scores.items() if of.shape[:1] != (count,) or of.dtype.kind != "f"]
    if wrong:
        raise ValueError(f"{wrong[0]} is of another shape or type")


def _of_kind(arrays: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
