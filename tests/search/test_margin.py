"""A margin that was planned before, and what the test patients can show: through the commands, on real files."""

import json
from pathlib import Path

import pytest
from tree import Tree, copy_tree

SEARCH = ("--model", "tiny", "--data", "synthetic:300", "--study", "planned", "--epochs", "1", "--trials", "2")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return copy_tree(tmp_path / "tree", tmp_path / "runs")


def test_a_margin_is_frozen_and_cannot_be_changed_after_the_opening(tree: Tree) -> None:
    dry = " ".join(tree.run("launch", *SEARCH, "--dry-run").stdout.split())
    assert "test patients can show a difference of AUC of 0." in dry
    tree.run("launch", *SEARCH)
    assert "--margin" in tree.run("finalize", "--study", "planned", "--margin", "0.7", expect=2).stderr
    tree.run("finalize", "--study", "planned", "--draws", "100", "--margin", "0.02")
    report = json.loads((tree.runs / "planned" / "report.json").read_text(encoding="utf-8"))
    assert (report["margin"], report["plan"]["margin"]) == (0.02, 0.02)
    again = tree.run("finalize", "--study", "planned", "--draws", "100", "--margin", "0.02")
    assert "nothing was read again" in again.stdout
    for margin in ((), ("--margin", "0.05")):
        refused = tree.run("finalize", "--study", "planned", "--draws", "100", *margin, expect=2)
        assert "was opened before, under another plan" in refused.stderr
