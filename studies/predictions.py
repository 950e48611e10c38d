"""Predictions on disk: arrays in one ``.npz`` without pickle, thresholds and the order of entries as JSON in it."""

import json
from pathlib import Path

import numpy as np

from studies.errors import RecordError
from studies.records import Predictions

PREDICTIONS_FILE = "predictions.npz"
_COLUMNS = ("names", "patients", "x", "y", "labels", "brightness", "haematoxylin", "eosin", "near_white")


def save_predictions(predictions: Predictions, folder: Path) -> Path:
    """Writes them, whole or not at all; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: getattr(predictions, name) for name in _COLUMNS}
    scores = {
        f"{kind}/{entry}": values
        for kind in ("logits", "probabilities", "members")
        for entry, values in getattr(predictions, kind).items()
    }
    draft = folder / "predictions.part.npz"
    np.savez(draft, allow_pickle=False, **columns, **scores, thresholds=np.array(json.dumps(predictions.thresholds)))
    return draft.replace(folder / PREDICTIONS_FILE)


def load_predictions(folder: Path) -> Predictions:
    """Reads what ``save_predictions`` wrote.

    Raises:
        RecordError: the file is missing, cut off or of another form.
    """
    path = folder / PREDICTIONS_FILE
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        thresholds = json.loads(str(arrays["thresholds"]))
        return Predictions(
            **{name: arrays[name] for name in _COLUMNS},
            logits=_of_kind(arrays, "logits"),
            probabilities=_of_kind(arrays, "probabilities"),
            members=_of_kind(arrays, "members"),
            thresholds=thresholds,
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise RecordError(f"{path} cannot be read ({error}): run python -m search.finalize again") from error


def _of_kind(arrays: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
