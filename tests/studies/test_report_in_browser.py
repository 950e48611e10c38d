"""The report in Chromium: no request, no console message, every figure drawn, readable everywhere by everyone.

Needs Debian's ``chromium`` (or ``$HISTOTUNE_CHROMIUM``). Screenshots go to ``$HISTOTUNE_SCREENSHOTS``, where it is set.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from studies.report import write_report
from tests.studies import made_up

CHROMIUM = os.environ.get("HISTOTUNE_CHROMIUM") or shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
)
AXE = "4.14.1"
DRAWN = "html[data-drawn=all]"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return write_report(made_up.report_data(folder / "pictures", hostile=True, trials=12), folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield started
        started.close()


class Opened:
    """A page with what it asked for and said."""

    def __init__(self, browser: Browser, report: Path, width: int, height: int, scheme: Any = "light") -> None:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        self.page.goto(report.as_uri())
        self.page.wait_for_selector(DRAWN, timeout=120_000)
        keep(self.page, f"{width}-{scheme}")


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page, where someone wants to look."""
    folder = os.environ.get("HISTOTUNE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"report-{name}.png", full_page=True)


@pytest.fixture(scope="module")
def wide(browser: Browser, report: Path) -> Opened:
    return Opened(browser, report, 1440, 900)


@pytest.fixture(scope="module")
def phone(browser: Browser, report: Path) -> Opened:
    return Opened(browser, report, 390, 844, "dark")


def test_no_request_leaves_the_page_and_it_says_nothing_to_the_console(wide: Opened, report: Path) -> None:
    outside = [url for url in wide.requests if not url.startswith("data:")]
    assert outside == [report.as_uri()]
    assert wide.messages == []


def test_every_figure_is_drawn_without_webgl(wide: Opened) -> None:
    plots = wide.page.eval_on_selector_all(
        ".plot",
        """places => places.map(place => ({
            figure: place.dataset.figure,
            drawn: place.querySelectorAll(".scatterlayer path, .barlayer path").length,
            width: place.querySelector(".main-svg")?.getBoundingClientRect().width ?? 0,
        }))""",
    )
    assert len(plots) > 25
    assert [plot for plot in plots if plot["drawn"] == 0 or plot["width"] < 150] == []
    assert wide.page.locator("canvas").count() == 0


def test_the_summary_is_on_one_screen(wide: Opened) -> None:
    bottom = wide.page.eval_on_selector("#summary .facts", "place => place.getBoundingClientRect().bottom + scrollY")
    assert bottom < 900


def test_headings_are_in_order(wide: Opened) -> None:
    levels = wide.page.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("which", ["wide", "phone"])
def test_nothing_scrolls_sideways(which: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(which).page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    too_wide = page.eval_on_selector_all(
        ".plot", "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.dataset.figure)"
    )
    assert too_wide == []


def test_dark_mode_is_dark_and_its_figures_have_light_text(phone: Opened, wide: Opened) -> None:
    def lightness(page: Page, selector: str, what: str) -> float:
        colour = page.eval_on_selector(selector, f"place => getComputedStyle(place).{what}")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3

    assert lightness(phone.page, "body", "backgroundColor") < 60
    assert lightness(phone.page, ".plot .xtick text", "fill") > 200
    assert lightness(wide.page, "body", "backgroundColor") > 240
    assert lightness(wide.page, ".plot .xtick text", "fill") < 60


def test_it_prints_to_a_pdf_with_every_figure(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.add_init_script(
        "window.requestIdleCallback = () => 0; window.IntersectionObserver = class { observe() {} unobserve() {} };"
    )  # so that nothing but printing draws a figure
    page.goto(report.as_uri())
    assert page.locator(".main-svg").count() == 0
    pdf = page.pdf(format="A4")
    assert page.locator(DRAWN).count() == 1
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 5
    folder = os.environ.get("HISTOTUNE_SCREENSHOTS")
    if folder:
        (Path(folder) / "report.pdf").write_bytes(pdf)


def test_the_keyboard_reaches_the_summary_and_opens_a_table(browser: Browser, report: Path) -> None:
    page = Opened(browser, report, 1440, 900).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    details = page.locator("#figure-roc details")
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.locator("table").is_visible()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, from npm once and then from a folder of its own."""
    cache = Path(tempfile.gettempdir()) / f"histotune-axe-{AXE}"
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, axe-core cannot be fetched")
        command = [npm, "install", "--prefix", str(cache), "--no-audit", "--no-fund", f"axe-core@{AXE}"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if found.returncode:
            pytest.skip(f"npm could not fetch axe-core: {found.stderr.strip()[-200:]}")
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("which", ["wide", "phone"])
def test_axe_finds_no_serious_violation(which: str, axe: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(which).page
    page.evaluate(
        "document.querySelectorAll('#figure-metrics details, #retraining details').forEach(one => { one.open = true; })"
    )
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10
    serious = [
        (one["id"], one["help"], [node["target"] for node in one["nodes"]][:3])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
