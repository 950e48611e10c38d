"""A report opened in a browser, and what has to be true of every report that is."""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

DRAWN = "html[data-drawn=all]"


class Opened:
    """A page with what it asked for and said."""

    def __init__(self, browser: Browser, report: Path, width: int, height: int, scheme: Any = "light") -> None:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.report = report
        self.page: Page = context.new_page()
        self.page.set_default_timeout(120_000)  # beside two other processes of tests
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        self.page.goto(report.as_uri())
        self.page.wait_for_selector(DRAWN, timeout=120_000)
        keep(self.page, f"{report.parent.name}-{width}-{scheme}")


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page, where someone wants to look."""
    folder = os.environ.get("HISTOTUNE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def is_silent_and_alone(opened: Opened) -> None:
    """No request leaves the page, and nothing stands in the console."""
    assert [url for url in opened.requests if not url.startswith("data:")] == [opened.report.as_uri()]
    assert opened.messages == []


def draws_every_figure_without_webgl(opened: Opened, at_least: int) -> None:
    """Each plot has something drawn in it, as SVG."""
    plots = opened.page.eval_on_selector_all(
        ".plot",
        """places => places.map(place => ({
            figure: place.dataset.figure,
            drawn: place.querySelectorAll(".scatterlayer path, .barlayer path").length,
            width: place.querySelector(".main-svg")?.getBoundingClientRect().width ?? 0,
        }))""",
    )
    assert len(plots) >= at_least
    assert [plot for plot in plots if plot["drawn"] == 0 or plot["width"] < 150] == []
    assert opened.page.locator("canvas").count() == 0


def shows_every_picture(opened: Opened) -> None:
    """Each patch is decoded, with its own 50 pixels."""
    widths = opened.page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert widths
    assert set(widths) == {50}


def has_its_headings_in_order(opened: Opened) -> None:
    """One h1, and no level left out on the way down."""
    levels = opened.page.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def does_not_scroll_sideways(opened: Opened) -> None:
    """Neither the page nor a plot is wider than its place."""
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    too_wide = opened.page.eval_on_selector_all(
        ".plot", "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.dataset.figure)"
    )
    assert too_wide == []


def lightness(page: Page, selector: str, what: str) -> float:
    """Mean of red, green and blue, 0 to 255."""
    colour = page.eval_on_selector(selector, f"place => getComputedStyle(place).{what}")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def is_dark(opened: Opened) -> None:
    """A dark page with light text, also in its figures."""
    assert lightness(opened.page, "body", "backgroundColor") < 60
    assert lightness(opened.page, ".plot .xtick text", "fill") > 200


def is_light(opened: Opened) -> None:
    """A light page with dark text, also in its figures."""
    assert lightness(opened.page, "body", "backgroundColor") > 240
    assert lightness(opened.page, ".plot .xtick text", "fill") < 60


def prints_every_figure(browser: Browser, report: Path) -> None:
    """Printing draws what was not drawn yet; the PDF has pages."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(
        "window.requestIdleCallback = () => 0; window.IntersectionObserver = class { observe() {} unobserve() {} };"
    )  # so that nothing but printing draws a figure
    page.goto(report.as_uri())
    assert page.locator(".main-svg").count() == 0
    pdf = page.pdf(format="A4")
    assert page.locator(DRAWN).count() == 1
    page.close()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 5
    folder = os.environ.get("HISTOTUNE_SCREENSHOTS")
    if folder:
        (Path(folder) / f"{report.parent.name}.pdf").write_bytes(pdf)


def is_accessible(opened: Opened, axe: str) -> None:
    """Axe-core finds nothing serious, also in tables that were opened."""
    opened.page.evaluate(
        "document.querySelectorAll('#figure-metrics details, #retraining details').forEach(one => { one.open = true; })"
    )
    opened.page.evaluate(axe)
    found = opened.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10
    serious = [
        (one["id"], one["help"], [node["target"] for node in one["nodes"]][:3])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
