"""Figures of what simple models made of the patches: a map, how far colour gets, and which labels they doubt."""

import numpy as np
import plotly.graph_objects as go

from studies.exploration.explored import Doubts, Explored, PatchMap
from studies.exploration.numbers import CLASSES, ExplorationNumbers
from studies.figures.style import (
    CLASS_COLOURS,
    CLASS_DASHES,
    CLASS_SYMBOLS,
    COLOURS,
    NEUTRAL,
    SYMBOLS,
    Figure,
    Table,
    add_estimates,
    canvas,
    colour_bar,
    estimate_cells,
    plain,
    rows_axis,
)
from studies.statistics.resampling import Floats, Ints

_NAMED_PATIENTS = 6
_BINS = 40


def modelled_figures(explored: Explored, numbers: ExplorationNumbers) -> list[Figure]:
    """Those for which there were patches and patients enough."""
    figures = [] if explored.map is None else [_map(explored, explored.map)]
    if numbers.scores:
        figures.append(_scores(numbers))
    if explored.doubts is not None:
        figures.append(_probabilities(explored, explored.doubts))
    return figures


# --- map ------------------------------------------------------------------------------------------------------------


def _map(explored: Explored, places: PatchMap) -> Figure:
    plots = [_by_class(explored, places), _by_brightness(explored, places)]
    if explored.patient_ids:
        plots.insert(1, _by_patient(explored, places))
    columns = (places.rows, *places.places.T.round(2), explored.labels[places.rows])
    rows = tuple(
        (str(explored.names[row]), float(x), float(y), int(label), str(explored.patients[row]), float(brightness))
        for row, x, y, label, brightness in zip(
            *columns, explored.measures["brightness"][places.rows].round(1), strict=True
        )
    )
    return Figure(
        key="data-map",
        title="Map of the patches, by class, patient and brightness"
        if explored.patient_ids
        else "Map of the patches, by class and brightness",
        alt=f"Points on a plane, one for each of {len(places.rows)} patches, drawn once for each way to colour them.",
        note=f"{places.of} Neighbours resemble each other; distances between far points and the axes mean nothing.",
        plots=tuple(plots),
        table=Table(("Patch", "x", "y", "Label", "Patient", "Brightness"), rows),
    )


def _plane() -> go.Figure:
    figure = canvas(390)
    figure.update_layout(margin_t=72)  # room for the longest key, so that the maps stand level
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure


def _by_class(explored: Explored, places: PatchMap) -> go.Figure:
    figure = _plane()
    for name, label in CLASSES.items():
        inside = np.flatnonzero(explored.labels[places.rows] == label)
        marker = {"color": CLASS_COLOURS[name], "symbol": CLASS_SYMBOLS[name], "size": 4, "opacity": 0.65}
        _add_points(figure, explored, places, inside, name, marker)
    return figure


def _by_patient(explored: Explored, places: PatchMap) -> go.Figure:
    """The patients with the most patches by name, all others in grey."""
    figure = _plane()
    owners = explored.patients[places.rows]
    ids, counts = np.unique(owners, return_counts=True)
    named = ids[np.argsort(-counts, kind="stable")][:_NAMED_PATIENTS]
    others = np.flatnonzero(~np.isin(owners, named))
    if len(others):
        _add_points(figure, explored, places, others, "others", {"color": NEUTRAL, "size": 3, "opacity": 0.35})
    for place, patient in enumerate(named):
        marker = {"color": COLOURS[place % 4], "symbol": SYMBOLS[(place + place // 4) % 4], "size": 6}
        _add_points(figure, explored, places, np.flatnonzero(owners == patient), plain(patient, 14), marker)
    return figure


def _by_brightness(explored: Explored, places: PatchMap) -> go.Figure:
    figure = _plane()
    levels = explored.measures["brightness"][places.rows].round(1)
    marker = {"color": levels, "colorscale": "Viridis", "size": 4, "colorbar": colour_bar("Level")}
    _add_points(figure, explored, places, np.arange(len(places.rows)), "brightness", marker)
    return figure.update_layout(showlegend=False)


def _add_points(
    figure: go.Figure, explored: Explored, places: PatchMap, inside: Ints, name: str, marker: dict[str, object]
) -> None:
    x, y = places.places[inside].T.round(2)
    text = [plain(explored.names[row], 60) for row in places.rows[inside]]
    figure.add_scatter(x=x, y=y, text=text, name=name, mode="markers", marker=marker, hoverinfo="text+name")


# --- simple models --------------------------------------------------------------------------------------------------


def _scores(numbers: ExplorationNumbers) -> Figure:
    figure = canvas(90 + 60 * len(numbers.scores), x="AUC, out of fold", legend=False)
    for place, one in enumerate(numbers.scores):
        known = [value for value in one.folds if value is not None]
        marker = {"color": NEUTRAL, "symbol": "line-ns-open", "size": 9}
        figure.add_scatter(x=known, y=[place + 0.25] * len(known), mode="markers", name="folds", marker=marker)
        add_estimates(figure, [(place, one.auc)], one.name, place, size=10)
    rows_axis(figure, [one.name for one in numbers.scores])
    rows = tuple((one.name, *estimate_cells(one.auc), *one.folds) for one in numbers.scores)
    folds = (f"Fold {number + 1}" for number in range(len(numbers.scores[0].folds)))
    return Figure(
        key="data-scores",
        title="How far simple models get on patients that they had not seen",
        alt="A row for each simple model: its AUC with an interval, and small marks for the folds.",
        note="Point and line: all folds together, with the 95 % interval. Small marks: each fold by itself.",
        plots=(figure,),
        table=Table(("Model", "AUC", "low", "high", *folds), rows),
    )


def _probabilities(explored: Explored, doubts: Doubts) -> Figure:
    labels, edges = explored.labels[explored.modelled], np.linspace(0, 1, _BINS + 1)
    figure = canvas(260, x="Out-of-fold probability of IDC", y="Patches")
    counts: dict[str, Floats] = {}
    for name, label in CLASSES.items():
        counts[name] = np.histogram(doubts.probabilities[labels == label], edges)[0]
        line = {"color": CLASS_COLOURS[name], "shape": "hvh", "width": 1.8, "dash": CLASS_DASHES[name]}
        figure.add_scatter(x=(edges[:-1] + edges[1:]) / 2, y=counts[name], name=name, mode="lines", line=line)
    figure.update_yaxes(rangemode="tozero")
    ends = zip(edges[:-1], edges[1:], *counts.values(), strict=True)
    return Figure(
        key="data-probabilities",
        title="What the model makes of patches of each label",
        alt="Two lines over the probability of IDC, one for each label: how many patches get it.",
        note="Doubtful labels lie at the far end: labelled IDC near 0, or labelled otherwise near 1.",
        plots=(figure,),
        table=Table(
            ("From", "To", *CLASSES), tuple((float(a), float(b), int(one), int(other)) for a, b, one, other in ends)
        ),
    )
