"""Databases and folders of the commit before the wings: a search begun, a search done, a test split opened."""

import json
import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from taken_up import SEARCH, take_up
from tree import Tree

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, str]:
    """The old results under today's packages, and where their patches are."""
    tree, data = take_up(tmp_path_factory.mktemp("old"))
    return tree, str(data)


def asked(tree: Tree, query: str) -> Rows:
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:
        return connection.execute(query).fetchall()


def trials(tree: Tree, study: str) -> Rows:
    return asked(
        tree,
        "select t.number, t.state, v.step, v.intermediate_value from trials t join studies s using (study_id) "
        f"left join trial_intermediate_values v using (trial_id) where s.study_name = '{study}' order by 1, 3",
    )


def test_nothing_is_wrong_with_it_but_the_trial_that_was_cut_off(old: tuple[Tree, str]) -> None:
    tree, _ = old
    said = tree.run("status", "--check", expect=1).stdout.splitlines()
    assert said == [
        "begun-tiny: RUNNING without a launch that is alive: 1 (the next launch takes them up)",
        "3 studies checked, 1 problem",
    ]


def test_a_search_that_was_begun_is_ended(old: tuple[Tree, str]) -> None:
    tree, data = old
    before = [row for row in trials(tree, "begun-tiny") if row[3] is not None]
    assert {row[1] for row in trials(tree, "begun-tiny")} == {"COMPLETE", "RUNNING"}
    tree.run("launch", *SEARCH, "--study", "begun", "--trials", "3", "--data", data)
    after = trials(tree, "begun-tiny")
    assert [row[0] for row in after] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert {row[1] for row in after} == {"COMPLETE"}
    kept = {(number, step): value for number, _, step, value in after}
    assert [kept[number, step] for number, _, step, _ in before] == [value for *_, value in before], "values were kept"
    assert "3 studies checked, 0 problems" in tree.run("status", "--check").stdout


def test_an_opened_test_split_is_reported_and_used_and_not_opened_again(old: tuple[Tree, str]) -> None:
    tree, data = old
    folder = tree.runs / "opened"
    before = json.loads((folder / "report.json").read_text())
    openings = asked(tree, "select * from histotune_openings where study = 'opened'")
    folds = (folder / "data" / "folds.npy").read_bytes()
    tree.run("report", "--study", "opened")
    assert (folder / "report.html").is_file()
    assert is_part(results(before), results(json.loads((folder / "report.json").read_text())))
    done = tree.run("finalize", "--study", "opened", "--draws", "200", "--workers", "1", "--data", data)
    assert "nothing was read again" in done.stdout
    assert (folder / "data" / "folds.npy").read_bytes() == folds, "its members were trained on these"
    assert asked(tree, "select * from histotune_openings where study = 'opened'") == openings
    out = folder.parent / "predictions.csv"
    told = tree.run("predict", "--model", str(folder / "tiny"), "--data", data, "--out", str(out)).stderr
    assert len(out.read_text().splitlines()) == 193
    assert (folder / "tiny" / "likeness.npz").is_file(), "what an earlier version did not keep"
    assert re.search(r"[0-9]+ of 192 patches are unlike the development patches: beyond the bounds of colour", told)


def test_a_search_that_was_done_is_not_searched_again_and_gets_its_report(old: tuple[Tree, str]) -> None:
    tree, data = old
    before = trials(tree, "done-tiny")
    tree.run("launch", *SEARCH, "--study", "done", "--trials", "3", "--data", data)
    assert trials(tree, "done-tiny") == before
    other = tree.run("launch", *SEARCH[:-1], "sha", "--study", "done", "--trials", "3", "--data", data, expect=2)
    assert "study done-tiny was begun with pruner none, not sha: trials would not be comparable" in other.stderr
    tree.run("finalize", "--study", "done", "--draws", "200", "--workers", "1", "--data", data)
    assert (tree.runs / "done" / "report.html").is_file()


RECORDED = (
    *("study", "openings", "frozen_first", "opening_log", "plan", "plan_digest", "frozen_at", "data", "studies"),
    *("searches", "environment"),
)


def results(report: dict[str, Any]) -> dict[str, Any]:
    """Of a report.json, what was recorded and what the predictions say; words, intervals and tables may improve."""
    entries = {**report["models"], **report["defaults"], **report["baselines"]}
    return {
        **{name: report[name] for name in RECORDED},
        "values": {
            entry: {metric: each["value"] for metric, each in found["test"].items() if each["value"] is not None}
            for entry, found in entries.items()
        },
        "calls": {entry: (found["confusion"], found["threshold"]) for entry, found in entries.items()},
        "fits": {name: (one["temperature"], one["threshold_rule"]) for name, one in report["models"].items()},
    }


def is_part(before: Any, after: Any) -> bool:
    """Whether all that was told before is told now, as it was; a later version may tell more."""
    if isinstance(before, dict):
        return all(name in after and is_part(part, after[name]) for name, part in before.items())
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(is_part, before, after))
    return before == (pytest.approx(after) if isinstance(after, float) else after)
