"""A model of an installed package of somebody else, from its search to its predictions, in a space of the user's."""

import csv
import json
import os
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from foreign import STORED, TYPED, forget, install
from inside import context_of, job_for
from tree import Tree, copy_tree

from search.workers.worker import Worker

DATA = ("--data", "synthetic:300")
PLACE = ("--study", "theirs", *DATA)
SEARCH = ("--model", TYPED, "--epochs", "1", "--pruner", "none", "--trials", "2", *PLACE)
SPACE = "width = [8, 12]\nlearning_rate = '1e-3..5e-3'\n"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    install(folder / "site")
    (folder / "space.toml").write_text(SPACE)
    return folder


@pytest.fixture(scope="module")
def finalized(packages: Path) -> Tree:
    """A comparison of that model alone, with its report."""
    tree = copy_tree(packages / "tree", packages / "runs")
    tree = replace(tree, environment={"PYTHONPATH": os.pathsep.join([str(tree.folder), str(packages / "site")])})
    told = tree.run("launch", *SEARCH, "--space", str(packages / "space.toml"))
    assert f"{STORED} begins with width 12 instead of 16, learning_rate 0.005 instead of 0.01" in " ".join(
        told.stdout.split()
    )
    tree.run("finalize", *PLACE, "--draws", "200")
    return tree


def without(tree: Tree) -> Tree:
    """The same where the package is not installed."""
    return replace(tree, environment={})


def test_its_trials_lie_in_the_space_and_belong_to_its_import_path(finalized: Tree, packages: Path) -> None:
    study = optuna.load_study(study_name=f"theirs-{STORED}", storage=f"sqlite:///{finalized.runs}/studies.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert all(trial.params["width"] in (8, 12) and trial.params["learning_rate"] <= 5e-3 for trial in study.trials)
    definition = study.user_attrs["definition"]
    assert (definition["model"], len(definition["source"])) == (STORED, 64)
    listed = [f"{STORED}.width=8/12", f"{STORED}.learning_rate=0.001..0.005"]
    assert study.user_attrs["settings"]["space"] == listed
    kept = tomllib.loads((finalized.runs / "theirs" / "launch.toml").read_text())
    assert (kept["model"], kept["set"], "space" in kept) == (STORED, ",".join(listed), False)
    assert finalized.status(f"theirs-{STORED}")["finished"] == 2
    other = finalized.run("launch", *SEARCH, expect=2).stderr
    assert "another space (learning_rate, width)" in other
    shown = finalized.run("launch", *SEARCH, "--space", str(packages / "space.toml"), "--dry-run").stdout
    assert "8 | 12" in shown
    assert "0.001 to 0.005 (log)" in shown


def test_its_report_shows_the_space_and_its_final_model_predicts(finalized: Tree, tmp_path: Path) -> None:
    folder = finalized.runs / "theirs"
    assert f"{STORED}.width=8/12" in (folder / "report.html").read_text()
    report = json.loads((folder / "report.json").read_text())
    assert list(report["models"]) == [STORED]
    assert report["studies"][f"theirs-{STORED}"]["settings"]["space"][0] == f"{STORED}.width=8/12"
    out = tmp_path / "predicted.csv"
    finalized.run("predict", "--model", str(folder / STORED), "--out", str(out), *DATA)
    with out.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 300
    without(finalized).run("report", "--study", "theirs")  # what is stored is enough


def test_one_that_is_missing_or_changed_is_named_in_one_line(finalized: Tree, packages: Path, tmp_path: Path) -> None:
    folder = finalized.runs / "theirs"
    predict = ("predict", "--model", str(folder / STORED), "--out", str(tmp_path / "out.csv"), *DATA)
    finalize = ("finalize", *PLACE, "--draws", "200")
    for command in (("launch", *SEARCH), finalize, predict):
        told = without(finalized).run(*command, expect=2).stderr
        assert f"There is no model {TYPED}: no module 'foreignlab' is found here. Install its package" in told
        assert told.count("\n") == 1
    file = packages / "site" / "foreignlab" / "nets" / "tiny.py"
    before = file.read_text()
    file.write_text(before.replace("std=(0.25, 0.25, 0.25)", "std=(0.5, 0.5, 0.5)"))
    try:
        for command, words in ((finalize, "since study theirs-"), (predict, "since ")):
            told = finalized.run(*command, expect=2).stderr
            assert f"the file of {TYPED} has changed {words}" in told
            assert told.count("\n") == 1
    finally:
        file.write_text(before)


def test_a_worker_looks_where_its_driver_found_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one on a Ray that was there before, whose PYTHONPATH is not the driver's."""
    install(tmp_path / "site")
    monkeypatch.setattr(sys, "path", [*sys.path])
    context, job = context_of(tmp_path / "data"), job_for(tmp_path / "checkpoint")
    job = replace(job, model=STORED, params={"width": 8, "learning_rate": 0.01, "stain_jitter": 0.0})
    context = replace(context, weights={STORED: None}, layouts={STORED: "contiguous"})
    assert "ModelError: There is no model" in str(Worker(context).begin(job).failure)
    told = Worker(replace(context, packages=(str(tmp_path / "site"),))).begin(job)
    assert told.failure is None
    assert sys.path[-1] == str(tmp_path / "site")  # last, so that it hides nothing
    forget()
