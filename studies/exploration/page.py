"""Writes an exploration: one HTML file that needs nothing else, ``exploration.json``, and a CSV file a figure.

As in the report, every number in the HTML is looked up in the document that becomes ``exploration.json``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from studies.exploration.explored import Explored, Sheet
from studies.exploration.figures import exploration_figures
from studies.exploration.finding import Finding
from studies.exploration.findings import exploration_findings
from studies.exploration.numbers import ExplorationNumbers, summarise
from studies.figures.style import Figure
from studies.files import write_whole
from studies.report.document import Json, finite, of_figure, plain
from studies.report.page import MOST_ROWS, Numbers, as_csv, data_uri, embedded, templates

PAGE, DOCUMENT = "exploration.html", "exploration.json"


@dataclass(frozen=True)
class _Words:
    """What a sheet of examples is called, and what one sees on it."""

    section: str
    title: str
    words: str


SHEETS: Mapping[str, _Words] = {
    "idc": _Words("examples", "With IDC", "Drawn at random."),
    "not_idc": _Words("examples", "Without IDC", "Drawn at random."),
    "near_white": _Words(
        "quality", "Near-white", "At least 90 % of the pixels reach 220 in every channel: glass, or fat."
    ),
    "near_black": _Words("quality", "Near-black", "At least half of the pixels stay within 50 in every channel."),
    "blurred": _Words("quality", "Blurred or empty", "The variance of the Laplacian is below 100."),
    "contradicting": _Words(
        "duplicates", "The same tissue with both labels", "Equal or nearly equal patches, groups beside each other."
    ),
    "exact_duplicates": _Words("duplicates", "Equal patches", "The same pixels, groups beside each other."),
    "near_duplicates": _Words(
        "duplicates", "Nearly equal patches", "Turned, flipped or slightly changed, groups beside each other."
    ),
    "doubted_idc": _Words("labels", "Labelled IDC, and doubted", "The most doubtful first."),
    "doubted_not_idc": _Words("labels", "Labelled not IDC, and doubted", "The most doubtful first."),
}


def write_exploration(explored: Explored, folder: Path) -> tuple[Path, tuple[Finding, ...]]:
    """Writes ``exploration.html``, ``exploration.json`` and ``tables/data-*.csv``, each whole or not at all.

    Args:
        explored: all that the page is made of.
        folder: made where it is missing; files of an earlier exploration are replaced, its other tables removed.

    Returns:
        The path of the page, and what it says was found.
    """
    numbers = summarise(explored)
    findings = exploration_findings(explored, numbers)
    figures = exploration_figures(explored, numbers)
    written = document(explored, numbers, findings, figures)
    for old in (folder / "tables").glob("data-*.csv"):  # one of sealed patches must not outlive the lock
        old.unlink()
    for figure in figures.values():
        write_whole(folder / "tables" / f"{figure.key}.csv", as_csv(figure.table))
    write_whole(folder / DOCUMENT, json.dumps(written, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_whole(folder / PAGE, render(explored, written, figures))
    return folder / PAGE, findings


def document(
    explored: Explored, numbers: ExplorationNumbers, findings: tuple[Finding, ...], figures: Mapping[str, Figure]
) -> Json:
    """All of the page as plain values."""
    whole = {
        "study": explored.study,
        "source": explored.source,
        "synthetic": explored.synthetic,
        "side": explored.side,
        "found": explored.found,
        "notes": list(explored.notes),
        "exclusions": list(explored.exclusions),
        "exclusions_total": sum(count for _, count in explored.exclusions),
        "patient_ids": explored.patient_ids,
        "sealed": None if explored.sealed is None else plain(explored.sealed),
        "modelled": len(explored.modelled),
        "to_model": explored.whole,
        **plain(numbers),
        "findings": [plain(finding) for finding in findings],
        "sheets": {sheet.key: [_about(explored, int(row)) for row in sheet.rows] for sheet in explored.sheets},
        "settings": dict(explored.settings),
        "figures": {key: of_figure(figure) for key, figure in figures.items()},
    }
    written: Json = finite(whole)
    return written


def _about(explored: Explored, row: int) -> Json:
    """A patch on a sheet, without its picture."""
    about: Json = {"name": str(explored.names[row]), "patient": str(explored.patients[row])}
    about["label"] = int(explored.labels[row])
    if explored.doubts is not None:
        place = (explored.modelled == row).nonzero()[0]
        about["probability"] = float(explored.doubts.probabilities[place[0]]) if len(place) else None
    return about


def render(explored: Explored, numbers: Json, figures: Mapping[str, Figure]) -> str:
    """The HTML file."""
    shown = Numbers(numbers)
    page: str = (
        templates()
        .get_template("exploration.html.j2")
        .render(
            r=numbers,
            num=shown.num,
            est=shown.est,
            cell=shown.cell,
            figures=figures,
            embedded=embedded,
            most_rows=MOST_ROWS,
            document_name=DOCUMENT,
            sheets=[_shown(sheet) for sheet in explored.sheets],
            plotly=Markup(get_plotlyjs()),
        )
    )
    return page


def _shown(sheet: Sheet) -> dict[str, Any]:
    """A sheet as the template takes it."""
    return {"key": sheet.key, "about": SHEETS[sheet.key], "pictures": [data_uri(one) for one in sheet.pictures]}
