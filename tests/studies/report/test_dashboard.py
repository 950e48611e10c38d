"""What optuna-dashboard shows of a comparison: on both databases, over and over, and seen in Chromium."""

import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import get_note, save_note
from playwright.sync_api import Browser

from search.dashboard import make_dashboard
from studies.figures.curve import curve_picture
from studies.records import StudySummary
from studies.report.dashboard import publish
from studies.storage.definition import StudyDefinition
from studies.storage.results import summarise
from studies.storage.studies import create_or_resume, make_pruner, make_sampler

DEFINITION = StudyDefinition("cnn", "a" * 64, {}, 3, "auc", "none", "fp32", "random", "d" * 64, "contiguous", 1, "none")
CURVES = {0: (0.7, 0.8, 0.9), 1: (0.6, 0.65), 2: ()}  # complete, pruned, failed before its first epoch ended
SAID = "cnn separates IDC from other tissue better than vgg16."


@pytest.fixture
def study(storage: RDBStorage) -> optuna.Study:
    return searched(storage)


def searched(storage: RDBStorage) -> optuna.Study:
    study = create_or_resume(
        storage, "idc-cnn", DEFINITION, sampler=make_sampler("random", 0), pruner=make_pruner("none", 3)
    )
    for number, curve in CURVES.items():
        trial = study.ask()
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
        state = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)[number]
        study.tell(trial, max(curve) if number == 0 else None, state=state)
    return study


@pytest.fixture
def report(tmp_path: Path) -> Path:
    page = tmp_path / "runs" / "idc" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!DOCTYPE html><title>The report</title>", encoding="utf-8")
    return page


def published(study: optuna.Study, storage: RDBStorage, report: Path) -> dict[str, object]:
    """Publishes, and gives all that is stored with the study then."""
    folder = report.parent.parent / "artifacts"
    publish(storage, summarise(study, importance=False), report, SAID, folder)
    return storage.get_study_system_attrs(storage.get_study_id_from_name("idc-cnn"))


def test_the_note_says_the_verdict_and_where_the_report_is(
    study: optuna.Study, storage: RDBStorage, report: Path
) -> None:
    published(study, storage, report)
    note = get_note(study)
    assert SAID in note
    assert str(report) in note


def test_the_note_says_what_a_value_below_0_stands_for(storage: RDBStorage, report: Path) -> None:
    study = searched(storage)
    trial = study.ask()
    for name, low, high in (("stain_jitter", -0.05, 0.2), ("shift", -1.0, 1.0)):
        trial.suggest_float(name, low, high)
    study.tell(trial, 0.5)
    published(study, storage, report)
    assert "A value below 0 means none at all, as 0 does: `stain_jitter`." in get_note(study)


def test_a_second_report_replaces_the_first_and_leaves_nothing_behind(
    study: optuna.Study, storage: RDBStorage, report: Path
) -> None:
    first = published(study, storage, report)
    files = sorted((report.parent.parent / "artifacts").iterdir())
    assert published(study, storage, report) == first
    report.write_text("another", encoding="utf-8")
    published(study, storage, report)
    assert sorted((report.parent.parent / "artifacts").iterdir()) == files
    assert "another" in [file.read_text(encoding="utf-8") for file in files]
    assert len(files) == 3, "the report, and a curve for each trial that has one"


def test_what_somebody_wrote_into_the_note_stays(study: optuna.Study, storage: RDBStorage, report: Path) -> None:
    save_note(study, "Ask the pathologist about patient 9.\n\nAnd rerun.")
    published(study, storage, report)
    published(study, storage, report)
    note = get_note(study)
    assert note.startswith("**HistoTune:**")
    assert note.endswith("\n\nAsk the pathologist about patient 9.\n\nAnd rerun.")
    assert note.count("HistoTune") == 1


@pytest.mark.parametrize("number", [0, 1])
def test_a_curve_is_a_picture_of_every_epoch(storage: RDBStorage, study: optuna.Study, number: int) -> None:
    summary: StudySummary = summarise(study, importance=False)
    picture = ElementTree.fromstring(curve_picture(summary, summary.trials[number]))
    circles = picture.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(CURVES[number])
    heights = [float(one.attrib["cy"]) for one in circles]
    assert heights == sorted(heights, reverse=True), "these curves rise, and pixels count downwards"
    assert all(0 < float(one.attrib["cx"]) < 480 for one in circles)


@pytest.fixture
def address(tmp_path: Path, report: Path) -> Iterator[str]:
    """Of a dashboard that serves a published study."""
    storage = RDBStorage(f"sqlite:///{tmp_path}/studies.db")
    published(searched(storage), storage, report)
    with make_dashboard(storage, report.parent.parent / "artifacts", "127.0.0.1", 0) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()
    storage.engine.dispose()


def test_the_dashboard_shows_the_note_and_opens_the_report(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/dashboard/studies/1/note")
    page.get_by_text(SAID).wait_for(timeout=60_000)
    page.get_by_role("link", name="Open the report").click()
    page.wait_for_url("**/artifacts/**")
    assert page.title() == "The report"
    page.close()


def test_the_dashboard_draws_a_trials_learning_curve(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/dashboard/studies/1/trials?numbers=1")
    picture = page.locator("img[alt='learning-curve-1.svg']")
    picture.wait_for(timeout=60_000)
    page.wait_for_function("one => one.complete && one.naturalWidth === 480", arg=picture.element_handle())
    page.close()
