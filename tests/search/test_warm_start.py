"""A search that begins from an older one, as a user sees it."""

from pathlib import Path

from tree import copy_tree

SEARCH = ("--model", "tiny", "--epochs", "2", "--pruner", "none", "--data", "synthetic:300")


def test_trials_of_an_older_study_are_told_apart_wherever_trials_are_told(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    tree.run("launch", *SEARCH, "--study", "old", "--trials", "3")
    new = ("launch", *SEARCH, "--study", "new", "--warm-start", "old", "--seed", "5")
    told = tree.run(*new, "--trials", "3").stdout
    assert "warm start from old-tiny: first the configurations of its trials " in told
    assert "; the sampler learns of 3 trials" in told
    assert "new-tiny: 3 COMPLETE; best 0." in told
    assert "3 taken over by --warm-start, of which only the sampler learns" in told
    again = tree.run(*new, "--trials", "4").stdout
    assert "new-tiny: 4 COMPLETE" in again
    entry = tree.status("new-tiny")
    assert (entry["trials"], entry["finished"]) == ({"COMPLETE": 4}, 4)
    assert "3 taken over by --warm-start" in " ".join(tree.run("status", "--study", "new").stdout.split())
    assert "0 problems" in tree.run("status", "--check").stdout
    tree.run("finalize", "--study", "new", "--finalists", "1", "--draws", "200", "--data", "synthetic:300")
    page = (tree.runs / "new" / "report.html").read_text()
    assert "3 trials of an older study, of which the sampler learned, are not shown nor counted." in page
