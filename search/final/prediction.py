"""Scores other patches by a final model, exactly as its test patches were scored."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress as Bar

from data_utils.readers.array_file import map_array
from data_utils.readers.patches import PatchSet, read_patches
from search.command.settings import PredictSettings
from search.command.terminal import say
from search.comparison import data_source
from search.final.members import SEALED_FILE, StoredModel, load_stored, member_logits
from search.training.device import choose_device
from studies.files import write_whole
from studies.statistics.calibration import sigmoid

Floats = npt.NDArray[np.float64]
_COLUMNS = ("name", "patient", "x", "y", "label", "probability", "predicted", "member_spread")


def predict(settings: PredictSettings) -> int:
    """Reads the patches, scores them and writes the table; the exit code."""
    stored = load_stored(settings.model)
    device = choose_device(settings.device)
    console = Console(stderr=True)
    patches = read_patches(data_source(settings.data), labelled=False)
    for line in _notices(patches, settings.model):
        say(console, line)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{len(patches)} patches, members", total=len(stored.members))
        logits = member_logits(
            stored, settings.model, patches.pixels, device, lambda done, of: bar.update(task, completed=done, total=of)
        )
    write_whole(settings.out, table(patches, stored, logits))
    say(console, f"{len(patches)} predictions by {stored.study}/{stored.model}: {settings.out}")
    return 0


def _notices(patches: PatchSet, model: Path) -> list[str]:
    """What a user should know of these patches before trusting their scores."""
    lines = [f"left out: {count} {reason}" for reason, count in patches.exclusions]
    lines += patches.notes
    sealed = model / SEALED_FILE
    if os.path.lexists(sealed):
        known = np.isin(patches.digests, map_array(sealed))
        if known.any():
            lines.append(
                f"{int(known.sum())} of {len(patches)} patches are sealed test patches of this model's comparison: "
                "a score on them is no new evidence, and a choice made by it spoils the test"
            )
    return lines


def table(patches: PatchSet, stored: StoredModel, logits: Floats) -> str:
    """The predictions as CSV.

    Args:
        patches: (N), labels and patients where known.
        stored: the model.
        logits: (N, members), mean over the views.
    """
    probabilities = sigmoid(logits.mean(axis=1), stored.temperature)
    spread = sigmoid(logits, stored.temperature).std(axis=1)
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for row, probability in enumerate(probabilities):
        rows.writerow(
            [
                patches.names[row],
                "" if patches.patients is None else patches.patients[row],
                _known(patches.x[row]),
                _known(patches.y[row]),
                "" if patches.labels is None else _known(patches.labels[row]),
                f"{probability:.6f}",
                int(probability >= stored.threshold),
                f"{spread[row]:.6f}",
            ]
        )
    return text.getvalue()


def _known(number: np.int64) -> object:
    return "" if number < 0 else number
