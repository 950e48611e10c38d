"""Patches of 96 pixels, in folders of other names than 0 and 1, through the whole main job."""

import csv
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tree import Tree, copy_tree

from data_utils.readers.patches import read_patches
from search.final.members import StoredModel
from studies.records import from_json, to_json

WORDS = ("normal", "tumor")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in PATIENT/WORD/, a few of them cut as at the border of a slide."""
    folder, made = tmp_path_factory.mktemp("pictures"), read_patches("synthetic:100@96")
    rows = zip(made.pixels, np.asarray(made.patients), np.asarray(made.labels), strict=True)
    for number, (pixels, patient, label) in enumerate(rows):
        file = folder / str(patient) / WORDS[label] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        if number % 40 == 0:
            Image.fromarray(pixels[:50]).save(file.with_name("border.png"))
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Tree:
    """Searched and opened; what the class is called is asked for once, by the launch."""
    folder = tmp_path_factory.mktemp("whole")
    tree = copy_tree(folder / "tree", folder / "runs")
    asked = ("--model", "tiny", "--trials", "1", "--epochs", "1", "--study", "large", "--data", str(data))
    tree.run("launch", *asked, "--positive", "tumor")
    tree.run("finalize", "--study", "large", "--draws", "200")
    return tree


def test_lock_model_and_report_know_the_side(done: Tree) -> None:
    folder = done.runs / "large"
    lock = json.loads((folder / "lock.json").read_text())
    assert (lock["side"], lock["positive"]) == (96, "tumor")
    assert json.loads((folder / "tiny" / "model.json").read_text())["side"] == 96
    report = json.loads((folder / "report.json").read_text())
    assert (report["data"]["side"], report["data"]["found"]) == (96, 103)
    assert report["data"]["exclusions"] == [["other size than 96x96", 3]]
    assert "A patch is 96 × 96 pixels of a slide" in (folder / "report.html").read_text(encoding="utf-8")
    pictures = {Image.open(BytesIO(file.read_bytes())).size for file in folder.rglob("examples/*.png")}
    assert pictures == {(96, 96)}


def test_a_model_of_the_usual_side_is_written_as_before() -> None:
    usual = StoredModel("s", "cnn", {}, (("m", "0"),), 1.0, 0.5, "fp32", "random", "p")
    assert '"side"' not in to_json(usual)
    assert '"side":96' in to_json(replace(usual, side=96))
    assert from_json(StoredModel, to_json(usual), "here").side == 50


def test_a_prediction_takes_that_side_alone(done: Tree, data: Path, tmp_path: Path) -> None:
    asked = ("--model", str(done.runs / "large" / "tiny"), "--out", str(tmp_path / "out.csv"))
    refused = done.run("predict", *asked, "--data", "synthetic:60", expect=2)
    assert refused.stderr.strip().endswith(
        f"synthetic:60 holds patches of 50 pixels; expected 96, on which {done.runs}/large/tiny was trained: cut them "
        "anew, at the scale of its training patches"
    )
    assert "\n" not in refused.stderr.strip()
    done.run("predict", *asked, "--data", str(data))
    with (tmp_path / "out.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 100


def test_another_launch_of_the_name_must_call_the_class_the_same(done: Tree, data: Path) -> None:
    asked = ("--model", "tiny", "--trials", "1", "--epochs", "1", "--study", "large", "--data", str(data))
    assert "class with IDC 1 (locked: tumor)" in done.run("launch", *asked, expect=2).stderr
