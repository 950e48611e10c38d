"""The same command twice gives the same search, members and report; and what is stored can be trained again.

With one worker: two are handed their trials in the order in which they are ready, which a clock decides.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree import Tree, copy_tree, stored_values


def weights() -> str:
    """Pretrained layers where they are at hand: their outputs are kept, those of random ones are computed again."""
    shared = Path(os.environ.get("HISTOTUNE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    file = shared / "weights" / "vgg16_imagenet_features.safetensors"
    return str(file) if file.is_file() else "none"


pytestmark = pytest.mark.timeout(1200)  # two whole comparisons, beside other tests

SMALL = (
    *("--model", "cnn,vgg16", "--data", "synthetic:80", "--trials", "2", "--epochs", "1", "--vgg16-weights", weights()),
    *("--set", "cnn.width=16,cnn.kernel=3,vgg16.frozen_blocks=5,vgg16.input_size=32,vgg16.stain_jitter=0"),
)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, Tree]:
    """Two folders of results by the same two commands, of both models."""
    folder = tmp_path_factory.mktemp("repeats")
    packages = copy_tree(folder / "tree", folder / "first")
    trees = packages, Tree(packages.folder, folder / "second")
    for tree in trees:
        tree.run("launch", *SMALL, "--study", "same", seconds=500)
        tree.run("finalize", "--study", "same", "--draws", "200", seconds=500)
    return trees


def report(tree: Tree) -> dict[str, Any]:
    return dict(json.loads((tree.runs / "same" / "report.json").read_text(encoding="utf-8")))


def test_trials_are_the_same(twice: tuple[Tree, Tree]) -> None:
    one, other = (report(tree)["studies"] for tree in twice)
    for study in ("same-cnn", "same-vgg16"):
        first, second = (told[study]["trials"] for told in (one, other))
        assert [trial["params"] for trial in first] == [trial["params"] for trial in second]
        assert [trial["curve"] for trial in first] == [trial["curve"] for trial in second]
        assert [trial["state"] for trial in first] == [trial["state"] for trial in second]
    assert stored_values(twice[0].runs / "studies.db")


def test_members_are_the_same(twice: tuple[Tree, Tree]) -> None:
    one, other = ({path.relative_to(tree.runs): path.read_bytes() for path in weights_of(tree)} for tree in twice)
    assert len(one) >= 10
    assert one == other


def weights_of(tree: Tree) -> list[Path]:
    return sorted((tree.runs / "same").rglob("*.safetensors"))


def test_the_numbers_of_the_report_are_the_same(twice: tuple[Tree, Tree]) -> None:
    one, other = (report(tree) for tree in twice)
    for told in (one, other):
        for model in told["models"].values():
            for candidate in model["candidates"]:
                for member in candidate["members"]:
                    member.pop("seconds")
    for part in ("verdict", "models", "defaults", "baselines", "comparisons", "subgroups", "patients", "test_split"):
        assert one[part] == other[part], part


def test_what_shapes_the_numbers_is_told(twice: tuple[Tree, Tree]) -> None:
    for study in report(twice[0])["studies"].values():
        assert study["settings"]["workers"] == 1
        assert study["settings"]["device"] == "cpu"
        assert study["definition"]["layout"] in ("contiguous", "channels_last")
        assert study["definition"]["threads"] >= 1
        assert len(study["definition"]["source"]) == 64


def test_trials_and_a_member_are_trained_again_to_the_same_bits(twice: tuple[Tree, Tree]) -> None:
    said = twice[0].run("check", "--study", "same", "--repeat", "2").stdout.splitlines()
    assert [line.endswith("the same to the last bit") for line in said] == [True] * 6 + [False]
    assert sum(line.startswith("trial ") for line in said) == 4
    assert sum(line.startswith("member of ") for line in said) == 2
    assert said[-1] == "6 networks trained again, none of them with another result"


def test_what_does_not_come_out_again_is_told(twice: tuple[Tree, Tree], tmp_path: Path) -> None:
    shutil.copytree(twice[0].runs, tmp_path / "runs")
    tree = Tree(twice[0].folder, tmp_path / "runs")
    for path in (tree.runs / "same" / "cnn" / "members").rglob("member_0.npz"):
        with np.load(path) as stored:
            rows, logits = stored["rows"], stored["logits"]
        np.savez(path, rows=rows, logits=logits + 1)
    said = tree.run("check", "--study", "same", "--repeat", "1", expect=1).stdout
    assert "differs by up to 1" in said
    assert "4 networks trained again, 1 of them with another result" in said


def test_an_edited_model_does_not_mix_its_trials_with_those_of_before(twice: tuple[Tree, Tree], tmp_path: Path) -> None:
    shutil.copytree(twice[0].folder, tmp_path / "tree")
    shutil.copytree(twice[0].runs, tmp_path / "runs")
    tree = Tree(tmp_path / "tree", tmp_path / "runs")
    model = tree.folder / "models" / "cnn.py"
    model.write_text(model.read_text(encoding="utf-8").replace("MOMENTUM = 0.3", "MOMENTUM = 0.2"), encoding="utf-8")
    more = tuple("3" if one == "2" else one for one in SMALL)
    said = tree.run("launch", *more, "--study", "same", expect=2).stderr
    assert "study same-cnn was begun with source" in said
    assert "trials would not be comparable" in said
