"""What could be learned of test patches without an opening: by our own commands, each of which counts it or refuses.

The tests of this file share one folder of results and follow each other in their order.
"""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cut_off import killed_at
from tree import Tree, copy_tree

from data_utils.split.cache import read_digests

DATA = ("--data", "synthetic:300")
SEARCH = ("--model", "tiny", "--epochs", "1", "--pruner", "none", *DATA)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A search of two trials under the name one, whose finalization was killed as it was about to read test rows."""
    folder = tmp_path_factory.mktemp("looks")
    tree = copy_tree(folder / "tree", folder / "runs")
    tree.run("launch", *SEARCH, "--trials", "2", "--study", "one")
    killed_at(tree, "one", "search.final.opening:open_sealed")
    return tree


def rows(tree: Tree, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        return connection.execute(query).fetchall()


def report(tree: Tree, study: str) -> dict[str, Any]:
    return dict(json.loads((tree.runs / study / "report.json").read_text(encoding="utf-8")))


def weaknesses(tree: Tree, study: str) -> dict[str, str]:
    return {one["name"]: one["meaning"] for one in report(tree, study)["weaknesses"]}


def sealed(tree: Tree, study: str) -> set[str]:
    return set(read_digests(tree.runs / study / "data" / "sealed").tolist())


def predict(tree: Tree, model: str, expect: int = 0) -> str:
    out = str(tree.runs / "predictions.csv")
    done = tree.run("predict", "--model", str(tree.runs / model / "tiny"), *DATA, "--out", out, expect=expect)
    return " ".join(done.stderr.split())


def test_no_model_can_be_used_before_its_opening_is_closed(tree: Tree) -> None:
    assert len(rows(tree, "select * from histotune_openings")) == 1
    assert rows(tree, "select * from histotune_closings") == []
    assert "holds no final model" in predict(tree, "one", expect=2)


@pytest.mark.parametrize("function", ["publish", "write_comparison_report"])
def test_a_finalization_that_is_cut_off_after_its_opening_still_leaves_its_model(tree: Tree, function: str) -> None:
    killed_at(tree, "one", f"search.final.procedure:{function}")
    assert len(rows(tree, "select * from histotune_closings")) == 1
    assert (tree.runs / "one" / "tiny" / "model.json").exists() == (function != "publish")


def test_a_model_scores_its_own_test_patches_after_the_opening_and_that_is_recorded(tree: Tree) -> None:
    tree.run("finalize", "--study", "one")
    count = len(sealed(tree, "one"))
    said = predict(tree, "one")
    assert f"{count} of 300 patches are sealed test patches of one: a score on them is no new evidence" in said
    assert "that is recorded" in said
    look = ("one", "prediction", count)
    assert [row[:3] for row in rows(tree, "select study, kind, patches from histotune_looks")] == [look]
    tree.run("report", "--study", "one")
    assert report(tree, "one")["looks"][0]["patches"] == count
    tree.run("status", "--check")


def test_a_model_does_not_score_what_another_comparison_has_sealed_and_not_opened(tree: Tree) -> None:
    tree.run("launch", *SEARCH, "--trials", "1", "--study", "two", "--split-seed", "7")
    unseen = sealed(tree, "two") - sealed(tree, "one")
    said = predict(tree, "one", expect=2)
    refused = f"{len(unseen)} of 300 patches are sealed test patches of two, whose test split was not opened yet"
    assert refused in said
    maps = ("--model", str(tree.runs / "one" / "tiny"), *DATA, "--out", str(tree.folder / "maps"))
    assert refused in tree.run("heatmap", *maps, expect=2).stderr.splitlines()[-1]
    assert not (tree.folder / "maps").exists()
    assert rows(tree, "select * from histotune_looks where study = 'two'") == []


def test_the_report_names_the_comparison_that_was_trained_on_these_test_patients(tree: Tree) -> None:
    tree.run("report", "--study", "one")
    meaning = weaknesses(tree, "one")["Test patients known from other splits"]
    assert "of the test patients are in two (" in meaning
    assert "1 trial ended there" in meaning


def test_a_warm_start_from_a_split_that_meets_the_test_is_refused_and_locks_nothing(tree: Tree) -> None:
    start = ("--trials", "1", "--study", "three", "--warm-start", "one")
    for dry in ((), ("--dry-run",)):
        done = tree.run("launch", *SEARCH, *start, "--split-seed", "3", *dry, expect=2)
        assert "the configurations of one were trained or chosen by" in done.stderr
    assert rows(tree, "select * from histotune_locks where study = 'three'") == []
    tree.run("launch", *SEARCH, *start)  # the same split: nothing of the test was known
    assert sealed(tree, "three") == sealed(tree, "one")


def test_trials_after_the_opening_change_no_number_and_are_told(tree: Tree) -> None:
    before = report(tree, "one")
    tree.run("launch", *SEARCH, "--trials", "5", "--study", "one")
    said = tree.run("report", "--study", "one").stdout
    assert "3 trials of one-tiny ended after the plan was frozen, and the report is without them" in said
    after = report(tree, "one")
    assert len(after["studies"]["one-tiny"]["trials"]) == 2
    for part in ("models", "searches", "plan", "plan_digest", "verdict"):
        assert after[part] == before[part], part
    assert "Short search" in weaknesses(tree, "one")
    again = " ".join(tree.run("finalize", "--study", "one").stdout.split())
    assert "nothing was read again" in again
    assert "3 trials of one-tiny ended after the plan was frozen" in again
    assert report(tree, "one")["models"] == before["models"]


@pytest.mark.parametrize("name", ["data.json", "environment.json", "tiny/out_of_fold/predictions.npz"])
def test_a_file_that_feeds_the_report_and_was_changed_is_named_on_its_first_screen(tree: Tree, name: str) -> None:
    path = tree.runs / "one" / name
    before = path.read_bytes()
    if name.endswith(".npz"):
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez(path, **{**arrays, "brightness": arrays["brightness"] + 1})
    else:
        told = json.loads(before)
        told |= {"fractions": [60, 20, 20]} if name == "data.json" else {"command": "python -m better"}
        path.write_text(json.dumps(told))
    said = tree.run("report", "--study", "one").stdout
    path.write_bytes(before)
    assert f"{path} is not what it was when the plan was frozen" in said
    assert f"{path} is not what it was" in weaknesses(tree, "one")["Changed records"]
    tree.run("report", "--study", "one")
    assert "Changed records" not in weaknesses(tree, "one")


def test_a_record_that_was_edited_in_the_database_is_named_on_the_first_screen(tree: Tree) -> None:
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        connection.execute("drop trigger histotune_openings_no_UPDATE")
        connection.execute("update histotune_openings set reason = 'a better reason', opened_at = opened_at + 9")
        connection.commit()
    assert "the opening 1 was edited in the database" in tree.run("report", "--study", "one").stdout
    assert "the opening 1 was edited" in weaknesses(tree, "one")["Changed records"]
    assert report(tree, "one")["verdict"]["strength"] != "shows"


def test_an_exploration_under_another_name_does_not_show_what_is_sealed(tree: Tree) -> None:
    hidden = sealed(tree, "one") | sealed(tree, "two")
    said = " ".join(tree.run("explore", *DATA, "--study", "look", "--vgg16-weights", "none").stderr.split())
    told = json.loads((tree.runs / "look" / "exploration.json").read_text(encoding="utf-8"))
    assert told["totals"]["patches"] == 300 - len(hidden)
    assert told["sealed"]["patches"] == len(sealed(tree, "one")), "which has the split of the defaults"
    assert ["sealed for the test of two", len(hidden - sealed(tree, "one"))] in told["exclusions"]
    assert said
    everything = ("--study", "look", "--vgg16-weights", "none", "--all")
    tree.run("explore", *DATA, *everything)
    looks = rows(tree, "select study, patches from histotune_looks where kind = 'exploration' order by study")
    assert looks == [(name, len(sealed(tree, name))) for name in ("one", "three", "two")]
    tree.run("report", "--study", "one")
    assert "search.explore --study look --all" in weaknesses(tree, "one")["Test patches were shown"]


def test_what_was_explored_before_the_split_was_drawn_is_on_record_under_every_name(tree: Tree) -> None:
    other = ("--data", "synthetic:240:5")
    tree.run("explore", *other, "--study", "careful", "--vgg16-weights", "none")
    tree.run("explore", *other, "--study", "early", "--vgg16-weights", "none", "--all")
    tree.run("launch", "--model", "tiny", "--epochs", "1", *other, "--trials", "1", "--study", "late")
    (look,) = rows(tree, "select kind, patches, words from histotune_looks where study = 'late'")
    assert look[:2] == ("exploration", len(sealed(tree, "late")))
    assert look[2].startswith("shown with their labels by search.explore --study early on 20")
    tree.run("launch", "--model", "tiny", "--epochs", "1", *other, "--trials", "1", "--study", "late")
    assert len(rows(tree, "select * from histotune_looks where study = 'late'")) == 1, "recorded once"


def test_predictions_of_patches_that_nobody_sealed_are_not_recorded(tree: Tree, tmp_path: Path) -> None:
    before = rows(tree, "select * from histotune_looks")
    out = tmp_path / "predictions.csv"
    model = str(tree.runs / "one" / "tiny")
    tree.run("predict", "--model", model, "--data", "synthetic:60:9", "--out", str(out))
    assert len(list(csv.reader(out.read_text().splitlines()))) == 61
    assert rows(tree, "select * from histotune_looks") == before
