"""The ensemble on disk and at work, where a plan chose it: ``ensemble.json`` beside the folders of its models."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from data_utils.files import read_small, shown
from search.errors import UsageError
from search.final.members import (
    Floats,
    Progress,
    SharedOutputs,
    StoredModel,
    check_model,
    member_logits,
    prefix_of,
    problems,
)
from studies.records import from_json

ENSEMBLE_FILE = "ensemble.json"
_LARGEST = 2**22  # bytes
_MOST_TIMES = 1000


@dataclass(frozen=True)
class StoredPart:
    """A configuration that is averaged.

    Attributes:
        times: how often.
        stored: what rebuilds it; its members lie below the folder of its model.
    """

    times: int
    stored: StoredModel


@dataclass(frozen=True)
class StoredEnsemble:
    """What rebuilds an ensemble.

    Attributes:
        study: name of the comparison.
        parts: each mean logit is divided by the part's own temperature first.
        temperature: the mean over the parts is divided by it.
        threshold: on the probability; at or above it a patch is called IDC.
        plan_digest: of the analysis plan that it was put to the test under.
    """

    study: str
    parts: tuple[StoredPart, ...]
    temperature: float
    threshold: float
    plan_digest: str

    @property
    def side(self) -> int:
        """Of the patches that all parts were trained on, in pixels."""
        return self.parts[0].stored.side


Final = StoredModel | StoredEnsemble
"""What a comparison ends in."""


def models_in(stored: Final, folder: Path) -> list[tuple[StoredModel, Path]]:
    """The single models that it is made of, each with the folder of its members; ``folder`` is that of its own JSON."""
    if isinstance(stored, StoredModel):
        return [(stored, folder)]
    return [(part.stored, folder / part.stored.model) for part in stored.parts]


def home_of(folder: Path, stored: Final) -> Path:
    """The folder of a single model: that of an ensemble's first part knows of the same sealed patches."""
    return models_in(stored, folder.resolve())[0][1]


def each_with(stored: Final, **changed: Any) -> Final:
    """The same with other fields of each single model, such as its precision."""
    if isinstance(stored, StoredModel):
        return replace(stored, **changed)
    parts = tuple(replace(part, stored=replace(part.stored, **changed)) for part in stored.parts)
    return replace(stored, parts=parts)


def final_logits(
    stored: Final,
    folder: Path,
    pixels: npt.NDArray[np.uint8],
    device: str,
    progress: Progress,
    networks: Sequence[Sequence[nn.Module]] | None = None,
) -> Floats:
    """(N, members), or (N, parts) of an ensemble; arguments as of ``ensemble_logits``."""
    if isinstance(stored, StoredEnsemble):
        return ensemble_logits(stored, folder, pixels, device, progress, networks)
    return member_logits(stored, folder, pixels, device, progress, networks=None if networks is None else networks[0])


def load_ensemble(folder: Path) -> StoredEnsemble | None:
    """The ensemble in a folder such as ``runs/NAME``; None where there is none.

    Raises:
        RecordError: its JSON cannot be read.
        UsageError: it is not as search.finalize left it.
    """
    found = _read(folder)
    for part in () if found is None else found.parts:
        check_model(part.stored, folder / ENSEMBLE_FILE)
    return found


def _read(folder: Path) -> StoredEnsemble | None:
    path = folder / ENSEMBLE_FILE
    if not os.path.lexists(path):
        return None
    found = from_json(StoredEnsemble, read_small(path, _LARGEST), str(path))
    check_ensemble(found, path)
    return found


def check_ensemble(found: StoredEnsemble, path: Path) -> None:
    """Refuses what no finalize writes.

    Raises:
        UsageError: what of it is missing or out of range.
    """
    models = [part.stored.model for part in found.parts]
    sound = {
        "parts": len(models) > 0,
        "model": all(Path(model).name == model != ".." for model in models),  # a folder beside the file
        "side": len({part.stored.side for part in found.parts}) == 1,
        "preprocessing": all(part.stored.preprocessing == found.parts[0].stored.preprocessing for part in found.parts),
        "times": all(1 <= part.times <= _MOST_TIMES for part in found.parts),
        "temperature": 0 < found.temperature < float("inf"),
        "threshold": 0 <= found.threshold <= 1,
    }
    wrong = [name for name, holds in sound.items() if not holds]
    if wrong:
        raise UsageError(
            f"{shown(path)} is no ensemble: {wrong[0]} is missing or out of range; expected it as search.finalize left "
            "it: put the original back"
        )


def ensemble_problems(folder: Path) -> list[str]:
    """What of an ensemble's members is not as it was put to the test, a line each; none where there is no ensemble."""
    found = _read(folder)
    parts = () if found is None else found.parts
    return [line for part in parts for line in problems(part.stored, folder / part.stored.model)]


def ensemble_logits(
    ensemble: StoredEnsemble,
    folder: Path,
    pixels: npt.NDArray[np.uint8],
    device: str,
    progress: Progress,
    networks: Sequence[Sequence[nn.Module]] | None = None,
) -> Floats:
    """Each part's mean logit over views and members on the common scale, as often as it is averaged.

    Args:
        ensemble: what is averaged.
        folder: of its JSON.
        pixels: (N, S, S, 3) uint8 RGB, as they are in files.
        device: "cpu" or "cuda".
        progress: called with (members done, all).
        networks: the members of each part in place on the device, where pixels come piece by piece.

    Returns:
        (N, sum of ``times``): their mean, divided by the temperature, is the ensemble's logit.

    Raises:
        UsageError: a member's file is missing, or is not the one that was put to the test.
    """
    kept, before = SharedOutputs(), 0
    columns: dict[int, list[Floats]] = {}
    count = sum(len(part.stored.members) for part in ensemble.parts)
    for number, part in _side_by_side(ensemble.parts):
        start, loaded = before, None if networks is None else networks[number]

        def seen(done: int, _: int, start: int = start) -> None:
            progress(start + done, count)

        logits = member_logits(part.stored, folder / part.stored.model, pixels, device, seen, kept, loaded)
        columns[number] = [logits.mean(axis=1) / part.stored.temperature] * part.times
        before += len(part.stored.members)
    return np.stack([each for _, of_part in sorted(columns.items()) for each in of_part], axis=1)


def _side_by_side(parts: Sequence[StoredPart]) -> list[tuple[int, StoredPart]]:
    """With their places, those with the same frozen layers in turn: outputs are kept for one such front alone."""
    return sorted(enumerate(parts), key=lambda one: prefix_of(one[1].stored))
