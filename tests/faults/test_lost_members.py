"""Members that were lost, and openings that were cut off: what is trained or read again is told, never passed over.

The tests of this file share one folder of results and follow each other in their order.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from cut_off import killed_at
from tree import Tree, copy_tree

STUDY = ("--study", "lost")
DATA = ("--data", "synthetic:300")
ELSEWHERE = "import torch; torch.rand(1)"
"""Stands for another machine: whatever is trained comes out otherwise."""
WHEN = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A search of two trials."""
    folder = tmp_path_factory.mktemp("lost")
    tree = copy_tree(folder / "tree", folder / "runs")
    tree.run("launch", "--model", "tiny", *DATA, "--trials", "2", "--epochs", "2", *STUDY)
    return tree


def folder_of(tree: Tree) -> Path:
    return tree.runs / "lost"


def named(tree: Tree) -> list[Path]:
    """The members that the final model names."""
    model = folder_of(tree) / "tiny"
    return [model / file for file, _ in json.loads((model / "model.json").read_text(encoding="utf-8"))["members"]]


def lose(member: Path) -> None:
    for kind in (".json", ".npz", ".safetensors"):
        member.with_suffix(kind).unlink()


def in_one_line(told: str) -> str:
    (line,) = told.strip().splitlines()
    return line


def test_a_check_before_any_member_is_trained_says_that_there_is_none(tree: Tree) -> None:
    said = tree.run("check", *STUDY, "--repeat", "1").stdout
    assert "no member of tiny is trained yet: python -m search.finalize --study lost does that" in said
    assert "1 networks trained again, none of them with another result" in said


def test_a_report_of_an_opening_that_was_cut_off_says_so(tree: Tree) -> None:
    assert "was not opened yet" in tree.run("report", *STUDY, expect=2).stderr
    killed_at(tree, "lost", "search.final.opening:open_sealed")
    told = in_one_line(tree.run("report", *STUDY, expect=2).stderr)
    assert re.search(rf"the opening of the test split of lost that was begun on {WHEN} was cut off: end it by ", told)
    assert told.endswith(f"python -m search.finalize --config {folder_of(tree)}/finalize.toml")
    tree.run("finalize", "--config", f"{folder_of(tree)}/finalize.toml")


def test_a_member_is_trained_again_on_the_same_machine_without_the_file_of_folds(tree: Tree) -> None:
    (folder_of(tree) / "data" / "folds.npy").unlink()
    said = tree.run("check", *STUDY, "--repeat", "1").stdout
    assert re.search(r"member of tiny \w+, fold 1 of 5, \d epochs: the same to the last bit", said)


@pytest.mark.parametrize("kind", ["all", ".safetensors", ".npz"])
def test_a_member_that_is_lost_comes_out_the_same_here_and_nothing_is_read_again(tree: Tree, kind: str) -> None:
    member = named(tree)[2]
    before = member.read_bytes()
    if kind == "all":
        lose(member)
    else:
        member.with_suffix(kind).unlink()
    said = " ".join(tree.run("finalize", *STUDY).stdout.split())
    assert "1 members that the plan was frozen with are lost, and trained again; where they come out otherwise" in said
    assert "nothing was read again" in said
    assert member.read_bytes() == before


def test_a_member_that_comes_out_otherwise_is_refused_by_name_and_never_passes_for_the_tested_one(
    tree: Tree, tmp_path: Path
) -> None:
    member, probe = named(tree)[1], tmp_path / "elsewhere.py"
    shutil.copytree(folder_of(tree) / "tiny" / "members", folder_of(tree).parent / "backup")
    lose(member)
    probe.write_text(ELSEWHERE)
    for there in (str(probe), ""):  # the second time it was trained before
        tree.environment["TINY_PROBE"] = there
        told = tree.run("finalize", *STUDY, expect=2).stderr.strip().splitlines()[-1]
        assert re.search(
            r"tiny trial \d, member 2: lost, trained again, and not those that the plan .* frozen with", told
        )
        assert f"from a backup ({folder_of(tree)}/MODEL/members)" in told
        assert told.endswith('python -m search.finalize --study lost --reopen "reason"')
    out = ("--out", str(tmp_path / "predictions.csv"))
    refused = in_one_line(
        tree.run("predict", "--model", str(folder_of(tree) / "tiny"), "--data", "synthetic:60:9", *out, expect=2).stderr
    )
    assert f"{member} was changed or trained again: its sha256 is " in refused
    assert "put it back from a backup, or run python -m search.finalize --study lost" in refused
    checked = tree.run("status", "--check", expect=1).stdout
    assert f"lost: {member} was changed or trained again" in checked
    assert "1 study checked, 1 problem" in checked


def test_with_the_lost_ones_put_back_all_is_as_it_was(tree: Tree) -> None:
    members = folder_of(tree) / "tiny" / "members"
    other = members.rename(members.with_name("other"))
    shutil.copytree(folder_of(tree).parent / "backup", members)
    assert "nothing was read again" in tree.run("finalize", *STUDY).stdout
    assert "1 study checked, 0 problems" in tree.run("status", "--check").stdout
    shutil.rmtree(members)
    other.rename(members)


def test_a_reopening_that_is_cut_off_leaves_the_earlier_opening_told(tree: Tree) -> None:
    other = ("--reopen", "the disk died", "--draws", "300")
    killed_at(tree, "lost", "search.final.opening:open_sealed", *other)
    told = in_one_line(tree.run("report", *STUDY, expect=2).stderr)
    assert re.search(rf"of lost was opened on {WHEN}, and another opening that was begun on {WHEN} was cut off", told)
    page = f"until then {folder_of(tree)}/report.html is that of the earlier opening"
    assert told.endswith(f"end it by python -m search.finalize --config {folder_of(tree)}/finalize.toml; {page}")


def test_members_that_were_trained_again_are_tested_for_a_reason_and_are_on_record(tree: Tree, tmp_path: Path) -> None:
    tree.run("finalize", "--config", f"{folder_of(tree)}/finalize.toml")
    report = json.loads((folder_of(tree) / "report.json").read_text(encoding="utf-8"))
    assert [opening["reason"] for opening in report["opening_log"]] == ["", "the disk died"]
    (again,) = report["plan"]["settings"]["trained again"]
    assert re.fullmatch(r"tiny trial \d, member 2", again)
    assert "trained again" in (folder_of(tree) / "report.html").read_text(encoding="utf-8")
    out = ("--out", str(tmp_path / "predictions.csv"))
    tree.run("predict", "--model", str(folder_of(tree) / "tiny"), "--data", "synthetic:60:9", *out)
    assert "1 study checked, 0 problems" in tree.run("status", "--check").stdout
    assert "nothing was read again" in tree.run("finalize", *STUDY, "--draws", "300").stdout


def test_a_check_says_that_members_are_lost(tree: Tree) -> None:
    shutil.rmtree(folder_of(tree) / "tiny" / "members")
    said = " ".join(tree.run("check", *STUDY, "--repeat", "1", expect=1).stdout.split())
    assert "no member of tiny is whole any more, though a plan was frozen with them: put " in said
    assert "1 networks trained again, none of them with another result" in said
