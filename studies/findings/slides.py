"""Slides of which patches and places are known: what is said of each patch, and what comes of it in numbers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from studies.errors import RecordError
from studies.files import file_size, read_file, write_whole
from studies.findings.ensemble import ENSEMBLE
from studies.npz import FINALIZE_AGAIN
from studies.records import AnalysisPlan, Predictions, ReportData, from_json
from studies.statistics.calibration import sigmoid
from studies.statistics.grid import Grid, are_placed, by_slide, step_of
from studies.statistics.resampling import Floats, Ints

MOST_IN_REPORT = 60
"""Slides that a report shows, those with the most patches: a page of hundreds would be too heavy."""
WIDEST = 4_000_000
"""Places of a slide; patches on no grid would be spread over far more."""
SLIDES = "slides"
"""Folder of an opening that holds the pictures of its slides."""
_INDEX = "slides.json"
_LARGEST = 2**20  # bytes of it
_LARGEST_PICTURE = 2**24
_TISSUE = TypeAdapter(tuple[tuple[str, str], ...])
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Slide:
    """Patches of one slide; row i of each array is the same patch.

    Attributes:
        name: of its patient, or of the source.
        grid: where they lie.
        names: (N,) of their files.
        labels: (N,) 1 is IDC, -1 where unknown.
        probabilities: (N,) of IDC.
        spreads: (N,) standard deviation of the members' probabilities, NaN where unknown.
        called: (N,) whether the probability reaches the threshold.
        remark: what its reader has to know, a sentence; "" for nothing.
    """

    name: str
    grid: Grid
    names: npt.NDArray[np.str_]
    labels: Ints
    probabilities: Floats
    spreads: Floats
    called: Bools
    remark: str = ""

    @property
    def missed(self) -> Bools:
        """(N,) IDC that was not called."""
        rows: Bools = ~self.called & (self.labels == 1)
        return rows

    @property
    def false_alarms(self) -> Bools:
        """(N,) called, and not IDC."""
        rows: Bools = self.called & (self.labels == 0)
        return rows

    @property
    def labelled(self) -> bool:
        """Whether any label is known."""
        return bool((self.labels >= 0).any())


@dataclass(frozen=True)
class SlideNumbers:
    """A slide in numbers; None where no label is known."""

    name: str
    patches: int
    called: int
    idc: int | None
    missed: int | None
    false_alarms: int | None


def numbers_of(slide: Slide) -> SlideNumbers:
    """Counts of its patches."""
    of_labels = ((slide.labels == 1), slide.missed, slide.false_alarms)
    idc, missed, false_alarms = (int(rows.sum()) if slide.labelled else None for rows in of_labels)
    return SlideNumbers(slide.name, len(slide.names), int(slide.called.sum()), idc, missed, false_alarms)


# --- those of a test split ------------------------------------------------------------------------------------------


def final_entry(plan: AnalysisPlan) -> str:
    """The score that a comparison ends in: the ensemble where that was chosen, else the better single model."""
    if plan.ensemble is not None and plan.ensemble.chosen:
        return ENSEMBLE
    if plan.ensemble is not None:
        return plan.ensemble.single
    return max(plan.models, key=lambda model: model.candidate(model.chosen).out_of_fold_auc).model


@dataclass(frozen=True, eq=False)
class Laid:
    """Slides as a report shows them.

    Attributes:
        step: of the grid, in the unit of the coordinates.
        grids: patient -> its rows among all patches, and their places; those with the most patches first.
        astray: patients whose patches have places, but lie on no grid.
    """

    step: int
    grids: dict[str, tuple[Ints, Grid]]
    astray: tuple[str, ...]


def laid_out(patients: npt.NDArray[np.str_], x: Ints, y: Ints) -> Laid:
    """The slides of some patches, by what is known of each: (N,) arrays."""
    placed = np.flatnonzero(are_placed(patients, x, y))
    if not len(placed):
        return Laid(1, {}, ())
    step = step_of(patients[placed], x[placed], y[placed])
    rows = {str(patients[placed[each[0]]]): placed[each] for each in by_slide(patients[placed])}
    if step is None:
        return Laid(1, {}, tuple(rows))
    grids = {name: (each, Grid.of(x[each], y[each], step)) for name, each in rows.items()}
    fitting = {name: one for name, one in grids.items() if one[1].height * one[1].width <= WIDEST}
    shown = sorted(fitting, key=lambda name: -len(fitting[name][0]))[:MOST_IN_REPORT]
    return Laid(step, {name: fitting[name] for name in shown}, tuple(name for name in grids if name not in fitting))


def of_test_split(data: ReportData) -> tuple[tuple[Slide, ...], tuple[str, ...]]:
    """The slides of the test patients, none where places are unknown; and the patients whose patches are on no grid."""
    test, entry = data.test, final_entry(data.plan)
    if entry not in test.probabilities:
        return (), ()
    laid = laid_out(test.patients, test.x, test.y)
    spreads, probabilities = _spreads(data.plan, test, entry), test.probabilities[entry]
    slides = tuple(
        Slide(
            name=name,
            grid=grid,
            names=test.names[rows],
            labels=test.labels[rows],
            probabilities=probabilities[rows],
            spreads=spreads[rows],
            called=probabilities[rows] >= test.thresholds[entry],
        )
        for name, (rows, grid) in laid.grids.items()
    )
    return slides, laid.astray


def _spreads(plan: AnalysisPlan, test: Predictions, entry: str) -> Floats:
    """(N,) of the members, or of an ensemble's parts, as ``search.predict`` has them."""
    if entry in test.members:
        temperature = next(model.temperature for model in plan.models if model.model == entry)
        return np.asarray(sigmoid(test.members[entry], temperature).std(axis=1))
    if entry != ENSEMBLE or plan.ensemble is None:
        return np.full(len(test.labels), np.nan)
    models = {model.model: model for model in plan.models}
    parts = [
        test.logits[models[part.model].entry(part.label)] / part.temperature
        for part in plan.ensemble.parts
        for _ in range(part.times)
    ]
    return np.asarray(sigmoid(np.stack(parts, axis=1), plan.ensemble.fit.temperature).std(axis=1))


# --- their tissue on disk -------------------------------------------------------------------------------------------


def save_tissue(pictures: Mapping[str, bytes], folder: Path) -> None:
    """Writes the tissue of each slide, by its name, and then what names the files, each whole or not at all."""
    files = {name: f"{number:03d}.jpg" for number, name in enumerate(pictures)}
    for name, picture in pictures.items():
        write_whole(folder / files[name], picture)
    write_whole(folder / _INDEX, _TISSUE.dump_json(tuple(files.items()), indent=1).decode())


def load_tissue(folder: Path) -> dict[str, Path]:
    """Slide -> its picture; nothing where none was kept, as by earlier versions.

    Raises:
        RecordError: what names them cannot be read.
    """
    index = folder / _INDEX
    if not os.path.lexists(index):
        return {}
    try:
        listed = from_json(tuple[tuple[str, str], ...], read_file(index, _LARGEST), str(index))
    except RecordError as error:
        raise RecordError(f"{error}, or {FINALIZE_AGAIN}") from error
    return {name: _below(folder, file) for name, file in listed}


def tissue_in(pictures: Mapping[str, Path]) -> dict[str, bytes]:
    """Slide -> its picture, as ``load_tissue`` found them.

    Raises:
        RecordError: one is missing.
    """
    return {name: read_file(path, _LARGEST_PICTURE) for name, path in pictures.items()}


def problem_with_tissue(folder: Path) -> str | None:
    """Why a report cannot show the slides that were kept, in words; None where it can."""
    try:
        for picture in load_tissue(folder).values():
            file_size(picture, _LARGEST_PICTURE)
    except RecordError as error:
        return str(error)
    return None


def _below(folder: Path, file: str) -> Path:
    """A picture beside the index; a report must not carry other files out of the house."""
    if Path(file).name != file or not file.endswith(".jpg"):
        raise RecordError(f"{folder / _INDEX} names {file!r}, which is no picture beside it; put the original back")
    return folder / file
