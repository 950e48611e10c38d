"""Which patches a report shows: examples of each class, the surest errors, disagreements, suspicious labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_utils.readers.patches import PatchSet
from search.final.gradcam import grad_cam, save_picture
from search.final.members import StoredModel, load_member
from studies.findings.examples import save_index
from studies.records import Example, Predictions

OF_A_CLASS = 12
OF_A_KIND = 8
Floats = npt.NDArray[np.float64]


class HasModel(Protocol):
    """A model that is put to the test."""

    @property
    def entry(self) -> str:
        """Its name in the predictions."""
        ...

    @property
    def stored(self) -> StoredModel:
        """What rebuilds it."""
        ...

    @property
    def folder(self) -> Path:
        """Where its members are."""
        ...


@dataclass(frozen=True)
class _Pick:
    """A row to be shown, and why."""

    kind: str
    entry: str
    row: int
    probability: float | None


def save_test_examples(predictions: Predictions, test: PatchSet, entrants: Sequence[HasModel], folder: Path) -> None:
    """Pictures of the test patches that a report will show, with Grad-CAM of each model's first member."""
    finals = [entrant for entrant in entrants if ":" not in entrant.entry]
    picks = [pick for entrant in finals for pick in _errors(predictions, entrant.entry)]
    if len(finals) > 1:
        picks += _disagreements(predictions, finals[0].entry, finals[1].entry)
    _save(picks, test, {entrant.entry: entrant for entrant in finals}, folder)


def save_development_examples(patches: PatchSet, out_of_fold: Mapping[str, Floats], folder: Path, seed: int) -> None:
    """Pictures of development patches: some of each class, and those whose label every model confidently contradicts.

    Args:
        patches: (N) development patches.
        out_of_fold: model -> (N,) probabilities.
        folder: for the pictures.
        seed: of the choice.
    """
    labels = np.asarray(patches.labels)
    rng = np.random.default_rng(seed)
    picks = [
        _Pick("development", "", int(row), None)
        for label in (0, 1)
        for row in _some(np.flatnonzero(labels == label), OF_A_CLASS, rng)
    ]
    mean = np.mean(list(out_of_fold.values()), axis=0)
    doubt = np.abs(mean - labels)
    picks += [
        _Pick("suspicious", "", int(row), float(mean[row]))
        for row in np.argsort(-doubt)[:OF_A_KIND]
        if doubt[row] > 0.5
    ]
    _save(picks, patches, {}, folder)


def _errors(predictions: Predictions, entry: str) -> Iterator[_Pick]:
    """The surest errors of each kind, by the logit: many a probability is 0 or 1."""
    probabilities, logits = predictions.probabilities[entry], predictions.logits[entry]
    called = probabilities >= predictions.thresholds[entry]
    for kind, wrong, surest in (
        ("false positive", called & (predictions.labels == 0), -logits),
        ("false negative", ~called & (predictions.labels == 1), logits),
    ):
        rows = np.flatnonzero(wrong)
        for row in rows[np.argsort(surest[rows], kind="stable")][:OF_A_KIND]:
            yield _Pick(kind, entry, int(row), float(probabilities[row]))


def _disagreements(predictions: Predictions, first: str, second: str) -> list[_Pick]:
    """Patches that one model calls IDC and the other does not, the widest apart first."""
    one, other = predictions.probabilities[first], predictions.probabilities[second]
    split = (one >= predictions.thresholds[first]) != (other >= predictions.thresholds[second])
    rows = np.flatnonzero(split)
    widest = rows[np.argsort(-np.abs(one - other)[rows], kind="stable")][:OF_A_KIND]
    return [_Pick("disagreement", first, int(row), float(one[row])) for row in widest]


def _some(rows: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.permutation(rows)[:count]


def _save(picks: Sequence[_Pick], patches: PatchSet, models: Mapping[str, HasModel], folder: Path) -> None:
    heat = _heat_maps(picks, patches, models)
    examples = [_example(number, pick, patches, heat.get(number), folder) for number, pick in enumerate(picks)]
    save_index(examples, folder)


def _heat_maps(picks: Sequence[_Pick], patches: PatchSet, models: Mapping[str, HasModel]) -> dict[int, Floats]:
    """Number of the pick -> (S, S) heat map, for picks about a model that has one."""
    maps: dict[int, Floats] = {}
    for entry, entrant in models.items():
        numbers = [number for number, pick in enumerate(picks) if pick.entry == entry]
        if not numbers:
            continue
        network = load_member(entrant.stored, entrant.folder, 0)
        pixels = patches.pixels[[picks[number].row for number in numbers]]
        heat = grad_cam(network, entrant.stored.preprocessing.apply(pixels))  # over the picture as it is in its file
        if heat is not None:
            maps.update(zip(numbers, heat, strict=True))
    return maps


def _example(number: int, pick: _Pick, patches: PatchSet, heat: Floats | None, folder: Path) -> Example:
    pixels = np.asarray(patches.pixels[pick.row])
    picture = save_picture(pixels, folder / f"{number:03d}.png")
    heatmap = None if heat is None else save_picture(pixels, folder / f"{number:03d}-heat.png", heat)
    return Example(
        kind=pick.kind,
        entry=pick.entry,
        name=str(patches.names[pick.row]),
        patient="" if patches.patients is None else str(patches.patients[pick.row]),
        label=int(np.asarray(patches.labels)[pick.row]),
        probability=pick.probability,
        picture=Path(picture.name),
        heatmap=None if heatmap is None else Path(heatmap.name),
    )
