"""Scores other patches by a final model, exactly as its test patches were scored."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress as Bar

from data_utils.quality.measures import one_colour
from data_utils.readers.array_file import map_array
from data_utils.readers.patches import PatchSet, read_patches
from search.command.settings import PredictSettings
from search.command.terminal import say
from search.command.writable import why_not_writable
from search.comparison import data_source
from search.errors import UsageError
from search.final.members import StoredModel, load_stored, member_logits
from search.final.stored_ensemble import StoredEnsemble, ensemble_logits, load_ensemble
from search.training.device import choose_device
from search.trials.looks import PREDICTION, one_look
from search.trials.seals import SEALED_FILE, Met, sealed_among
from studies.errors import StudyError
from studies.files import write_whole
from studies.ledger.ledger import Ledger
from studies.statistics.calibration import sigmoid
from studies.storage.studies import is_there, open_existing

Floats = npt.NDArray[np.float64]
Final = StoredModel | StoredEnsemble
_COLUMNS = ("name", "patient", "x", "y", "label", "probability", "predicted", "member_spread")


def predict(settings: PredictSettings) -> int:
    """Reads the patches, scores them and writes the table; the exit code."""
    ensemble = load_ensemble(settings.model)
    stored = ensemble or load_stored(settings.model)
    if problem := why_not_writable(settings.out.parent):
        raise UsageError(f"--out {settings.out}: {problem}; name another file, or have it made writable")
    device = choose_device(settings.device)
    console = Console(stderr=True)
    patches = read_patches(data_source(settings.data), labelled=False)
    _check_side(patches, stored, settings.model)
    for line in (*_notices(patches), *_looks(patches, settings, stored)):
        say(console, line)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{len(patches)} patches, members", total=None)

        def progress(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        if isinstance(stored, StoredEnsemble):
            logits = ensemble_logits(stored, settings.model, patches.pixels, device, progress)
        else:
            logits = member_logits(stored, settings.model, patches.pixels, device, progress)
    write_whole(settings.out, table(patches, stored, logits))
    say(console, f"{len(patches)} predictions by {_named(stored)}: {settings.out}")
    return 0


def _named(stored: Final) -> str:
    return f"{stored.study}/{'ensemble' if isinstance(stored, StoredEnsemble) else stored.model}"


def _home(settings: PredictSettings, stored: Final) -> Path:
    """The folder of a single model: that of an ensemble's first part knows of the same sealed patches."""
    folder = settings.model.resolve()
    return folder / stored.parts[0].stored.model if isinstance(stored, StoredEnsemble) else folder


def _check_side(patches: PatchSet, stored: Final, model: Path) -> None:
    """Refuses patches of another side: the network would take them, and see tissue at a scale that it never learned.

    Raises:
        UsageError: what was found and expected.
    """
    if patches.side != stored.side:
        raise UsageError(
            f"{patches.source} holds patches of {patches.side} pixels; expected {stored.side}, on which {model} was "
            "trained: cut them anew, at the scale of its training patches"
        )


def _notices(patches: PatchSet) -> list[str]:
    """What the reader left out, and how it read the rest."""
    return [*(f"left out: {count} {reason}" for reason, count in patches.exclusions), *patches.notes]


def _looks(patches: PatchSet, settings: PredictSettings, stored: Final) -> list[str]:
    """That some are sealed test patches, of this model's comparison or another; it is recorded where it can be.

    Raises:
        UsageError: their test split was not opened yet, or what another comparison has sealed is not known.
    """
    home = _home(settings, stored)
    ledger = _ledger(settings.storage, home)
    found = _met(patches, stored.study, home, ledger)
    _check_opened(found, len(patches))
    lines = []
    for met in found:
        patches_of_it = f"{met.count} of {len(patches)} patches are sealed test patches of {met.study}"
        recorded = _record(met, settings, ledger)
        lines.append(
            f"{patches_of_it}: a score on them is no new evidence, and a choice made by it spoils the test; {recorded}"
        )
    return lines


def _check_opened(found: Sequence[Met], count: int) -> None:
    """Refuses patches that are sealed and were opened under no name.

    Raises:
        UsageError: there are some.
    """
    opened = np.any([met.rows for met in found if met.opened] or [np.zeros(count, np.bool_)], axis=0)
    for met in found:
        if unseen := int((met.rows & ~opened).sum()):
            raise UsageError(
                f"{unseen} of {count} patches are sealed test patches of {met.study}, whose test split was not opened "
                "yet: a score on them would be a look that nobody counts. Give other patches, or run python -m "
                f"search.finalize --study {met.study} first"
            )


def _ledger(storage: str, model: Path) -> Ledger | None:
    """Of the database that was named, or else lies beside the results that the model is of; None where none does.

    Raises:
        StorageError: the one that was named is not there.
    """
    url = storage or f"sqlite:///{model.parent.parent}/studies.db"
    return Ledger(open_existing(url).engine) if storage or is_there(url) else None


def _met(patches: PatchSet, study: str, model: Path, ledger: Ledger | None) -> list[Met]:
    """The comparisons whose sealed patches are among these; of a model that was copied elsewhere, its own."""
    found = sealed_among(model.parent.parent, ledger, patches)
    sealed = model / SEALED_FILE
    if any(met.study == study for met in found) or not os.path.lexists(sealed):
        return found
    rows = np.isin(patches.digests, map_array(sealed)) & ~one_colour(patches.pixels)
    return [*found, Met(study, rows, opened=True, recordable=False)] if rows.any() else found


def _record(met: Met, settings: PredictSettings, ledger: Ledger | None) -> str:
    """Whether the look was written down, in words."""
    if ledger is None or not met.recordable:
        return f"that could not be recorded: the database holds no lock of {met.study}; name its own by --storage"
    words = f"scored by search.predict with the model {settings.model}"
    try:
        ledger.record_look(met.study, PREDICTION, words, met.count, one_look())
    except StudyError as error:  # it may not be written to, or the disk is full
        return f"that could not be recorded: {error}"
    return "that is recorded"


def table(patches: PatchSet, stored: Final, logits: Floats) -> str:
    """The predictions as CSV.

    Args:
        patches: (N), labels and patients where known.
        stored: the model, or the ensemble.
        logits: (N, members), mean over the views; or (N, parts).
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
