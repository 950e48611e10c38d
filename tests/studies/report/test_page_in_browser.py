"""A made-up report with hostile names in Chromium: every figure drawn, readable everywhere by everyone.

Screenshots go to ``$HISTOTUNE_SCREENSHOTS``, where it is set.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from studies.report.page import write_report
from tests.studies import made_up, seen
from tests.studies.seen import Opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-up")
    return write_report(made_up.report_data(folder / "pictures", hostile=True, trials=12), folder)


@pytest.fixture(scope="module")
def wide(browser: Browser, report: Path) -> Opened:
    return Opened(browser, report, 1440, 900)


@pytest.fixture(scope="module")
def phone(browser: Browser, report: Path) -> Opened:
    return Opened(browser, report, 390, 844, "dark")


def test_no_request_leaves_the_page_and_it_says_nothing_to_the_console(wide: Opened) -> None:
    seen.is_silent_and_alone(wide)


def test_every_figure_is_drawn_without_webgl(wide: Opened) -> None:
    seen.draws_every_figure_without_webgl(wide, at_least=26)


def test_the_summary_is_on_one_screen(wide: Opened) -> None:
    bottom = wide.page.eval_on_selector("#summary .claim", "place => place.getBoundingClientRect().bottom + scrollY")
    assert bottom < 900


def test_headings_are_in_order(wide: Opened) -> None:
    seen.has_its_headings_in_order(wide)


@pytest.mark.parametrize("which", ["wide", "phone"])
def test_nothing_scrolls_sideways(which: str, request: pytest.FixtureRequest) -> None:
    seen.does_not_scroll_sideways(request.getfixturevalue(which))


def test_dark_mode_is_dark_and_its_figures_have_light_text(phone: Opened, wide: Opened) -> None:
    seen.is_dark(phone)
    seen.is_light(wide)


def test_it_prints_to_a_pdf_with_every_figure(browser: Browser, report: Path) -> None:
    seen.prints_every_figure(browser, report)


def test_the_keyboard_reaches_the_summary_and_opens_a_table(browser: Browser, report: Path) -> None:
    page = Opened(browser, report, 1440, 900).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    details = page.locator("#figure-roc details")
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.locator("table").is_visible()


def test_axe_finds_no_serious_violation(wide: Opened, axe: str) -> None:
    """On a phone, and in the dark, it looks at a real report."""
    seen.is_accessible(wide, axe)


@pytest.fixture(scope="module")
def of_one_patient(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("one-patient-with-idc")
    data = made_up.report_data(folder / "pictures", trials=6, patients=24, draws=200, few=(3,))
    return Opened(browser, write_report(data, folder), 390, 844)


def test_reasons_in_the_place_of_intervals_tear_no_card(of_one_patient: Opened) -> None:
    seen.does_not_scroll_sideways(of_one_patient)
    torn = of_one_patient.page.eval_on_selector_all(
        ".card",
        """cards => cards.flatMap(card => {
            const edge = card.getBoundingClientRect().right, words = document.createRange();
            const beyond = [...card.querySelectorAll("dd, .big > *")].filter(one =>
                one.getBoundingClientRect().right > edge);
            const over = [...card.querySelectorAll("dt")].filter(one => {
                words.selectNodeContents(one);
                const value = one.nextElementSibling.firstElementChild.getBoundingClientRect();
                return words.getBoundingClientRect().right > value.left;
            });
            return [...beyond, ...over].map(one => one.textContent.trim());
        })""",
    )
    assert torn == []
    assert of_one_patient.page.locator(".card .reason").count() == 8, "of each model all but the specificity have none"
