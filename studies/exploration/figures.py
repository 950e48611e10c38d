"""Figures of an exploration: patients, colour and stain, quality."""

import numpy as np
import plotly.graph_objects as go

from studies.exploration.explored import FLAGS, MEASURES, Explored
from studies.exploration.modelled import modelled_figures
from studies.exploration.numbers import CLASSES, ExplorationNumbers
from studies.exploration.patch_tables import patch_tables
from studies.figures.style import (
    CLASS_COLOURS,
    CLASS_DASHES,
    COLOURS,
    NEUTRAL,
    Cell,
    Figure,
    Table,
    canvas,
    colour_bar,
    faded,
    plain,
)
from studies.statistics.resampling import Floats

_BINS, _SIZE_BINS = 40, 40
_LOGARITHMIC = ("sharpness",)


def exploration_figures(explored: Explored, numbers: ExplorationNumbers) -> dict[str, Figure]:
    """Key -> figure; those that say nothing here are left out. A figure without plots is a table."""
    figures = [_measures(explored), _flags(numbers)]
    if numbers.patients:
        figures += [_patients(numbers), _sizes(numbers), _stain(numbers)]
    figures += [*modelled_figures(explored, numbers), *patch_tables(explored)]
    return {figure.key: figure for figure in figures if figure.table.rows}


# --- patients -------------------------------------------------------------------------------------------------------


def _patients(numbers: ExplorationNumbers) -> Figure:
    figure = canvas(340, x="Patches of the patient", y="Share of IDC", legend=False)
    figure.add_scatter(
        x=[one.patches for one in numbers.patients],
        y=[one.idc / one.patches for one in numbers.patients],
        text=[plain(one.patient) for one in numbers.patients],
        mode="markers",
        marker={"color": COLOURS[0], "size": 7, "opacity": 0.7},
    )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(rangemode="tozero")
    columns = ("Patient", "Patches", "IDC", "Share of IDC", *MEASURES.values(), *map(str.capitalize, FLAGS.values()))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (one.patient, one.patches, one.idc, one.idc / one.patches, *one.means.values(), *one.flagged.values())
        for one in numbers.patients
    )
    return Figure(
        key="data-patients",
        title="Patients: patches and share of IDC",
        alt="A point for each patient: number of patches against the share of them with IDC.",
        note="The table holds the mean of every measure and the patches that each rule of quality meets, too.",
        plots=(figure,),
        table=Table(columns, rows),
    )


def _sizes(numbers: ExplorationNumbers) -> Figure:
    sizes = np.array([one.patches for one in numbers.patients])
    step = -(-int(sizes.max() - sizes.min() + 1) // _SIZE_BINS)  # whole patches a bin
    starts = np.arange(sizes.min(), sizes.max() + 1, step)
    counts = np.bincount((sizes - sizes.min()) // step, minlength=len(starts))
    figure = canvas(240, x="Patches of the patient", y="Patients", legend=False)
    figure.add_bar(x=starts + (step - 1) / 2, y=counts, marker={"color": COLOURS[0]}, width=0.94 * step)
    figure.update_xaxes(rangemode="tozero")
    rows = tuple((int(low), int(low) + step - 1, int(count)) for low, count in zip(starts, counts, strict=True))
    return Figure(
        key="data-patient-sizes",
        title="Patches a patient",
        alt="Histogram of patients by their number of patches.",
        note="",
        plots=(figure,),
        table=Table(("From", "To", "Patients"), rows),
    )


def _stain(numbers: ExplorationNumbers) -> Figure:
    figure = canvas(360, x="Haematoxylin, mean density", y="Eosin, mean density", legend=False)
    shares = [one.idc / one.patches for one in numbers.patients]
    figure.add_scatter(
        x=[one.means["haematoxylin"] for one in numbers.patients],
        y=[one.means["eosin"] for one in numbers.patients],
        text=[f"{plain(one.patient)}, {one.patches} patches" for one in numbers.patients],
        mode="markers",
        marker={
            "color": shares,
            "cmin": 0,
            "cmax": 1,
            "colorscale": "Viridis",
            "size": 8,
            "line": {"width": 0.6, "color": NEUTRAL},
            "colorbar": colour_bar("IDC", ".0%"),
        },
    )
    rows = tuple(
        (one.patient, one.means["haematoxylin"], one.means["eosin"], share)
        for one, share in zip(numbers.patients, shares, strict=True)
    )
    return Figure(
        key="data-stain",
        title="Stain of each patient",
        alt="A point for each patient: mean haematoxylin against mean eosin, coloured by the share of IDC.",
        note="Coloured by the patient's share of IDC. What spreads the points beyond that is staining and scanning.",
        plots=(figure,),
        table=Table(("Patient", "Haematoxylin", "Eosin", "Share of IDC"), rows),
    )


# --- colour and quality ---------------------------------------------------------------------------------------------


def _measures(explored: Explored) -> Figure:
    plots: list[go.Figure] = []
    rows: list[tuple[Cell, ...]] = []
    for name, title in MEASURES.items():
        edges, shares = _histogram(explored, name)
        plots.append(_histogram_plot(title, edges, shares, logarithmic=name in _LOGARITHMIC))
        ends = zip(edges[:-1], edges[1:], *shares.values(), strict=True)
        rows += [(title, *(float(one) for one in row)) for row in ends]
    return Figure(
        key="data-measures",
        title="Measures by class",
        alt="Small histograms of brightness, colour, stain and sharpness, one line for each class.",
        note="Each line is the share of the patches of its class. The outermost bins hold what lies beyond, too.",
        plots=tuple(plots),
        table=Table(("Measure", "From", "To", *CLASSES), tuple(rows)),
    )


def _histogram(explored: Explored, name: str) -> tuple[Floats, dict[str, Floats]]:
    """Edges of the bins, and the share of each class in each bin."""
    values = explored.measures[name]
    low, high = np.quantile(values, [0.001, 0.999])
    if name in _LOGARITHMIC:
        low = max(low, 1.0)
        edges = np.geomspace(low, max(high, low * 1.01), _BINS + 1)
    else:
        edges = np.histogram_bin_edges([low, high], _BINS)
    inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
    counts = {title: np.bincount(inside[explored.labels == label], minlength=_BINS) for title, label in CLASSES.items()}
    return edges, {title: own / own.sum() for title, own in counts.items()}


def _histogram_plot(title: str, edges: Floats, shares: dict[str, Floats], *, logarithmic: bool) -> go.Figure:
    figure = canvas(230, x=title)
    for name, share in shares.items():
        figure.add_scatter(
            x=_centres(edges),
            y=share,
            name=name,
            mode="lines",
            line={"color": CLASS_COLOURS[name], "shape": "hvh", "width": 1.6, "dash": CLASS_DASHES[name]},
            fill="tozeroy",
            fillcolor=faded(CLASS_COLOURS[name], 0.12),
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", nticks=4)
    if logarithmic:
        figure.update_xaxes(type="log", dtick=1)
    return figure


def _flags(numbers: ExplorationNumbers) -> Figure:
    figure = canvas(60 + 52 * len(FLAGS), x="Share of the patches of the class")
    titles = [one.title for one in numbers.flags.values()]
    for name, colour in CLASS_COLOURS.items():
        shares = [one.share[name] for one in numbers.flags.values()]
        figure.add_bar(y=titles, x=shares, name=name, orientation="h", marker={"color": colour})
    figure.update_layout(barmode="group", legend_traceorder="normal")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(tickformat=".1%", rangemode="tozero", nticks=5)
    rows = tuple((one.title, one.patches, *one.share.values(), one.patients) for one in numbers.flags.values())
    return Figure(
        key="data-flags",
        title="Patches that show little, by class",
        alt="Bars for near-white, near-black and blurred patches: their share of each class.",
        note="",
        plots=(figure,),
        table=Table(("Kind", "Patches", *(f"Share of {name}" for name in CLASSES), "Patients"), rows),
    )


def _centres(edges: Floats) -> Floats:
    centres: Floats = (edges[:-1] + edges[1:]) / 2
    return centres
