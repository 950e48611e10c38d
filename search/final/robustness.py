"""Scores of development patches under small changes, each by the member that did not learn from its patient."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import numpy as np
from torch import nn

from data_utils.quality.disturbances import DISTURBANCES
from data_utils.readers.patchset import Ints, PatchSet, Pixels, known
from search.final.members import Floats, StoredModel, one_view, place_members
from search.final.scored import patients_of
from studies.errors import RecordError
from studies.findings.robustness import load_disturbed, save_disturbed
from studies.records import Disturbed

LOGGER = logging.getLogger("histotune")
MOST = 100
"""Patches that are changed: so few are scored, in one view, within seconds also by VGG16 on a CPU."""


def keep_robustness(stored: StoredModel, folder: Path, development: PatchSet, fold: Ints, device: str) -> None:
    """Scores them and leaves the scores beside the model, unless they are there.

    Args:
        stored: the model.
        folder: of its members.
        development: its development patches, N.
        fold: (N,) that of each patch; member k did not learn from those of fold k.
        device: "cpu" or "cuda".

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    members = [sha256 for _, sha256 in stored.members]
    with suppress(RecordError):  # damaged: it is made again
        if load_disturbed(members, folder) is not None:
            return
    LOGGER.info("%s: scores of development patches under small changes", stored.model)
    begun = perf_counter()
    rows = spread_over_patients(patients_of(development))
    pixels, labels = np.array(development.pixels[rows]), known(development)[rows]
    networks = place_members(stored, folder, device)
    seen = (pixels, *(change(pixels) for change in DISTURBANCES.values()))
    logits = np.stack([_held_out(stored, networks, one, fold[rows], device) for one in seen])
    found = Disturbed(tuple(DISTURBANCES), logits, labels, patients_of(development)[rows], perf_counter() - begun)
    save_disturbed(found, members, folder)


def spread_over_patients(patients: np.ndarray) -> Ints:
    """Rows of at most ``MOST`` patches, drawn so that patients have as equally many as they can."""
    order = np.random.default_rng(0).permutation(len(patients))
    _, unit = np.unique(patients[order], return_inverse=True)
    sorted_by = np.argsort(unit, kind="stable")
    first = np.searchsorted(unit[sorted_by], unit)
    rank = np.empty(len(unit), np.int64)
    rank[sorted_by] = np.arange(len(unit)) - first[sorted_by]
    rows: Ints = np.sort(order[np.argsort(rank, kind="stable")[:MOST]])
    return rows


def _held_out(stored: StoredModel, networks: Sequence[nn.Module], pixels: Pixels, fold: Ints, device: str) -> Floats:
    """(n,) logit of each patch by the member of its fold."""
    logits = np.full(len(pixels), np.nan)
    for number, network in enumerate(networks):
        rows = np.flatnonzero(fold == number)
        if len(rows):
            logits[rows] = one_view(stored, network, pixels[rows], device)
    return logits
