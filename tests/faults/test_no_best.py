"""All trials of a study failed: the exit code says so, and the way out that is told leads out."""

import re
import shlex
from pathlib import Path

import pytest
from tree import Tree, copy_tree, stored_values

LAUNCH = ["--model", "tiny", "--data", "synthetic:300", "--study", "s", "--epochs", "1"]
REASON = r"3 x RuntimeError: not today \(trials 0-2\)"
TOLD = rf"no trial of study s-tiny is COMPLETE \(3 FAIL\): {REASON}\. Mend this, then try 3 more: (python -m .*)"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("packages")
    return copy_tree(folder / "tree", folder / "runs")


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """What a model that cannot be built does; mended once the file is empty."""
    file = tmp_path / "probe.py"
    file.write_text("raise RuntimeError('not today')")
    return file


def test_all_trials_that_failed_are_an_exit_code_a_reason_and_a_way_out_that_leads_out(
    tree: Tree, probe: Path, tmp_path: Path
) -> None:
    tree = Tree(tree.folder, tmp_path / "runs", environment={"TINY_PROBE": str(probe)})
    failing = ["launch", *LAUNCH, "--trials", "3"]
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
    probe.write_text("")  # mended
    done = tree.run("launch", *words[3:])
    assert "3 COMPLETE, 3 FAIL" in done.stdout
    assert "next: python -m search.finalize --study s" in done.stdout


def test_a_model_that_lacks_a_best_trial_is_told_of_where_another_one_has_its_own(
    tree: Tree, probe: Path, tmp_path: Path
) -> None:
    """Finalize takes all studies of a comparison, also those that this launch knows nothing of."""
    other = Tree(tree.folder, tmp_path / "runs", environment={"TINY_PROBE": str(probe)})
    (tree.folder / "models" / "small.py").write_text((tree.folder / "models" / "tiny.py").read_text())
    place = ["--data", "synthetic:300", "--study", "s", "--epochs", "1", "--trials", "1"]
    other.run("launch", "--model", "small", *place, expect=1)
    probe.write_text("")
    done = other.run("launch", "--model", "tiny", *place)
    assert re.search(r"next: no trial of study s-small is COMPLETE .* then try 1 more: .*--trials 2", done.stdout)
    assert "search.finalize" not in done.stdout


def test_five_that_failed_and_were_all_that_was_asked_for_need_more(tree: Tree, probe: Path, tmp_path: Path) -> None:
    other = Tree(tree.folder, tmp_path / "runs", environment={"TINY_PROBE": str(probe)})
    done = other.run("launch", *LAUNCH, "--trials", "5", expect=1)
    assert "all 5 trials failed: 5 x RuntimeError: not today" in done.stderr
    assert "then run the same command again with more --trials" in done.stderr


def test_trials_whose_time_is_over_keep_the_epoch_that_crossed_it_and_do_not_end_the_search(
    tree: Tree, tmp_path: Path
) -> None:
    other = Tree(tree.folder, tmp_path / "runs")
    limited = ["launch", *LAUNCH[:-1], "2", "--pruner", "none", "--trials", "6", "--trial-timeout", "0.001"]
    done = other.run(*limited, expect=1)
    why = r"6 x OutOfTimeError: it took longer than --trial-timeout 0\.001 s \(trials 0-5\)"
    assert re.search(
        rf"no trial of study s-tiny is COMPLETE \(6 PRUNED\): {why}\. Mend this, then try 6 more: ", done.stderr
    )
    assert stored_values(other.runs / "studies.db") == {number: [1] for number in range(6)}
    assert "cut short" in other.run("status").stdout
    other.run(*limited[:-4], "--trials", "7", "--trial-timeout", "300")
    assert other.status("s-tiny")["trials"] == {"COMPLETE": 1, "PRUNED": 6}


def test_the_last_epoch_may_cross_the_limit(tree: Tree, tmp_path: Path) -> None:
    other = Tree(tree.folder, tmp_path / "runs")
    other.run("launch", *LAUNCH, "--trials", "2", "--trial-timeout", "0.001")
    assert other.status("s-tiny")["trials"] == {"COMPLETE": 2}
