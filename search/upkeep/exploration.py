"""Explores the patches that may be seen: all of them before a split is locked, development patches after."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress as Bar

from data_utils.quality.exploration import (
    Repetitions,
    find_repetitions,
    flat_map,
    measure,
    rows_to_model,
    some,
    together,
)
from data_utils.quality.histograms import colour_histograms
from data_utils.quality.sheets import choose_sheets, png, suspicious_sheets
from data_utils.quality.suspects import OutOfFold, Suspects, find_suspects, out_of_fold
from data_utils.readers.patches import PatchSet, Progress
from models._weights import weights_at_hand
from search import __version__
from search.command.settings import ExploreSettings
from search.command.terminal import say, screen
from search.training.device import choose_device
from search.training.frozen import BLOCKS, pooled_features
from search.trials.refusals import check_data
from search.upkeep.shown import Shown, may_be_seen
from studies.exploration.explored import FLAGS, MEASURES, Doubts, Explored, PatchMap, Scored, Sheet
from studies.exploration.numbers import tells_classes_apart
from studies.exploration.page import write_exploration
from studies.files import naming

MAP_PATCHES = 1500
FEWEST_TO_MAP = 50
COLOUR, FEATURES, BOTH = "colour histograms", "features of frozen VGG16", "both together"
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Modelled:
    """What simple models made of some rows.

    Attributes:
        rows: (M,) of the shown patches.
        whole: how many there were before a sample was drawn.
        values: name of a model -> (M, F) what it is given; the best informed last.
        scored: name -> its predictions; empty where there are too few patients.
        suspects: labels that the last one doubts; None where it may be guessing.
    """

    rows: Ints
    whole: int
    values: Mapping[str, Floats]
    scored: Mapping[str, OutOfFold]
    suspects: Suspects | None


def explore(settings: ExploreSettings) -> Path:
    """Reads what may be seen, looks at it and writes the page; its path."""
    console = screen(stderr=True)
    check_data(settings.common)
    folder = settings.common.runs / settings.common.study
    folder.mkdir(parents=True, exist_ok=True)
    with naming(folder), may_be_seen(settings, folder, partial(_step, console)) as shown:
        for note in shown.notes:
            say(console, note)
        explored = look(settings, shown, console)
    page, findings = write_exploration(explored, folder)
    for finding in findings:
        say(console, f"{finding.title}: {finding.found}")
    say(console, f"exploration of {settings.common.study}: {page}")
    return page


# --- the look -------------------------------------------------------------------------------------------------------


def look(settings: ExploreSettings, shown: Shown, console: Console) -> Explored:
    """Measures, compares and models what may be seen."""
    patches, seed = shown.patches, settings.seed
    with _step(console, "measuring") as progress:
        measures = measure(patches.pixels, progress)
    with _step(console, "comparing every patch with every other"):
        repetitions = find_repetitions(patches, measures.near_white)
    modelled, words = _model(settings, patches, repetitions, console)
    with _step(console, "drawing a map"):
        placed = _map(modelled, seed)
    rows = choose_sheets(patches, measures, repetitions, seed)
    labels = np.asarray(patches.labels)
    if modelled.suspects is not None:
        rows |= suspicious_sheets(labels, modelled.rows, modelled.suspects)
    return Explored(
        study=settings.common.study,
        source=patches.source,
        synthetic=patches.synthetic,
        side=patches.side,
        found=shown.found,
        exclusions=shown.exclusions,
        notes=shown.notes,
        sealed=shown.sealed,
        labels=labels,
        patients=np.full(len(patches), "") if patches.patients is None else patches.patients,
        names=patches.names,
        measures={name: getattr(measures, name) for name in MEASURES},
        flags={name: getattr(measures, name) for name in FLAGS},
        highest=measures.highest,
        exact=repetitions.exact,
        near=repetitions.near,
        modelled=modelled.rows,
        whole=modelled.whole,
        scored=tuple(Scored(name, one.logits, one.fold) for name, one in modelled.scored.items()),
        doubts=_doubts(modelled),
        map=placed,
        sheets=tuple(_sheet(patches, key, chosen) for key, chosen in rows.items()),
        settings={**words, "seed": str(seed), "written": _now(), "by": f"HistoTune {__version__}"},
    )


def _model(
    settings: ExploreSettings, patches: PatchSet, repetitions: Repetitions, console: Console
) -> tuple[Modelled, dict[str, str]]:
    """What simple models make of a sample, and what they were given, in words."""
    eligible = rows_to_model(patches, repetitions.exact)
    rows = some(eligible, settings.sample, settings.seed)
    values, words = _values(settings, patches, rows, console)
    labels = np.asarray(patches.labels)[rows]
    groups = together(patches, repetitions.near)[rows]
    with _step(console, "cross-validating simple models"):
        scored = {name: out_of_fold(given, labels, groups, settings.seed) for name, given in values.items()}
    known = {name: one for name, one in scored.items() if one is not None}
    suspects = None
    if known:
        last = list(known.values())[-1]
        patients = np.full(len(rows), "") if patches.patients is None else patches.patients[rows]
        if tells_classes_apart(labels, patients, last.logits):
            suspects = find_suspects(labels, last.probabilities)
    return Modelled(rows, len(eligible), values, known, suspects), words


def _values(
    settings: ExploreSettings, patches: PatchSet, rows: Ints, console: Console
) -> tuple[dict[str, Floats], dict[str, str]]:
    """What models are given: colour always, features where weights are at hand without a download."""
    with _step(console, "counting colours"):
        values = {COLOUR: colour_histograms(patches.pixels, rows)}
    weights = weights_at_hand(settings.vgg16_weights, os.environ)
    if weights is None:
        missing = "none: no weights of VGG16 were at hand without a download, so colour stands in for them"
        return values, {"features": missing}
    device = choose_device(settings.device)
    with _step(console, "looking through frozen layers") as progress:
        values[FEATURES] = pooled_features(patches.pixels, rows, weights, device, progress)
    values[BOTH] = np.hstack([values[COLOUR], values[FEATURES]])
    return values, {"features": f"mean maps behind block {BLOCKS} of {weights.source}, sha256 {weights.sha256[:16]}…"}


def _doubts(modelled: Modelled) -> Doubts | None:
    if modelled.suspects is None:
        return None
    by, predicted = list(modelled.scored.items())[-1]
    return Doubts(
        f"{COLOUR} and {FEATURES}" if by == BOTH else by,
        predicted.probabilities,
        modelled.suspects.order,
        modelled.suspects.doubted,
    )


def _map(modelled: Modelled, seed: int) -> PatchMap | None:
    """A map of features, or of colour without them."""
    if len(modelled.rows) < FEWEST_TO_MAP:
        return None
    name = FEATURES if FEATURES in modelled.values else COLOUR
    values = modelled.values[name]
    chosen = some(np.arange(len(modelled.rows)), MAP_PATCHES, seed)
    sampled = f"{len(chosen):,} of {modelled.whole:,} patches" if len(chosen) < modelled.whole else "all patches"
    of = f"t-SNE of the {name}, {sampled}."
    return PatchMap(of, modelled.rows[chosen], flat_map(values[chosen], seed))


def _sheet(patches: PatchSet, key: str, rows: Ints) -> Sheet:
    return Sheet(key, rows, tuple(png(patches.pixels[row]) for row in rows))


# --- what a user sees meanwhile -------------------------------------------------------------------------------------


@contextmanager
def _step(console: Console, what: str) -> Iterator[Progress]:
    """A long step: a bar while it lasts where someone watches, a line when it is done."""
    began = time.monotonic()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
    say(console, f"{what}: {time.monotonic() - began:.1f} s")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
