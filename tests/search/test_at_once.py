"""Two launches of one comparison that begin at the same moment: what is decided once, the first of them decides."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from forks import Forked
from tree import FORKS, Tree, copy_tree, wait_until

MEET = """
import importlib, os, sys, time
from pathlib import Path

folder = Path(sys.argv.pop(1))

def meet_at(function, seconds):
    where, name = function.split(":")
    owner, place = importlib.import_module(where), folder / name
    original = getattr(owner, name)
    place.mkdir(exist_ok=True)

    def met(*given, **named):
        found = original(*given, **named)
        (place / str(os.getpid())).touch()
        until = time.monotonic() + seconds
        while len(list(place.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        return found

    setattr(owner, name, met)

for function in sys.argv.pop(1).split(","):
    meet_at(function, 10 if "check_resumed" in function else 100)
from search.launch import main
from search.command.outcome import run_command
sys.exit(run_command(main))
"""
CHOSEN = "search.trials.course:_context"
"""Behind it a launch knows what it would train with, and has stored nothing of that."""
SEARCH = ("--study", "same", "--data", "synthetic:300", "--trials", "1", "--epochs", "1", "--workers", "1")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With two small models."""
    folder = tmp_path_factory.mktemp("packages")
    tree = copy_tree(folder / "tree", folder / "runs")
    shutil.copy(tree.folder / "models" / "tiny.py", tree.folder / "models" / "small.py")
    return tree.folder


def meeting_at(tree: Tree, functions: str, *arguments: str) -> Forked:
    """A launch that waits behind each ``module:function`` for another one to come as far."""
    place = tree.runs.parent / "met"
    place.mkdir(exist_ok=True)
    command = [sys.executable, "-c", MEET, str(place), functions, *tree.command("launch", *SEARCH, *arguments)[3:]]
    return FORKS.start(command, folder=tree.folder, environment=tree.environ())


def definitions(tree: Tree) -> dict[str, dict[str, Any]]:
    """Study -> its definition."""
    query = (
        "select study_name, value_json from study_user_attributes join studies using (study_id) "
        "where key = 'definition'"
    )
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        return {name: json.loads(text) for name, text in connection.execute(query)}


def test_models_that_are_begun_at_once_are_trained_on_one_number_of_threads(packages: Path, tmp_path: Path) -> None:
    """Each launch had found no study yet, kept its own number, and every later one of both was refused for good."""
    tree = Tree(packages, tmp_path / "runs")
    asked = {"tiny": "1", "small": "2"}
    launches = [meeting_at(tree, CHOSEN, "--model", model, "--cpus-per-worker", cpus) for model, cpus in asked.items()]
    for launch in launches:
        output, _ = launch.communicate(300)
        assert launch.returncode == 0, output
    threads = {name: found["threads"] for name, found in definitions(tree).items()}
    assert set(threads) == {"same-tiny", "same-small"}
    assert len(set(threads.values())) == 1
    more = (*SEARCH[:4], "--trials", "2", *SEARCH[6:])
    tree.run("launch", *more, "--model", "tiny,small", "--cpus-per-worker", "2")
    tree.run("finalize", "--study", "same", "--draws", "200")


def test_a_launch_that_another_has_overtaken_takes_its_threads_over(packages: Path, tmp_path: Path) -> None:
    """It had looked before the other stored them, and was refused by its own number: "give the old settings"."""
    tree = Tree(packages, tmp_path / "runs")
    late = meeting_at(tree, CHOSEN, "--model", "tiny", "--cpus-per-worker", "2", "--trials", "2")
    met = tree.runs.parent / "met" / "_context"
    wait_until(lambda: met.is_dir() and any(met.iterdir()), 100, "a launch that knows what it would train with")
    tree.run("launch", *SEARCH, "--model", "tiny", "--cpus-per-worker", "1")
    threads = definitions(tree)["same-tiny"]["threads"]
    (met / "the other").touch()
    output, _ = late.communicate(300)
    assert late.returncode == 0, output
    assert tree.status("same-tiny")["finished"] == 2
    assert definitions(tree)["same-tiny"]["threads"] == threads == 1
    tree.run("launch", *SEARCH, "--model", "tiny")  # for one trial, where there are two: nothing is to be done
    tree.run("status", "--study", "same", "--check")


def test_one_study_that_is_begun_at_once_has_the_definition_of_one_launch(packages: Path, tmp_path: Path) -> None:
    """Both had found none, and the second wrote its own over that under which the first one's trials ran."""
    tree = Tree(packages, tmp_path / "runs")
    both = f"studies.storage.studies:check_resumed,{CHOSEN}"  # in this order: the second is imported with the first
    launches = [meeting_at(tree, both, "--model", "tiny", "--epochs", epochs) for epochs in ("1", "2")]
    said = [launch.communicate(300)[0] for launch in launches]
    assert sorted(launch.returncode for launch in launches) == [0, 2], said
    kept = definitions(tree)["same-tiny"]["epochs"]
    refused = said[kept == 1].strip().splitlines()[-1]
    assert f"study same-tiny was begun with epochs {kept}, not {3 - kept}" in refused
