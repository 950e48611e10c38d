"""A report from real patches in Chromium: both models searched, retrained and put to the test by the commands.

One short trial a model on a few patches of each of 36 patients: the networks are hardly trained, the report is whole.
Needs the shared folder (``$HISTOTUNE_SHARED``), and is skipped without.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser
from sklearn import metrics as sk
from tree import ROOT, Tree

from studies.findings.predictions import load_predictions
from studies.records import Predictions
from tests.studies import seen
from tests.studies.seen import Opened

PATIENTS, OF_A_CLASS = 36, 2
SMALL = "cnn.width=16,cnn.kernel=3,vgg16.frozen_blocks=5,vgg16.input_size=32,vgg16.stain_jitter=0"
SHORT = ("--model", "all", "--trials", "1", "--epochs", "1", "--study", "real", "--set", SMALL)


@pytest.fixture(scope="module")
def report(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a comparison on real patches."""
    folder = tmp_path_factory.mktemp("real")
    few_patches(shared / "data", folder / "patches")
    weights = shared / "weights" / "vgg16_imagenet_features.safetensors"
    commands = Tree(ROOT, folder / "runs", environment={"HISTOTUNE_VGG16_WEIGHTS": str(weights)})
    commands.run("launch", *SHORT, "--data", str(folder / "patches"))
    commands.run("finalize", "--study", "real", seconds=600)
    return folder / "runs" / "real" / "report.html"


def few_patches(data: Path, folder: Path) -> None:
    """Writes two patches of each class of the first patients that have them."""
    pixels = np.load(data / "X.npy", mmap_mode="r")
    labels, patients = np.load(data / "Y.npy"), np.load(data / "patients.npy")
    rows: list[int] = []
    for patient in np.unique(patients):
        own = [np.flatnonzero((patients == patient) & (labels == label))[:OF_A_CLASS] for label in (0, 1)]
        if all(len(each) == OF_A_CLASS for each in own) and len(rows) < 2 * OF_A_CLASS * PATIENTS:
            rows += [int(row) for each in own for row in each]
    folder.mkdir()
    for name, values in (("X", pixels[rows]), ("Y", labels[rows]), ("patients", patients[rows])):
        np.save(folder / f"{name}.npy", values)


@pytest.fixture(scope="module")
def numbers(report: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((report.parent / "report.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def predictions(report: Path) -> Predictions:
    return load_predictions(report.parent / "opening")


@pytest.fixture(scope="module")
def wide(browser: Browser, report: Path) -> Opened:
    return Opened(browser, report, 1440, 900)


@pytest.fixture(scope="module")
def phone(browser: Browser, report: Path) -> Opened:
    return Opened(browser, report, 390, 844, "dark")


def test_it_stands_alone_draws_everything_and_shows_every_patch(wide: Opened) -> None:
    seen.is_silent_and_alone(wide)
    seen.draws_every_figure_without_webgl(wide, at_least=26)
    seen.shows_every_picture(wide)
    seen.has_its_headings_in_order(wide)
    seen.is_light(wide)


@pytest.mark.parametrize("which", ["wide", "phone"])
def test_it_fits_every_screen(which: str, request: pytest.FixtureRequest) -> None:
    seen.does_not_scroll_sideways(request.getfixturevalue(which))


def test_axe_finds_no_serious_violation(phone: Opened, axe: str) -> None:
    """On a wide screen, and in the light, it looks at a made-up report, which is printed as well."""
    seen.is_accessible(phone, axe)


def test_it_is_dark_where_that_is_wanted(phone: Opened) -> None:
    seen.is_dark(phone)


def test_it_is_small_enough_to_mail(report: Path) -> None:
    assert report.stat().st_size < 15e6


@pytest.mark.parametrize("model", ["cnn", "vgg16"])
def test_ten_numbers_can_be_recomputed_from_the_stored_predictions(
    model: str, predictions: Predictions, numbers: dict[str, Any]
) -> None:
    labels, scores = predictions.labels, predictions.probabilities[model]
    called = (scores >= numbers["models"][model]["threshold"]).astype(int)
    expected = {
        "auc": sk.roc_auc_score(labels, scores),
        "average_precision": sk.average_precision_score(labels, scores),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, called),
        "f1": sk.f1_score(labels, called, zero_division=np.nan),
        "sensitivity": sk.recall_score(labels, called),
        "specificity": sk.recall_score(labels, called, pos_label=0),
        "ppv": sk.precision_score(labels, called, zero_division=np.nan),
        "npv": sk.precision_score(labels, called, pos_label=0, zero_division=np.nan),
        "brier": sk.brier_score_loss(labels, scores),
        "log_loss": sk.log_loss(labels, scores),
    }
    found = {metric: numbers["models"][model]["test"][metric]["value"] for metric in expected}
    assert {name: np.nan if one is None else one for name, one in found.items()} == pytest.approx(expected, nan_ok=True)


def test_the_search_was_real(numbers: dict[str, Any]) -> None:
    assert not numbers["data"]["synthetic"]
    assert "sha256" in numbers["models"]["vgg16"]["weights"]
    assert numbers["openings"] == 1
    assert {one["kind"] for one in numbers["examples"]} >= {"development"}
