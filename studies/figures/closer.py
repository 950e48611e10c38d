"""Figures of the closer look: what no plan names."""

from studies.figures.style import COLOURS, SYMBOLS, Figure, add_curve, canvas, curve_table, plain
from studies.findings.findings import Findings


def closer_figures(findings: Findings) -> list[Figure]:
    """All figures of the closer look."""
    return [_left_open(findings)]


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
    bands = ", with 95 % bands over patients" if findings.test_split.band_draws else ""
    return Figure(
        key="risk-coverage",
        title="Errors against coverage",
        alt=f"Error rate of the most certain patches against their share, for each final model{bands}.",
        note="From right to left more patches are left open, the least certain first. A model that knows when it errs "
        "has a curve that falls to the left.",
        plots=(figure,),
        table=curve_table("Coverage", {entry: found.errors for entry, found in findings.closer.left_open.items()}),
    )
