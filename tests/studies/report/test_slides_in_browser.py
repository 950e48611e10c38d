"""Slides in Chromium: on the page of a heat map and in a report, by mouse, by keyboard, on a phone, in the dark."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from studies.findings.slides import Slide
from studies.report.heatmap import file_names, write_heatmaps
from studies.report.page import write_report
from studies.statistics.grid import Grid
from tests.studies import made_up, seen
from tests.studies.made_up import HOSTILE
from tests.studies.seen import Opened


def slide(name: str, *, width: int = 12, height: int = 8, remark: str = "") -> Slide:
    """A block with a hole in it; IDC on the right, every seventh patch called wrongly."""
    y, x = np.mgrid[:height, :width]
    here = (x != 3) | (y != 2)
    rows, columns = y[here], x[here]
    labels = (columns > width // 2).astype(np.int64)
    wrong = np.arange(len(labels)) % 7 == 0
    probabilities = np.where(labels ^ wrong, 0.81, 0.12)
    return Slide(
        name=name,
        grid=Grid(rows, columns, height, width),
        names=np.array([f"{name}_idx5_x{50 * c}_y{50 * r}.png" for r, c in zip(rows, columns, strict=True)]),
        labels=labels,
        probabilities=probabilities,
        spreads=np.full(len(labels), 0.034),
        called=probabilities >= 0.33,
        remark=remark,
    )


@pytest.fixture(scope="module")
def heatmaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, slides = tmp_path_factory.mktemp("heatmaps"), [slide(HOSTILE, remark="Look twice."), slide("9023", width=5)]
    pictures = {one.name: np.full((one.grid.height * 10, one.grid.width * 10, 3), 190, np.uint8) for one in slides}
    Image.fromarray(pictures["9023"]).save(folder / "tissue.jpg")
    jpeg = dict.fromkeys(pictures, (folder / "tissue.jpg").read_bytes())
    return write_heatmaps(slides, pictures, folder, of="made-up/cnn", threshold=0.33, remarks=["A remark."], jpeg=jpeg)


def opened(browser: Browser, page: Path, width: int, scheme: str = "light") -> tuple[Page, list[str]]:
    found = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()  # type: ignore[arg-type]
    told: list[str] = []
    found.on("console", lambda message: told.append(message.text))
    found.on("pageerror", lambda error: told.append(str(error)))
    found.on("dialog", lambda dialog: told.append(dialog.message))
    found.on(
        "request", lambda request: told.extend([] if request.url.startswith(("data:", "file:")) else [request.url])
    )
    found.goto(page.as_uri())
    seen.keep(found, f"heatmap-{width}-{scheme}")
    return found, told


def said(page: Page) -> str:
    return page.locator("#viewer-said").inner_text()


def test_pointing_says_what_is_known_of_a_patch(browser: Browser, heatmaps: Path) -> None:
    page, told = opened(browser, heatmaps, 1440)
    assert page.locator("#viewer-remark").inner_text() == "Look twice."
    box = page.locator("#viewer-stage .sheet").bounding_box()
    assert box is not None

    def point(row: int, column: int) -> str:
        page.mouse.move(box["x"] + box["width"] * (column + 0.5) / 12, box["y"] + box["height"] * (row + 0.5) / 8)
        return said(page)

    assert (
        f"Probability 0.810, called IDC; member spread 0.034; labelled not IDC; false alarm; row 1, column 1; {HOSTILE}"
        in point(0, 0)
    )
    assert "called IDC; member spread 0.034; labelled IDC; row 1, column 9" in point(0, 8)
    assert point(2, 3) == point(2, 3) != "", "in the hole the last one stays"
    page.get_by_role("button", name="9023").click()
    assert page.locator("#viewer-name").inner_text() == "Slide 9023"
    assert said(page) == "39 patches, 15 labelled IDC."
    assert told == []


def test_the_keyboard_goes_from_patch_to_patch_over_holes(browser: Browser, heatmaps: Path) -> None:
    page, _ = opened(browser, heatmaps, 1440)
    page.locator("#viewer-stage").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert "row 3, column 5;" in said(page), "the first key takes the first patch, and column 4 of row 3 is a hole"
    before = page.locator("#viewer-stage .sheet").bounding_box()
    page.keyboard.press("+")
    after = page.locator("#viewer-stage .sheet").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == pytest.approx(2 * before["width"], rel=0.01)


def test_layers_are_chosen_and_only_their_key_is_shown(browser: Browser, heatmaps: Path) -> None:
    page, _ = opened(browser, heatmaps, 1440)
    sources = set()
    for layer in ("labels", "probability", "spread", "errors"):
        page.check(f"input[value={layer}]")
        keys = page.locator(".keys-of-layers [data-key]:visible")
        assert (keys.count(), keys.first.get_attribute("data-key")) == (1, layer)
        sources.add(page.locator("#viewer-stage .over").get_attribute("src"))
    assert len(sources) == 4
    page.check("input[value=tissue]")
    assert not page.locator("#viewer-stage .over").is_visible()
    assert not page.locator("#viewer-stage .outline").is_visible()
    page.check("#viewer-outline")
    assert page.locator("#viewer-stage .outline").is_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_it_fits_and_axe_finds_nothing_serious(
    browser: Browser, heatmaps: Path, axe: str, width: int, scheme: str
) -> None:
    page, told = opened(browser, heatmaps, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [(one["id"], one["help"]) for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []
    assert told == []


def test_a_report_shows_a_slide_large_on_click_and_closes_it(browser: Browser, tmp_path: Path) -> None:
    data = made_up.report_data(tmp_path / "pictures", trials=2, patients=6, draws=100)
    report = Opened(browser, write_report(data, tmp_path), 390, 844, "dark")
    page = report.page
    assert page.locator(".slides button").count() == 6
    page.locator(".slides button").nth(1).click()
    assert page.locator("dialog.slide").is_visible()
    page.locator("#viewer-stage").focus()
    page.keyboard.press("ArrowRight")
    assert "Probability" in said(page)
    assert not page.locator("#viewer-stage .tissue").is_visible(), "it was not kept"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Escape")
    assert not page.locator("dialog.slide").is_visible()
    seen.is_silent_and_alone(report)


def test_a_file_is_called_like_its_slide_as_far_as_it_can() -> None:
    names = ["9023", "a/b", "a:b", "../x", "..."]
    assert file_names([replace(slide("s"), name=name) for name in names]) == [
        "9023.png", "a-b.png", "a-b~2.png", "x.png", "slide.png",
    ]  # fmt: skip
