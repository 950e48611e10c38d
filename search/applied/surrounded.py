"""The score that looks at neighbours at work: once all patches are scored alone, what is said of each is said anew."""

from collections.abc import Iterator, Sequence

import numpy as np

from data_utils.readers.patchset import Ints, PatchSet, Strings
from search.applied.table import Columns
from search.errors import UsageError
from search.final.neighbours import neighbours_logit
from search.final.scored import patients_of
from studies.final_models import Neighbours
from studies.records import Floats
from studies.statistics.calibration import sigmoid
from studies.statistics.grid import are_placed, around


def check_placed(sets: Sequence[PatchSet]) -> None:
    """Refuses patches of which none has a place.

    Raises:
        UsageError: what was found and expected.
    """
    if not any(are_placed(patients_of(one), one.x, one.y).any() for one in sets):
        raise UsageError(
            f"--neighbours: {sets[0].source} says of no patch whose it is and where it lies; expected names of "
            "pictures as PATIENT_idx5_x1001_y751_class0.png, or a .csv with patient, x and y: leave --neighbours out"
        )


def surrounded(
    pieces: Sequence[Columns], sets: Sequence[PatchSet], logits: Sequence[Floats], neighbours: Neighbours
) -> Iterator[Columns]:
    """The same columns with probability and class by the score that looks at neighbours.

    Args:
        pieces: what was said of each piece.
        sets: of all patches.
        logits: of each piece, before the temperature.
        neighbours: as the plan has it.
    """
    score = neighbours_logit(neighbours, *_places(sets), np.concatenate(logits))
    probabilities = sigmoid(score, neighbours.fit.temperature)
    called = (probabilities >= neighbours.fit.threshold).astype(int)
    begin = 0
    for columns, piece in zip(pieces, logits, strict=True):
        rows = slice(begin, begin + len(piece))
        yield {**columns, "probability": probabilities[rows].tolist(), "predicted": called[rows].tolist()}
        begin = rows.stop


def _places(sets: Sequence[PatchSet]) -> tuple[Strings, Ints, Ints]:
    patients, x, y = zip(*((patients_of(one), one.x, one.y) for one in sets), strict=True)
    return np.concatenate(patients), np.concatenate(x), np.concatenate(y)


def told(sets: Sequence[PatchSet], neighbours: Neighbours) -> str:
    """How many neighbours there are, beside how many there were."""
    patients, x, y = _places(sets)
    _, counts = around(patients, x, y, np.zeros(len(x)), neighbours.step)
    return (
        f"a patch has {counts.mean():.1f} neighbours of 8 in the mean; in the development patches it was "
        f"{neighbours.usual:.1f}"
    )
