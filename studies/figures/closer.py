"""Figures of the closer look: what no plan names."""

from studies.figures.style import (
    COLOURS,
    NEUTRAL,
    SYMBOLS,
    Cell,
    Figure,
    Table,
    add_curve,
    canvas,
    curve_table,
    plain,
    rows_axis,
)
from studies.findings.drift import TEST, Drift, Place
from studies.findings.findings import Findings


def closer_figures(findings: Findings) -> list[Figure]:
    """All figures of the closer look."""
    drift = findings.closer.drift
    return [_left_open(findings), *([] if drift is None else [_drift(drift)])]


def _left_open(findings: Findings) -> Figure:
    figure = canvas(380, x="Share of the patches that are kept (coverage)", y="Error rate of what is kept")
    for place, (entry, found) in enumerate(findings.closer.left_open.items()):
        add_curve(figure, found.errors, entry, place)
        told = [one for one in found.promises if one.accuracy.value is not None]
        if told:
            figure.add_scatter(
                x=[one.coverage for one in told],
                y=[1 - (one.accuracy.value or 0.0) for one in told],
                mode="markers",
                name=plain(f"{entry} with --abstain {' or '.join(f'{one.rate:g}' for one in told)}"),
                marker={
                    "color": COLOURS[place % 4],
                    "symbol": SYMBOLS[place % 4],
                    "size": 10,
                    "line": {"width": 2, "color": "#fff"},
                },
            )
    figure.update_xaxes(range=[0, 1.01], tickformat=".0%")
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    banded = any(point.y.low is not None for one in findings.closer.left_open.values() for point in one.errors)
    bands = ", with 95 % bands" if banded else ""
    return Figure(
        key="risk-coverage",
        title="Errors against coverage",
        alt=f"Error rate of the most certain patches against their share, for each final model{bands}.",
        note="From right to left more patches are left open, the least certain first. A model that knows when it errs "
        "has a curve that falls to the left.",
        plots=(figure,),
        table=curve_table("Coverage", {entry: found.errors for entry, found in findings.closer.left_open.items()}),
    )


def _drift(drift: Drift) -> Figure:
    measures = [shift.measure for shift in drift.shifts]
    figure = canvas(90 + 56 * len(measures), x="Standard deviations from the mean")
    groups = (
        ("development", -0.16, [one for one in drift.places if one.part != TEST], (NEUTRAL, "circle", 5)),
        (
            "test",
            0.16,
            [one for one in drift.places if one.part == TEST and not one.outside],
            (COLOURS[0], "diamond", 7),
        ),
        (
            "test, outside",
            0.16,
            [one for one in drift.places if one.part == TEST and one.outside],
            (COLOURS[1], "x", 8),
        ),
    )
    for name, height, places, (colour, symbol, size) in groups:
        figure.add_scatter(
            x=[one.deviations[measure] for measure in measures for one in places],
            y=[row + height for row in range(len(measures)) for _ in places],
            text=[plain(one.patient) for _ in measures for one in places],
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.7},
        )
    rows_axis(figure, measures)
    return Figure(
        key="drift",
        title="Development and test patients",
        alt="A point for each patient in each measure: development patients above, test patients below.",
        note="Mean and standard deviation are those of development patients. A patient may lie outside by an unusual "
        "combination of measures, none of them unusual by itself.",
        plots=(figure,),
        table=Table(
            ("Patient", "Part", "Patches", *measures, "Distance, 1 at the bound", "Outside"),
            tuple(_row(one, measures) for one in drift.places),
        ),
    )


def _row(one: Place, measures: list[str]) -> tuple[Cell, ...]:
    return (one.patient, one.part, one.patches, *(one.deviations[name] for name in measures), one.distance, one.outside)
