"""All trials of a study failed: the exit code says so, and the way out that is told leads out."""

import re
import shlex
from pathlib import Path

import pytest
from tree import Tree, copy_tree

LAUNCH = ["--model", "tiny", "--data", "synthetic:300", "--study", "s", "--epochs", "1"]
REASON = r"3 x TimeoutError: it took longer than --trial-timeout 0\.01 s \(trials 0-2\)"
TOLD = rf"no trial of study s-tiny is COMPLETE \(3 FAIL\): {REASON}\. Mend this, then try 3 more: (python -m .*)"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("packages")
    return copy_tree(folder / "tree", folder / "runs")


def test_all_trials_that_failed_are_an_exit_code_a_reason_and_a_way_out_that_leads_out(tree: Tree) -> None:
    failing = ["launch", *LAUNCH, "--trials", "3", "--trial-timeout", "0.01"]
    for _ in ("the launch", "the same again, which finds nothing to do"):
        done = tree.run(*failing, expect=1)
        told = re.fullmatch(TOLD, done.stderr.strip())
        assert told, done.stderr
        assert "next:" not in done.stdout
    finalize = tree.run("finalize", "--study", "s", expect=2).stderr.strip()
    assert finalize == told[0]
    (shown,) = re.findall(r"next +(.*)", tree.run("status").stdout.replace("\n                ", " "))
    assert "Mend this" in shown
    words = shlex.split(told[1])
    assert words[:3] == ["python", "-m", "search.launch"]
    words[words.index("--trial-timeout") + 1] = "300"  # mended
    done = tree.run("launch", *words[3:])
    assert "3 COMPLETE, 3 FAIL" in done.stdout
    assert "next: python -m search.finalize --study s" in done.stdout


def test_a_model_that_lacks_a_best_trial_is_told_of_where_another_one_has_its_own(tree: Tree, tmp_path: Path) -> None:
    """Finalize takes all studies of a comparison, also those that this launch knows nothing of."""
    other = Tree(tree.folder, tmp_path / "runs")
    (tree.folder / "models" / "small.py").write_text((tree.folder / "models" / "tiny.py").read_text())
    place = ["--data", "synthetic:300", "--study", "s", "--epochs", "1", "--trials", "1"]
    other.run("launch", "--model", "small", *place, "--trial-timeout", "0.01", expect=1)
    done = other.run("launch", "--model", "tiny", *place)
    assert re.search(r"next: no trial of study s-small is COMPLETE .* then try 1 more: .*--trials 2", done.stdout)
    assert "search.finalize" not in done.stdout


def test_five_that_failed_and_were_all_that_was_asked_for_need_more(tree: Tree, tmp_path: Path) -> None:
    other = Tree(tree.folder, tmp_path / "runs")
    done = other.run("launch", *LAUNCH, "--trials", "5", "--trial-timeout", "0.01", expect=1)
    assert "all 5 trials failed: 5 x TimeoutError" in done.stderr
    assert "then run the same command again with more --trials" in done.stderr
