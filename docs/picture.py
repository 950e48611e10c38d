"""Draws docs/report.png anew: the first screen of the report of a search on real patches. No patch is in the picture.

    python docs/picture.py ../shared/data FOLDER

Six patches of each patient, evenly spaced, are taken from X.npy, Y.npy and patients.npy and put into FOLDER. There both
models are searched, retrained and put to the test: about 10 minutes on two cores. VGG16 is frozen blocks and a head.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

EACH = 6
STUDY = "idc-six-each"
SEARCH = "--model all --trials 8 --epochs 8 --set vgg16.frozen_blocks=5,vgg16.input_size=50,vgg16.stain_jitter=0"
PICTURE = Path(__file__).parent / "report.png"
WIDTH, HEIGHT = 1200, 800


def main(data: Path, folder: Path) -> None:
    """Searches and draws."""
    take_some(data, folder / "patches")
    place = ["--study", STUDY, "--runs", str(folder / "runs"), "--data", str(folder / "patches")]
    for command in (["launch", *SEARCH.split()], ["finalize"]):
        subprocess.run([sys.executable, "-m", f"search.{command[0]}", *command[1:], *place], check=True)
    draw(folder / "runs" / STUDY / "report.html")


def take_some(data: Path, folder: Path) -> None:
    """Writes some patches of each patient, evenly spaced, as X.npy has those without IDC first."""
    patients = np.load(data / "patients.npy")
    of_each = [np.flatnonzero(patients == one) for one in np.unique(patients)]
    chosen = [np.unique(np.linspace(0, len(own) - 1, EACH).round().astype(int)) for own in of_each]
    rows = np.sort(np.concatenate([own[some] for own, some in zip(of_each, chosen, strict=True)]))
    folder.mkdir(parents=True)
    for name in ("X", "Y", "patients"):
        np.save(folder / f"{name}.npy", np.load(data / f"{name}.npy", mmap_mode="r")[rows])


def draw(report: Path) -> None:
    """The first screen of a report, as a browser shows it."""
    with sync_playwright() as playwright:
        program = shutil.which(os.environ.get("HISTOTUNE_CHROMIUM", "chromium"))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-drawn=all]", timeout=120_000)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
