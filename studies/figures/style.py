"""What all figures share: one palette, one canvas, and the record of a figure with its words and its table.

Colours are Okabe and Ito's, told apart with every kind of colour blindness; models differ by line and marker as well.
Text and grid take their colours from the page's style sheet, so that dark mode and print need no second figure. No
trace needs WebGL.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from studies.statistics.curves import Curve
from studies.statistics.metrics import Estimate

Cell = str | int | float | bool | None

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#A6578A")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
FONT = "Inter, system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"
NEUTRAL = "#7d858f"  # 3 to 1 against white and against the dark page
CLASS_COLOURS = {"IDC": COLOURS[1], "not IDC": COLOURS[0]}
CLASS_DASHES = {"IDC": "solid", "not IDC": "dash"}
CLASS_SYMBOLS = {"IDC": "square", "not IDC": "circle"}
STATES = {
    "COMPLETE": ("#0072B2", "circle"),
    "PRUNED": ("#B87400", "x"),
    "FAIL": ("#7d858f", "square-open"),
    "RUNNING": ("#009E73", "triangle-up-open"),
    "WAITING": ("#7d858f", "circle-open"),
}


@dataclass(frozen=True)
class Table:
    """The numbers behind a figure, as written to ``tables/<key>.csv``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure of the report.

    Attributes:
        key: its name in files, links and report.json; letters, digits and hyphens.
        title: what it shows, a few words.
        alt: what one sees, for those who do not.
        note: how to read it; "" for nothing.
        plots: one plot, or small multiples.
        table: the numbers.
        statistic: its name in the analysis plan; "" where no plan would name it.
    """

    key: str
    title: str
    alt: str
    note: str
    plots: tuple[go.Figure, ...]
    table: Table
    statistic: str = ""


def slug(name: str) -> str:
    """A name as part of a file name or link."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def plain(text: object, most: int = 36) -> str:
    """Text for Plotly, which would take ``<`` for markup; long names are cut."""
    words = str(text)
    return html.escape(words if len(words) <= most else f"{words[: most - 1]}…", quote=False)


def words(parameter: str) -> str:
    """A parameter's name as words."""
    return plain(parameter.replace("_", " "))


def faded(colour: str, alpha: float) -> str:
    """The same colour, transparent."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def canvas(height: int, x: str = "", y: str = "", *, legend: bool = True) -> go.Figure:
    """An empty plot with named axes; one dictionary, as Plotly checks every single update slowly."""
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 12, "r": 16, "t": 36 if legend else 12, "b": 12, "pad": 2},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 12, "family": FONT},
            "showlegend": legend,
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
            "hovermode": "closest",
            "dragmode": False,
            "xaxis": _axis(x),
            "yaxis": _axis(y),
        }
    )


def _axis(title: str) -> dict[str, Any]:
    return {
        "gridcolor": "rgba(128,128,128,0.22)",
        "zeroline": False,
        "automargin": True,
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "fixedrange": True,
    }


def add_curve(figure: go.Figure, curve: Curve, name: str, place: int, *, band: bool = True) -> None:
    """A model's curve with its band; ``place`` picks colour and dash."""
    colour, x = COLOURS[place % 4], [point.x for point in curve]
    known = [point for point in curve if point.y.low is not None and point.y.high is not None]
    if band and known:
        around = [point.x for point in known] + [point.x for point in reversed(known)]
        edge = [point.y.high for point in known] + [point.y.low for point in reversed(known)]
        figure.add_scatter(
            x=around,
            y=edge,
            fill="toself",
            fillcolor=faded(colour, 0.16),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            mode="lines",
        )
    line = {"color": colour, "width": 2.2, "dash": DASHES[place % 4]}
    figure.add_scatter(x=x, y=[point.y.value for point in curve], mode="lines", name=plain(name), line=line)


def add_estimates(
    figure: go.Figure, rows: Sequence[tuple[float, Estimate]], name: str, place: int, size: int = 8
) -> None:
    """Horizontal intervals: (height, estimate), in the colour and marker of the model."""
    known = [(height, one) for height, one in rows if one.value is not None]
    figure.add_scatter(
        x=[one.value for _, one in known],
        y=[height for height, _ in known],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [above_and_below(one)[0] for _, one in known],
            "arrayminus": [above_and_below(one)[1] for _, one in known],
            "thickness": 1.6,
            "width": 0,
        },
        mode="markers",
        name=plain(name),
        marker={"color": COLOURS[place % 4], "symbol": SYMBOLS[place % 4], "size": size},
    )


def above_and_below(one: Estimate) -> tuple[float, float]:
    """How far an interval reaches above and below its value; 0 where there is none."""
    if one.value is None or one.low is None or one.high is None:
        return 0.0, 0.0
    return one.high - one.value, one.value - one.low


def with_intervals(what: str, shown: Iterable[Estimate]) -> str:
    """What an axis shows, and of its intervals only where there are any."""
    return f"{what} with 95 % interval" if any(one.low is not None for one in shown) else what


def rows_axis(figure: go.Figure, labels: Sequence[str]) -> None:
    """Names down the side, the first on top; on a narrow screen the page moves them above their rows."""
    figure.update_layout(meta={"rows": True})
    figure.update_yaxes(
        tickvals=list(range(len(labels))),
        ticktext=[plain(label, 44) for label in labels],
        range=[len(labels) - 0.4, -0.6],
        showgrid=False,
    )


def whole_numbers(figure: go.Figure, extent: int) -> None:
    """No ticks between the whole numbers of a horizontal axis that counts up to ``extent``."""
    if extent <= 15:  # beyond that Plotly's own steps are whole
        figure.update_xaxes(dtick=1)


def colour_bar(title: str, form: str = "") -> dict[str, Any]:
    """The key to a continuous scale of colours, beside its plot."""
    return {
        "title": {"text": title, "side": "top", "font": {"size": 12}},
        "tickformat": form,
        "thickness": 10,
        "len": 0.8,
        "outlinewidth": 0,
        "nticks": 5,
    }


def spread(count: int, place: int) -> float:
    """How far the row of model ``place`` of ``count`` lies from the middle of its line."""
    return 0.0 if count < 2 else 0.36 * (place / (count - 1) - 0.5)


def estimate_cells(one: Estimate | None) -> tuple[Cell, Cell, Cell]:
    """Value, low and high as cells of a table."""
    return (None, None, None) if one is None else (one.value, one.low, one.high)


def interval_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Three columns a model."""
    return tuple(column for name in names for column in (name, f"{name}, low", f"{name}, high"))


def curve_table(first: str, found: Mapping[str, Curve]) -> Table:
    """One row a place on the horizontal axis; every curve has the same places."""
    rows = []
    for points in zip(*found.values(), strict=True):
        rows.append((points[0].x, *(cell for point in points for cell in estimate_cells(point.y))))
    return Table((first, *interval_columns(list(found))), tuple(rows))
