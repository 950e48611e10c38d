"""Writes the report: one HTML file that needs nothing else, ``report.json``, and a CSV file a figure.

Every number in the HTML is looked up in the document that becomes ``report.json``, and carries its place there in a
``<data>`` element, so that the two cannot differ.
"""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from studies.errors import RecordError
from studies.figures.all import draw
from studies.figures.style import Cell, Figure, Table
from studies.files import read_file, write_whole
from studies.findings.digits import decimal
from studies.findings.findings import find
from studies.findings.slides import MOST_IN_REPORT, final_entry, of_test_split, tissue_in
from studies.npz import MEND
from studies.records import Example, ReportData
from studies.report.document import Json, document
from studies.report.slides import Shown, shown

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
_LARGEST_PICTURE = 2**20  # bytes of a patch or its heatmap
MOST_ROWS = 200
"""Rows of a figure's table that the HTML shows; all of them are in its CSV file and in report.json."""


def write_report(data: ReportData, folder: Path) -> Path:
    """Writes ``report.html``, ``report.json`` and ``tables/*.csv`` into ``folder``, each whole or not at all.

    Args:
        data: all that the report is made of; its pictures are read from their files.
        folder: made where it is missing; files of an earlier report are replaced.

    Returns:
        The path of ``report.html``.

    Raises:
        RecordError: where a picture that the record names is missing.
    """
    findings = find(data)
    figures = draw(data, findings)
    numbers = document(data, findings, figures)
    for section in figures.values():
        for figure in section:
            write_whole(folder / "tables" / f"{figure.key}.csv", as_csv(figure.table))
    write_whole(folder / REPORT_JSON, json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    page = folder / REPORT_HTML
    write_whole(page, render(data, numbers, figures))
    return page


def as_csv(table: Table) -> str:
    """The table as CSV; text that a spreadsheet would take for a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_harmless(column) for column in table.columns])
    writer.writerows([_harmless(cell) for cell in row] for row in table.rows)
    return out.getvalue()


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


# --- HTML -----------------------------------------------------------------------------------------------------------


def render(data: ReportData, numbers: Json, figures: Mapping[str, Sequence[Figure]]) -> str:
    """The HTML file."""
    shown = Numbers(numbers)
    pictures = [_Picture.of(example, number) for number, example in enumerate(data.examples)]
    page: str = (
        templates()
        .get_template("report.html.j2")
        .render(
            r=numbers,
            num=shown.num,
            est=shown.est,
            cell=shown.cell,
            strip=shown.strip,
            figures=figures,
            embedded=embedded,
            most_rows=MOST_ROWS,
            document_name=REPORT_JSON,
            pictures=pictures,
            slides=_slides(data),
            most_slides=MOST_IN_REPORT,
            plotly=Markup(get_plotlyjs()),
        )
    )
    return page


def _slides(data: ReportData) -> Shown | None:
    """Those of test patients; None where the places of patches are unknown."""
    entry, (slides, _) = final_entry(data.plan), of_test_split(data)
    if not slides:
        return None
    return shown(slides, tissue_in(data.tissue), entry, data.test.thresholds[entry], files=False)


def templates() -> Environment:
    """The page's templates: everything escaped, nothing silently empty."""
    return Environment(
        loader=PackageLoader("studies.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embedded(value: Any) -> Markup:
    """JSON inside a script element: no ``<`` that could end it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@dataclass(frozen=True)
class _Picture:
    """A patch to show: its number among the document's examples, and its pictures as data URIs."""

    number: int
    kind: str
    entry: str
    picture: str
    heatmap: str | None

    @classmethod
    def of(cls, example: Example, number: int) -> "_Picture":
        heatmap = None if example.heatmap is None else _picture(example.heatmap)
        return cls(number, example.kind, example.entry, _picture(example.picture), heatmap)


def data_uri(content: bytes) -> str:
    """A PNG file as the source of an image."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _picture(path: Path) -> str:
    try:
        return data_uri(read_file(path, _LARGEST_PICTURE))
    except RecordError as error:
        message = f"{path} is missing, and belongs to the report: {MEND}"
        raise RecordError(message) from error


# --- numbers --------------------------------------------------------------------------------------------------------


def _three(value: float) -> str:
    return f"{value:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _auto(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


FORMATS = {
    "1": lambda value: f"{value:.1f}",
    "3": _three,
    "2": lambda value: f"{value:.2f}",
    "4": lambda value: f"{value:.4f}",
    "signed": lambda value: decimal(value, signed=True),
    "count": lambda value: f"{value:,}",
    "millions": lambda value: f"{value / 1e6:,.0f} million",
    "gigabytes": lambda value: f"{value / 2**30:.1f} GB",
    "percent": lambda value: f"{100 * value:.1f} %",
    "minutes": lambda value: f"{value / 60:.1f} min",
    "p": _p,
    "auto": _auto,
}
"""How a number is shown; the exact one stands in the element's ``value``."""


class Numbers:
    """Looks numbers up in the document and shows them with their place, as a JSON pointer (RFC 6901)."""

    def __init__(self, root: Json) -> None:
        self._root = root

    def num(self, *path: str | int | list[str | int], form: str = "3") -> Markup:
        """The number at a place; an en dash where it is null. A list among the steps stands for its items."""
        steps = _flat(path)
        return _data(self._at(steps), _pointer(steps), form)

    def est(self, *place: str | int | list[str | int], form: str = "3") -> Markup:
        """An estimate at a place: its value with its interval, or why it has none."""
        path = _flat(place)
        one = self._at(path)
        value = self.num(*path, "value", form=form)
        if one["low"] is None:
            reason = one.get("reason")  # none of a value that is not defined
            return (
                value
                if reason is None
                else Markup('{} <span class="reason">no interval: {}</span>').format(value, reason)
            )
        low, high = self.num(*path, "low", form=form), self.num(*path, "high", form=form)
        return Markup('{} <span class="interval">{} to {}</span>').format(value, low, high)

    def cell(self, value: Cell) -> Markup | str:
        """A cell of a figure's table; its place follows from row and column."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "–" if value is None else str(value)
        return _data(value, None, "auto")

    def strip(self, value: float) -> str:
        """Where an AUC lies on the summary's strip, in percent."""
        low, high = self._root["auc_scale"]
        return f"{100 * (value - low) / (high - low):.2f}%"

    def _at(self, path: Sequence[str | int]) -> Any:
        value: Any = self._root
        for step in path:
            value = value[step]
        return value


def _flat(path: Sequence[str | int | list[str | int]]) -> list[str | int]:
    return [step for part in path for step in (part if isinstance(part, list) else [part])]


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _data(value: float | None, pointer: str | None, form: str) -> Markup:
    if value is None:
        return Markup('<span class="none">–</span>')
    text = FORMATS[form](value).replace("-", "−")
    if pointer is None:
        return Markup('<data value="{}">{}</data>').format(repr(value), text)
    return Markup('<data value="{}" data-path="{}">{}</data>').format(repr(value), pointer, text)
