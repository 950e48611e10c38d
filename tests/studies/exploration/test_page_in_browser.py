"""Explorations in Chromium: one of made-up numbers with hostile names, one of real patches by the command.

Screenshots go to ``$HISTOTUNE_SCREENSHOTS``, where it is set.
"""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from search.explore import main
from studies.exploration.page import write_exploration
from tests.studies import seen
from tests.studies.exploration import made_up_exploration as made_up
from tests.studies.seen import Opened

EVERY = 12


@pytest.fixture(scope="module", params=["made-up", "real"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(f"explored-{request.param}")
    if request.param == "made-up":
        return write_exploration(made_up.explored(hostile=True), folder)[0]
    shared: Path = request.getfixturevalue("shared")
    few_patches(shared / "data", folder / "patches")
    weights = shared / "weights" / "vgg16_imagenet_features.safetensors"
    where = ["--data", str(folder / "patches"), "--runs", str(folder), "--study", "real"]
    assert main([*where, "--vgg16-weights", str(weights), "--device", "cpu"]) == 0
    return folder / "real" / "exploration.html"


def few_patches(data: Path, folder: Path) -> None:
    """Writes some patches, so that most patients and both classes are there."""
    folder.mkdir()
    for name in ("X", "Y", "patients"):
        np.save(folder / f"{name}.npy", np.load(data / f"{name}.npy", mmap_mode="r")[::EVERY])


@pytest.fixture(scope="module")
def wide(browser: Browser, page: Path) -> Opened:
    return Opened(browser, page, 1440, 900)


@pytest.fixture(scope="module")
def phone(browser: Browser, page: Path) -> Opened:
    return Opened(browser, page, 390, 844, "dark")


def test_it_stands_alone_draws_everything_and_shows_every_patch(wide: Opened) -> None:
    seen.is_silent_and_alone(wide)
    seen.draws_every_figure_without_webgl(wide, at_least=16)
    seen.shows_every_picture(wide)
    seen.has_its_headings_in_order(wide)
    seen.is_light(wide)


@pytest.mark.parametrize("which", ["wide", "phone"])
def test_it_fits_every_screen(which: str, page: Path, request: pytest.FixtureRequest) -> None:
    opened: Opened = request.getfixturevalue(which)
    opened.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    seen.does_not_scroll_sideways(opened)


def test_it_is_dark_where_that_is_wanted(phone: Opened) -> None:
    seen.is_dark(phone)


@pytest.mark.parametrize("page", ["real"], indirect=True)  # whoever is named in it changes neither
def test_it_fits_every_reader_and_paper(wide: Opened, phone: Opened, browser: Browser, page: Path, axe: str) -> None:
    seen.is_accessible(wide, axe)
    seen.is_accessible(phone, axe)
    seen.prints_every_figure(browser, page)


def test_the_summary_comes_with_what_was_found_and_links_that_lead_there(wide: Opened) -> None:
    links = wide.page.locator("#summary .claim a")
    assert links.count() >= 3
    target = links.first.get_attribute("href")
    links.first.click()
    assert wide.page.evaluate("location.hash") == target
    assert wide.page.locator(f"{target} .finding").first.is_visible()


def test_it_is_small_enough_to_mail(page: Path) -> None:
    assert page.stat().st_size < 15e6
