"""Which patches a final model may be put to: sources read, sealed patches met, looks at them recorded."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import Progress as Bar

from data_utils.quality.measures import one_colour
from data_utils.readers.array_file import map_array
from data_utils.readers.patches import PatchSet
from data_utils.readers.patchset import Strings, chunks
from data_utils.readers.sources import read_sources
from search.comparison import data_source
from search.errors import UsageError
from search.final.members import load_stored
from search.final.stored_ensemble import Final, StoredEnsemble, home_of, load_ensemble
from search.trials.looks import PREDICTION, one_look
from search.trials.seals import SEALED_FILE, Met, sealed_among
from studies.errors import StudyError
from studies.files import naming
from studies.ledger.ledger import Ledger
from studies.ledger.patches import patches_of
from studies.storage.studies import is_there, open_existing

AT_ONCE = 1024
"""Patches held and scored at once: a multiple of every batch, so that a score is the same however many there are."""


UNKNOWN = "unknown"
"""The part of patches of which nobody knows whether the model learned from them."""


class Asked(Protocol):
    """What is asked of every command that puts a final model to patches."""

    @property
    def model(self) -> Path:
        """Its folder."""
        ...

    @property
    def storage(self) -> str:
        """URL of the database; "" for that beside the results."""
        ...


def stored_in(folder: Path) -> Final:
    """The ensemble or the final model in a folder.

    Raises:
        UsageError, RecordError: as ``load_stored``.
    """
    return load_ensemble(folder) or load_stored(folder)


def named(stored: Final) -> str:
    """The model, as it is told."""
    return f"{stored.study}/{'ensemble' if isinstance(stored, StoredEnsemble) else stored.model}"


def check_side(patches: PatchSet, stored: Final, model: Path) -> None:
    """Refuses patches of another side: the network would take them, and see tissue at a scale that it never learned.

    Raises:
        UsageError: what was found and expected.
    """
    if patches.side != stored.side:
        raise UsageError(
            f"{patches.source} holds patches of {patches.side} pixels; expected {stored.side}, on which {model} was "
            "trained: cut them anew, at the scale of its training patches"
        )


def read(data: Sequence[str], folder: Path, console: Console) -> list[PatchSet]:
    """The patches of each source; pixels of pictures go into ``folder``, where any number of them has room."""
    sources = data or (data_source(None),)
    with naming(folder), Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading patches", total=None)
        return list(read_sources(sources, folder, lambda done, of: bar.update(task, completed=done, total=of)))


def pieces(sets: Sequence[PatchSet]) -> Iterator[PatchSet]:
    """All patches in their order, so many at once as are held in memory."""
    for patches in sets:
        for piece in chunks(len(patches), AT_ONCE):
            yield patches.take(np.arange(piece.start, piece.stop))


def notices(sets: Sequence[PatchSet]) -> list[str]:
    """What the reader left out, and how it read the rest."""
    return [
        line
        for patches in sets
        for line in (*(f"left out: {count} {reason}" for reason, count in patches.exclusions), *patches.notes)
    ]


def looks(sets: Sequence[PatchSet], settings: Asked, stored: Final, command: str) -> list[str]:
    """That some are sealed test patches, of this model's comparison or another; it is recorded where it can be.

    Raises:
        UsageError: their test split was not opened yet, or what another comparison has sealed is not known.
    """
    home = home_of(settings.model, stored)
    ledger = ledger_of(settings.storage, home)
    found = [(patches, _met(patches, stored.study, home, ledger)) for patches in sets]
    for patches, of_it in found:  # all of them, before a look at any is recorded
        _check_opened(of_it, len(patches))
    lines = []
    for patches, of_it in found:
        for met in of_it:
            lines.append(
                f"{met.count} of {len(patches)} patches are sealed test patches of {met.study}: a score on them is no "
                f"new evidence, and a choice made by it spoils the test; {_record(met, settings, ledger, command)}"
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


def ledger_of(storage: str, model: Path) -> Ledger | None:
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


def parts_of(patches: PatchSet, stored: Final, ledger: Ledger | None) -> Strings:
    """(N,) in which part of the model's comparison a patch is, "" for none; "unknown" where that is not on record."""
    recorded = None if ledger is None else patches_of(ledger.engine, stored.study)
    if recorded is None:
        return np.full(len(patches), UNKNOWN)
    parts = np.full(len(patches), "", dtype=f"U{max(map(len, recorded))}")
    for part, digests in recorded.items():
        parts[np.isin(patches.digests, np.array(digests, dtype="U64"))] = part
    return parts


def _record(met: Met, settings: Asked, ledger: Ledger | None, command: str) -> str:
    """Whether the look was written down, in words."""
    if ledger is None or not met.recordable:
        return f"that could not be recorded: the database holds no lock of {met.study}; name its own by --storage"
    words = f"scored by {command} with the model {settings.model}"
    try:
        ledger.record_look(met.study, PREDICTION, words, met.count, one_look())
    except StudyError as error:  # it may not be written to, or the disk is full
        return f"that could not be recorded: {error}"
    return "that is recorded"
