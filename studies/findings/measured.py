"""What patches look like, in five measures: kept beside predictions, for a closer look at where models err."""

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from studies.errors import RecordError
from studies.files import write_whole
from studies.npz import read_npz
from studies.records import Floats, Predictions, ReportData

MEASURES_FILE = "measures.npz"
MEASURES = ("brightness", "saturation", "haematoxylin", "eosin", "sharpness")
"""In the order of the file's columns; the last is the logarithm of the variance of the Laplacian."""


def save_measures(measures: Floats, folder: Path) -> None:
    """Writes the measures of patches, (N, 5), in the order of their predictions.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, measures=measures)
    write_whole(folder / MEASURES_FILE, content.getvalue())


def load_measures(folder: Path, patches: int) -> Floats | None:
    """(N, 5) of so many patches; None where an earlier version kept none.

    Raises:
        RecordError: they cannot be read, or are of other patches.
    """
    path = folder / MEASURES_FILE
    if not os.path.lexists(path):
        return None
    with suppress(RecordError):  # damaged
        measures = read_npz(path).get("measures")
        if measures is not None and measures.shape == (patches, len(MEASURES)) and measures.dtype.kind == "f":
            return measures
    raise RecordError(
        f"{path} does not hold {len(MEASURES)} measures of {patches} patches: put the original back, or delete it; the "
        "report then does with those that stand in predictions"
    )


def seen_in(data: ReportData) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Measure -> (N,) of the development patches, and of the test patches; those that are known of both.

    Of an opening by an earlier version these are the three that stand in predictions.
    """
    known = development_rows(data)
    if data.measured is None:
        return _in_predictions(known), _in_predictions(data.test)
    development, test = data.measured
    return (
        {name: development[:, column] for column, name in enumerate(MEASURES)},
        {name: test[:, column] for column, name in enumerate(MEASURES)},
    )


def development_rows(data: ReportData) -> Predictions:
    """The development patches; their predictions are those of one model."""
    return next(iter(data.out_of_fold.values()))


def _in_predictions(rows: Predictions) -> dict[str, Floats]:
    found: Mapping[str, Floats] = {name: getattr(rows, name) for name in ("brightness", "haematoxylin", "eosin")}
    return dict(found)
