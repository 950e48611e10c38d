"""The exploration's page and files: its numbers, its words, and names that try to be markup."""

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies.exploration.figures import exploration_figures
from studies.exploration.numbers import summarise
from studies.exploration.page import SHEETS, write_exploration
from tests.studies.exploration import made_up_exploration as made_up
from tests.studies.report.test_page import Page, at


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("exploration")
    page, _ = write_exploration(made_up.explored(hostile=True), target)
    assert page == target / "exploration.html"
    return target


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "exploration.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "exploration.html").read_text(encoding="utf-8"))


def text_of(folder: Path) -> str:
    return " ".join(Page((folder / "exploration.html").read_text(encoding="utf-8")).words)


def test_every_number_with_a_place_equals_exploration_json(page: Page, numbers: dict[str, Any]) -> None:
    placed = [about for tag, about in page.tags if tag == "data" and "data-path" in about]
    assert len(placed) > 100
    for about in placed:
        assert float(about["value"] or "nan") == at(numbers, about["data-path"] or ""), about


def test_every_finding_and_every_sheet_is_on_the_page(page: Page, numbers: dict[str, Any]) -> None:
    text = " ".join(page.words)
    for finding in numbers["findings"]:
        assert finding["found"] in text
        assert finding["means"] in text
        assert finding["action"] in text
    assert {words.title for words in SHEETS.values()} <= set(page.words)
    assert sum(tag == "img" for tag, _ in page.tags) == sum(len(sheet) for sheet in numbers["sheets"].values()) == 60


def test_names_stay_text_and_the_page_needs_nothing_else(page: Page, folder: Path) -> None:
    html = (folder / "exploration.html").read_text(encoding="utf-8")
    assert made_up.HOSTILE in " ".join(page.words)
    assert made_up.HOSTILE not in html
    loaded = [about[key] for _, about in page.tags for key in ("src", "href") if key in about]
    assert [one for one in loaded if not (one or "").startswith(("data:image/png;base64,", "#"))] == []
    ids = [about["id"] for _, about in page.tags if "id" in about]
    assert len(ids) == len(set(ids))
    assert {one[1:] for one in loaded if one and one.startswith("#")} <= set(ids)


def test_headings_are_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit()]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_each_table_is_a_csv_file_that_no_spreadsheet_takes_for_formulas(folder: Path, numbers: dict[str, Any]) -> None:
    for key, figure in numbers["figures"].items():
        with (folder / "tables" / f"{key}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) == len(figure["rows"]) + 1
        assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "@")]


def test_figures_hold_what_their_tables_say() -> None:
    explored = made_up.explored()
    figures = exploration_figures(explored, summarise(explored))
    for figure in figures.values():
        assert figure.title
        assert {len(row) for row in figure.table.rows} == {len(figure.table.columns)}, figure.key
        assert figure.alt or not figure.plots
        assert {one.type for plot in figure.plots for one in plot.data} <= {"scatter", "bar"}
    by_class, by_patient, by_brightness = figures["data-map"].plots
    assert sum(len(one.x) for one in by_class.data) == sum(len(one.x) for one in by_patient.data) == 150
    assert list(by_brightness.data[0].marker.color) == [row[-1] for row in figures["data-map"].table.rows]
    shares = [row[3:] for row in figures["data-measures"].table.rows if row[0].startswith("Eosin")]
    assert [sum(column) for column in zip(*shares, strict=True)] == pytest.approx([1, 1])
    ranked = figures["data-suspects"].table.rows
    doubts = [abs(row[3] - row[4]) for row in ranked]
    assert doubts == sorted(doubts, reverse=True)
    flagged = [row[0] for row in figures["data-flagged"].table.rows]
    assert {kind: flagged.count(kind) for kind in flagged} == {
        "near-white": explored.flags["near_white"].sum(),
        "near-black": explored.flags["near_black"].sum(),
        "blurred": explored.flags["blurred"].sum(),
    }
    assert [(row[0], row[2]) for row in figures["data-duplicates"].table.rows] == [
        *(("exact", f"patch_{row}.png") for row in (0, 1, 2, 4, 5)),
        *(("near", f"patch_{row}.png") for row in (9, 10, 20)),
    ]


def test_after_a_lock_sealed_patches_are_totals_and_older_tables_are_gone(tmp_path: Path) -> None:
    write_exploration(made_up.explored(), tmp_path)
    assert (tmp_path / "tables" / "data-duplicates.csv").exists()
    other = tmp_path / "tables" / "roc.csv"
    other.write_text("of the report")
    rows = np.arange(400)
    write_exploration(made_up.explored(sealed=made_up.SEALED, exact=rows, near=rows), tmp_path)
    assert not (tmp_path / "tables" / "data-duplicates.csv").exists()
    assert other.exists()
    text = text_of(tmp_path)
    assert "Sealed, totals only" in text
    assert "No split is locked" not in text
    written = json.loads((tmp_path / "exploration.json").read_text(encoding="utf-8"))
    assert written["sealed"] == {"lock_digest": "5e" * 32, "patients": 9, "patches": 210, "idc": 70}


def test_without_patients_the_page_is_whole_and_says_what_cannot_be_known(tmp_path: Path) -> None:
    write_exploration(made_up.without_patients(), tmp_path)
    written = json.loads((tmp_path / "exploration.json").read_text(encoding="utf-8"))
    assert {"data-patients", "data-stain", "data-patient-sizes"}.isdisjoint(written["figures"])
    assert "It cannot be known how many patients there are" in text_of(tmp_path)


def test_a_handful_of_patches_makes_a_page_without_models(tmp_path: Path) -> None:
    write_exploration(made_up.explored(scored=(), doubts=None, map=None, sheets=()), tmp_path)
    text = text_of(tmp_path)
    assert "Too few patients to model" in text
    assert "too few patches for a map" in text
