"""The report as files: its numbers, its words, and names that try to be markup."""

import csv
import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from studies.errors import RecordError
from studies.figures.style import Table
from studies.findings.findings import find
from studies.records import Opening, ReportData
from studies.report.page import MOST_ROWS, as_csv, embedded, write_report
from tests.studies import made_up

SMALL: dict[str, Any] = {"trials": 4, "patients": 24, "draws": 200}
NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return made_up.report_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """For tests that each write a report of their own."""
    return made_up.report_data(tmp_path_factory.mktemp("small"), **SMALL)


@pytest.fixture(scope="module")
def folder(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("report")
    assert write_report(data, target) == target / "report.html"
    return target


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return loaded


class Page(HTMLParser):
    """Collects the elements that tests ask about, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.shown: list[tuple[str, str]] = []  # exact value of a number, and what a reader sees of it
        self._silent = 0
        self._in_data = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent += tag in ("script", "style")
        self._in_data += tag == "data"

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")
        self._in_data -= tag == "data"

    def handle_data(self, text: str) -> None:
        if self._in_data:
            self.shown.append((self.tags[-1][1]["value"] or "", text))
        elif not self._silent:
            self.words.append(text)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def at(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def test_every_number_with_a_place_equals_report_json(page: Page, numbers: dict[str, Any]) -> None:
    placed = [about for tag, about in page.tags if tag == "data" and "data-path" in about]
    assert len(placed) > 200
    for about in placed:
        assert float(about["value"] or "nan") == at(numbers, about["data-path"] or ""), about


UNITS = {" %": 100, " min": 1 / 60, " million": 1e-6, " GB": 2.0**-30}


def test_what_a_reader_sees_is_the_exact_number_rounded(page: Page) -> None:
    assert len(page.shown) > 3000
    for exact, text in page.shown:
        if text == "< 0.001":
            assert float(exact) < 0.001
            continue
        sign = next((sign for sign in UNITS if text.endswith(sign)), "")
        digits, unit = text.replace("−", "-").replace(",", "").removesuffix(sign), UNITS.get(sign, 1)
        last_digit = Decimal(digits).as_tuple().exponent
        assert isinstance(last_digit, int)
        assert abs(float(digits) - float(exact) * unit) <= 0.5001 * 10.0**last_digit, (exact, text)


def test_every_cell_of_a_figures_table_equals_report_json(folder: Path, numbers: dict[str, Any]) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    tables = re.findall(r'data-figure-table="([^"]+)">(.*?)</table>', text, flags=re.DOTALL)
    assert {key for key, _ in tables} == set(numbers["figures"])
    for key, body in tables:
        rows = [re.findall(r"<td>(.*?)</td>", row, flags=re.DOTALL) for row in body.split("<tr>")[2:]]
        expected = numbers["figures"][key]["rows"][:MOST_ROWS]
        assert len(rows) == len(expected), key
        for row, wanted in zip(rows, expected, strict=True):
            for shown, cell in zip(row, wanted, strict=True):
                value = re.search(r'<data value="([^"]+)"', shown)
                if value:
                    assert float(value[1]) == cell, key
                else:
                    assert not isinstance(cell, int | float) or isinstance(cell, bool), key


def test_digits_outside_of_looked_up_numbers_stand_in_report_json_or_in_the_template(
    page: Page, numbers: dict[str, Any]
) -> None:
    templates = Path(made_up.__file__).parents[2] / "studies" / "report" / "templates"
    known = json.dumps(numbers, ensure_ascii=False) + "".join(p.read_text("utf-8") for p in templates.glob("*.j2"))
    known = known.replace("T", " ")  # times are shown with a blank
    known += f"The first {MOST_ROWS} rows" + "/".join(map(str, numbers["data"]["fractions"]))
    text = " ".join(page.words)
    missing = {token for token in NUMBER.findall(text) if token not in known}
    assert missing == set()


def test_ten_numbers_can_be_recomputed_from_the_predictions(data: ReportData, numbers: dict[str, Any]) -> None:
    test = data.test
    for name in ("cnn", "vgg16"):
        found = numbers["models"][name]["test"]
        scores = test.probabilities[name]
        called = (scores >= test.thresholds[name]).astype(int)
        expected = {
            "auc": sk.roc_auc_score(test.labels, scores),
            "average_precision": sk.average_precision_score(test.labels, scores),
            "balanced_accuracy": sk.balanced_accuracy_score(test.labels, called),
            "f1": sk.f1_score(test.labels, called),
            "sensitivity": sk.recall_score(test.labels, called),
            "specificity": sk.recall_score(test.labels, called, pos_label=0),
            "ppv": sk.precision_score(test.labels, called),
            "brier": sk.brier_score_loss(test.labels, scores),
        }
        assert {metric: found[metric]["value"] for metric in expected} == pytest.approx(expected)
        for metric in expected:
            assert found[metric]["low"] < found[metric]["value"] < found[metric]["high"]


def test_a_search_shows_what_it_cost_and_what_it_was_spared(
    page: Page, numbers: dict[str, Any], data: ReportData
) -> None:
    shown = {about.get("data-path") for tag, about in page.tags if tag == "data"}
    for study in data.studies:
        cost = numbers["searches"][study.name]["cost"]
        assert cost["used"] == pytest.approx(sum(trial.attributes["seconds"] for trial in study.trials))
        for part in ("used", "saved_by_pruning", "waiting", *(["saved_by_cache"] if study.model == "vgg16" else [])):
            assert cost[part] > 0
            assert f"/searches/{study.name}/cost/{part}" in shown


def test_where_models_disagree_both_probabilities_are_those_of_the_test(
    numbers: dict[str, Any], data: ReportData
) -> None:
    rows = {str(name): row for row, name in enumerate(data.test.names)}
    told = [one for one in numbers["examples"] if one["kind"] == "disagreement"]
    assert told
    for one in told:
        wanted = {model: data.test.probabilities[model][rows[one["name"]]] for model in ("cnn", "vgg16")}
        assert one["by_model"] == pytest.approx(wanted)
    assert all(one["by_model"] == {} for one in numbers["examples"] if one["kind"] == "development")


def test_the_launch_of_each_search_can_be_typed_again(page: Page, data: ReportData) -> None:
    text = " ".join(page.words)
    for study in data.studies:
        assert study.settings["command"] in text


def test_the_json_holds_no_number_that_json_does_not_know(folder: Path) -> None:
    text = (folder / "report.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in report.json"))


def test_each_figure_has_words_a_table_and_a_csv_file(page: Page, numbers: dict[str, Any], folder: Path) -> None:
    assert len(numbers["figures"]) >= 20
    labels = [about.get("aria-label") for tag, about in page.tags if tag == "div" and about.get("role") == "img"]
    assert len(labels) == len(numbers["figures"])
    assert all(label and len(label) > 30 for label in labels)
    for key, figure in numbers["figures"].items():
        with (folder / "tables" / f"{key}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) == 1 + len(figure["rows"]), key
    assert {path.stem for path in (folder / "tables").iterdir()} == set(numbers["figures"])


def test_headings_are_in_order_and_every_link_has_its_target(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [about["id"] for _, about in page.tags if about.get("id")]
    assert len(ids) == len(set(ids))
    links = {(about.get("href") or "") for tag, about in page.tags if tag == "a"}
    assert links <= {f"#{name}" for name in ids}


def test_the_file_needs_nothing_outside_and_is_small_enough_to_mail(page: Page, folder: Path) -> None:
    assert (folder / "report.html").stat().st_size < 15e6
    sources = [about.get("src") or about.get("href") for tag, about in page.tags if tag in ("img", "script", "link")]
    assert all(source is None or source.startswith("data:image/png;base64,") for source in sources)
    policy = next(about for tag, about in page.tags if about.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_two_copies_of_one_model_do_not_differ(tmp_path: Path) -> None:
    verdict = find(made_up.report_data(tmp_path, twins=True, **SMALL)).verdict
    assert verdict.winner is None
    assert verdict.headline.startswith("No difference was found between")


def test_a_model_against_a_random_one_is_named(tmp_path: Path) -> None:
    verdict = find(made_up.report_data(tmp_path, skill=(2.6, 0.0), **SMALL)).verdict
    assert verdict.winner == "cnn"
    assert "better than vgg16" in verdict.headline


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    page = write_report(made_up.report_data(tmp_path / "pictures", hostile=True, trials=8, patients=24), tmp_path)
    assert "\n'=1+1," in (tmp_path / "tables" / "patients.csv").read_text(encoding="utf-8"), "no formula"
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    seen = " ".join(Page(text).words)
    assert seen.count("<script>alert('x')</script> \"quoted\" & Ünïcödé") >= 5
    scripts = [about for tag, about in Page(text).tags if tag == "script"]
    assert all(set(about) <= {"type", "id"} for about in scripts)
    payloads = re.findall(r'<script type="application/json"([^>]*)>(.*?)</script>', text, flags=re.DOTALL)
    assert len(payloads) >= 20
    for about, payload in payloads:
        assert "<" not in payload
        if "slides-data" in about:  # read by our own script, which writes text alone
            continue
        for label in _strings(json.loads(payload)):
            assert "<script" not in label, "Plotly would take it for markup"
    assert not re.search("innerHTML|outerHTML|insertAdjacentHTML|document.write", text.partition("slides-data")[2])


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    return [text for one in value for text in _strings(one)] if isinstance(value, list) else []


def test_json_in_a_script_cannot_end_it() -> None:
    value = {"</script>": "<!-- & \u2028"}
    assert "<" not in embedded(value)
    assert json.loads(str(embedded(value))) == value


def test_without_patient_ids_every_interval_is_a_lower_bound_and_nothing_is_shown_for_sure(tmp_path: Path) -> None:
    data = made_up.report_data(tmp_path / "pictures", patient_ids=False, skill=(2.6, 0.0), **SMALL)
    page = write_report(data, tmp_path)
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert numbers["verdict"]["strength"] == "suggests"
    text = page.read_text(encoding="utf-8")
    assert "lower bound of the uncertainty" in text
    assert "Bands around curves come from draws of patches" in text
    assert "on the training patches, judged on the validation patches" in text
    assert "No member sees its held-out patches." in text
    assert not re.search(r"(interval|bands) over patients|[Dd]raws of patients|choice of patients|stands beside", text)
    assert "No patient ids" in [one["name"] for one in numbers["weaknesses"]]
    assert numbers["patients"] == []


def test_a_reopened_test_split_is_counted_and_weakens_the_verdict(small: ReportData, tmp_path: Path) -> None:
    first = small.openings[0]
    again = Opening(first.study, "b" * 64, first.opened_at, None, "another seed", first.by, first.patches)
    reopened = replace(small, openings=(again, first))
    text = write_report(reopened, tmp_path).read_text(encoding="utf-8")
    assert "Test split reopened" in text
    assert "another seed" in text
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["openings"] == 2


def test_a_plan_frozen_after_the_opening_is_not_called_frozen_before(small: ReportData, tmp_path: Path) -> None:
    late = replace(small, frozen_first=False)
    assert find(late).frozen_first is False
    text = write_report(late, tmp_path).read_text(encoding="utf-8")
    assert "before the opening" not in text
    assert "stayed sealed until" not in text


def test_statistics_that_the_plan_does_not_name_are_marked(small: ReportData, tmp_path: Path) -> None:
    left_out = (
        "Net benefit",
        "Performance by brightness",
        "Other thresholds",
        "Agreement of the models",
        "Single members",
    )
    kept = tuple(name for name in small.plan.statistics if name not in left_out)
    text = write_report(replace(small, plan=replace(small.plan, statistics=kept)), tmp_path).read_text(encoding="utf-8")
    captions = dict(re.findall(r'<figcaption id="caption-([^"]+)">(.*?)</figcaption>', text, flags=re.DOTALL))
    marked = {key for key, caption in captions.items() if "not in the frozen plan" in caption}
    assert marked == {"net-benefit", "sweep-cnn", "sweep-vgg16", "agreement-1"}
    assert re.search(r"Single members on the test split\s+<span class=\"tag\">not in the frozen plan", text)
    assert "haematoxylin, lowest third" in text
    assert text.count(", not in the frozen plan</td>") == 3, "the parts by brightness"
    assert f"Not in the frozen plan, though shown: {', '.join(left_out)}" in text


def test_a_single_model_without_trials_that_count_still_makes_a_report(small: ReportData, tmp_path: Path) -> None:
    study = replace(small.studies[0], trials=(), best=None, default=None, importance=None)
    plan = replace(small.plan, models=small.plan.models[:1], ensemble=None, neighbours=None)
    text = write_report(replace(small, studies=(study,), plan=plan, examples=()), tmp_path).read_text(encoding="utf-8")
    assert "There was no second model to compare it with." in text
    assert "No trial of this study has a value." in text


def test_a_test_split_of_one_class_is_reported_without_a_verdict(small: ReportData, tmp_path: Path) -> None:
    test = replace(small.test, labels=np.zeros_like(small.test.labels))
    numbers = json.loads((write_report(replace(small, test=test), tmp_path).parent / "report.json").read_text("utf-8"))
    assert numbers["models"]["cnn"]["test"]["auc"]["value"] is None
    assert numbers["verdict"]["winner"] is None


def test_a_missing_picture_is_one_line_that_names_it(small: ReportData, tmp_path: Path) -> None:
    gone = replace(small.examples[0], picture=tmp_path / "gone.png")
    with pytest.raises(RecordError, match=r"gone\.png is missing"):
        write_report(replace(small, examples=(gone,)), tmp_path)


def test_an_interrupted_writer_leaves_the_earlier_report_whole(
    small: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "report.html"
    page.write_text("the earlier one", encoding="utf-8")

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_report(small, tmp_path)
    assert page.read_text(encoding="utf-8") == "the earlier one"


def test_a_csv_file_keeps_numbers_as_they_are() -> None:
    assert as_csv(Table(("a", "b"), ((-0.5, "-x"), (None, "y")))) == "a,b\r\n-0.5,'-x\r\n,y\r\n"


def test_a_published_split_and_rules_that_ease_the_test_are_named(small: ReportData, tmp_path: Path) -> None:
    lists = "official.json, sha256 0123456789ab, unlisted patients: exclude"
    told = replace(
        small.data,
        split_file=lists,
        exclusions=(*small.data.exclusions, ("blurred", 0)),
        easing=(("blurred", "slides blur"),),
    )
    text = write_report(replace(small, data=told), tmp_path).read_text(encoding="utf-8")
    assert f"Divided by published lists of patients ({lists}), not drawn" in text
    assert "with seed" not in text.split("Divided by")[1].split("</p>")[0]
    assert "blurred (0 patches), though slides blur" in text
    assert "<li>blurred: " in text


def test_what_was_found_is_explained_under_its_code(page: Page, numbers: dict[str, Any]) -> None:
    told = [one["code"] for one in (numbers["verdict"], numbers["ensemble"]["verdict"], *numbers["weaknesses"])]
    told += [model["gained_code"] for model in numbers["models"].values()]
    told += [code for search in numbers["searches"].values() for code in search["lesson_codes"]]
    assert set(numbers["codes"]) == set(told)
    rows = {about["id"] for tag, about in page.tags if tag == "tr" and about.get("id")}
    assert rows == {f"code-{code}" for code in told}
    assert all(kind["meaning"] in page.words for kind in numbers["codes"].values())
