"""What is said of development patches by networks that did not learn from their patients: kept, and looked up."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_utils.errors import FormatError
from data_utils.readers.patchset import PatchSet
from data_utils.split.prepare import DEVELOPMENT, DevelopmentSet, load_development
from search.applied.table import Columns
from search.comparison import OUT_OF_FOLD
from search.errors import UsageError
from search.final.stored_ensemble import Final, StoredEnsemble, home_of
from studies.findings.ensemble import ENSEMBLE
from studies.findings.predictions import load_predictions
from studies.records import Predictions


def entry_of(stored: Final) -> str:
    """What predictions call it."""
    return ENSEMBLE if isinstance(stored, StoredEnsemble) else stored.model


def held_out(stored: Final, folder: Path) -> Predictions:
    """Its scores out of fold.

    Args:
        stored: the model, or the ensemble.
        folder: of its JSON.

    Raises:
        UsageError: an ensemble of which an earlier version kept none.
        RecordError: they are missing, or cannot be read.
    """
    place = folder / OUT_OF_FOLD
    if isinstance(stored, StoredEnsemble) and not os.path.lexists(place):
        raise UsageError(
            f"{folder} holds no scores of its ensemble out of fold, as an earlier version published it; "
            f"python -m search.finalize --study {stored.study} adds them"
        )
    return load_predictions(place)


def development_of(stored: Final, folder: Path, why: str) -> DevelopmentSet:
    """The development patches of its comparison; arguments as of ``held_out``, and what they are needed for.

    Raises:
        UsageError: they are not at hand.
    """
    place = home_of(folder, stored).parent / "data" / DEVELOPMENT
    try:
        return load_development(place)
    except FormatError as error:
        raise UsageError(
            f"{place} holds no development patches, {why}: do it where the comparison lies, with the patches written "
            f"again by python -m search.finalize --study {stored.study}"
        ) from error


class HeldOut:
    """In the place of a ``Scorer``, for development patches alone: nothing is scored anew."""

    def __init__(self, stored: Final, folder: Path, development: DevelopmentSet) -> None:
        """Looks its scores up; arguments as of ``held_out``.

        Raises:
            UsageError: they are of other patches.
        """
        known = held_out(stored, folder)
        if not np.array_equal(known.names, development.names):
            raise UsageError(
                f"{folder / OUT_OF_FOLD} is of other patches than the development patches beside it; "
                f"python -m search.finalize --study {stored.study} writes it again"
            )
        self._threshold = stored.threshold
        self._by_name = dict(zip(known.names.tolist(), known.probabilities[entry_of(stored)].tolist(), strict=True))

    def columns(self, patches: PatchSet) -> Columns:
        """What is said of these patches; of one network there is no spread."""
        probabilities = [self._by_name[name] for name in patches.names.tolist()]
        return {
            "probability": probabilities,
            "member_spread": [float("nan")] * len(patches),
            "predicted": [int(one >= self._threshold) for one in probabilities],
        }

    def told(self) -> Iterator[str]:
        """What a reader has to know."""
        yield (
            "each patch has the score that it got out of fold, from networks that did not learn from its patient: as "
            "on a new slide, but by one member of each configuration in place of all"
        )
