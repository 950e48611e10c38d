"""Preprocessing in a comparison: one for all its studies, the same from the search to a prediction."""

import csv
import json
import re
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from inside import context_of, job_for
from optuna.trial import FixedTrial
from safetensors.torch import save_file
from tree import Tree, copy_tree, stored_values

from data_utils.colour.derived import derive, load_derived
from data_utils.colour.preprocessing import KINDS, Preprocessing, fit
from data_utils.readers.patches import read_patches
from data_utils.split.prepare import load_development
from models._registry import load_model
from search.command.settings import PREPROCESSINGS
from search.comparison import define
from search.errors import UsageError
from search.final.members import StoredModel, member_logits
from search.training.preprocess import chosen_preprocessing, kind_of, text_of
from search.workers.worker import Worker
from studies.records import from_json, to_json

LAUNCH = ("--model", "tiny", "--data", "synthetic:300", "--trials", "2", "--epochs", "2", "--study", "stained")
STAINED = (*LAUNCH, "--preprocess", "macenko")


def test_the_flag_offers_what_there_is() -> None:
    assert PREPROCESSINGS == KINDS


def test_studies_from_before_there_was_any_go_on() -> None:
    """This text stands in their definitions: with another one they would be refused."""
    asked = define(
        load_model("cnn"),
        None,
        lock_digest="a" * 64,
        epochs=3,
        objective="auc",
        precision="fp32",
        layout="contiguous",
        threads=1,
    )
    before = "RGB in [0, 1], normalised by the network; training: one of 8 dihedral views a patch and epoch"
    assert asked.preprocessing == before == text_of("none")


def test_each_kind_has_its_own_text() -> None:
    assert [kind_of(text_of(kind)) for kind in KINDS] == list(KINDS)
    with pytest.raises(UsageError, match=r"not known here \(of tomorrow\).*--study NEW"):
        kind_of("of tomorrow")


def test_the_first_study_chooses_and_later_ones_obey() -> None:
    assert chosen_preprocessing(None, None) == "none"
    assert chosen_preprocessing("reinhard", None) == "reinhard"
    assert chosen_preprocessing(None, "reinhard") == "reinhard"
    assert chosen_preprocessing("reinhard", "reinhard") == "reinhard"
    with pytest.raises(UsageError, match=r"--preprocess none: .* by reinhard, .*--study NEW"):
        chosen_preprocessing("none", "reinhard")


def test_a_final_model_transforms_what_it_sees_and_one_from_before_there_was_any_does_not(tmp_path: Path) -> None:
    pixels = read_patches("synthetic:60").pixels
    fitted = fit("macenko", pixels, np.arange(60))
    model = load_model("cnn")
    torch.manual_seed(0)
    network = model.build(model.suggest(FixedTrial(dict(model.default))), None)
    save_file(network.state_dict(), tmp_path / "member.safetensors")
    member = ("member.safetensors", sha256((tmp_path / "member.safetensors").read_bytes()).hexdigest())
    stained = StoredModel("s", "cnn", dict(model.default), (member,), 1.0, 0.5, "fp32", "random", "p", fitted)
    fields = json.loads(to_json(stained))
    del fields["preprocessing"]
    raw = from_json(StoredModel, json.dumps(fields), "model.json")
    assert raw == replace(stained, preprocessing=Preprocessing())
    found = member_logits(stained, tmp_path, pixels, "cpu", lambda *_: None)
    assert from_json(StoredModel, to_json(stained), "model.json") == stained
    np.testing.assert_array_equal(found, member_logits(raw, tmp_path, fitted.apply(pixels), "cpu", lambda *_: None))
    assert np.abs(found - member_logits(raw, tmp_path, pixels, "cpu", lambda *_: None)).max() > 1e-4


def test_a_worker_holds_the_transformed_pixels_and_keeps_their_features_apart(tmp_path: Path) -> None:
    context = context_of(tmp_path / "data")
    place = tmp_path / "data" / "reinhard"
    fitted = derive("reinhard", context.development, place)
    raw, worker = Worker(context), Worker(replace(context, preprocessed=place))
    np.testing.assert_array_equal(worker._patches.pixels.numpy(), fitted.apply(raw._patches.pixels.numpy()))
    assert worker._seen == (*raw._seen, fitted.digest)
    assert worker.begin(job_for(tmp_path / "one")).failure is None


def stored_model(tree: Tree) -> StoredModel:
    """Of the model that only the tree knows."""
    path = tree.runs / "stained" / "tiny" / "model.json"
    return from_json(StoredModel, path.read_bytes(), str(path))


@pytest.fixture(scope="module")
def stained(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A comparison on Macenko's pixels, taken all the way to its report."""
    folder = tmp_path_factory.mktemp("stained")
    tree = copy_tree(folder / "tree", folder / "runs")
    told = tree.run("launch", *STAINED).stdout
    assert re.search(r"pixels: macenko, fitted on \d+ training patches: haematoxylin 0\.", told)
    tree.run("finalize", "--study", "stained")
    return tree


def test_workers_learn_on_pixels_that_were_fitted_on_the_training_patches(stained: Tree) -> None:
    data = stained.runs / "stained" / "data"
    development = load_development(data / "development")
    pixels, fitted = load_derived(data / "macenko", development)
    assert fitted == fit("macenko", development.pixels, np.flatnonzero(development.part == "train"))
    np.testing.assert_array_equal(pixels, fitted.apply(development.pixels))
    assert stored_model(stained).preprocessing == fitted


def test_other_patches_are_scored_as_the_test_patches_were(stained: Tree, tmp_path: Path) -> None:
    final, out = stained.runs / "stained" / "tiny", tmp_path / "mine.csv"
    stained.run("predict", "--model", str(final), "--data", "synthetic:300", "--out", str(out))
    with out.open(newline="") as file:
        mine = {row["name"]: row for row in csv.DictReader(file)}
    with (stained.runs / "stained" / "test_predictions.csv").open(newline="") as file:
        theirs = {row["name"]: row for row in csv.DictReader(file) if row["model"] == "tiny"}
    assert len(theirs) > 10
    for name, row in theirs.items():
        assert float(mine[name]["probability"]) == pytest.approx(float(row["probability"]), abs=2e-6)
        assert mine[name]["predicted"] == row["predicted"]


def test_the_plan_and_the_report_say_what_was_done_and_how_it_was_fitted(stained: Tree) -> None:
    folder = stained.runs / "stained"
    told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    words = stored_model(stained).preprocessing.words
    assert told["plan"]["settings"]["preprocessing"] == words
    assert told["studies"]["stained-tiny"]["definition"]["preprocessing"] == text_of("macenko")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert words in page
    assert "Macenko&#39;s stain normalisation to the stains of the pooled training patches" in page


def test_another_one_under_the_same_name_is_refused_in_one_line(stained: Tree) -> None:
    told = stained.run("launch", *LAUNCH, "--preprocess", "none", expect=2).stderr
    assert re.search(r"--preprocess none: .* preprocessed by macenko.*--study NEW", told)
    assert len(told.strip().splitlines()) == 1


def test_the_comparison_goes_on_with_its_own_also_where_the_file_is_gone(stained: Tree) -> None:
    place = stained.runs / "stained" / "data" / "macenko"
    before = (place / "meta.json").read_bytes()
    shutil.rmtree(place)
    again = [*LAUNCH[:5], "3", *LAUNCH[6:]]
    assert again[4:6] == ["--trials", "3"]
    assert "pixels: macenko" in stained.run("launch", *again).stdout
    assert (place / "meta.json").read_bytes() == before
    assert len(stored_values(stained.runs / "studies.db")) == 3
