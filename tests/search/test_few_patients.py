"""Few patients with IDC: whatever search.finalize will need is settled before the first trial."""

import json
from pathlib import Path

import numpy as np
import pytest
from tree import Tree, copy_tree

from data_utils.readers.patches import read_patches


def arrays(folder: Path, *, patients: int, with_idc: int) -> Path:
    """Seven patches of each patient; the first few have IDC in three of them."""
    made = read_patches("synthetic:600")
    assert made.labels is not None
    rest = {label: iter(np.flatnonzero(made.labels == label)) for label in (0, 1)}
    owners = np.repeat(np.arange(patients), 7)
    labels = (owners < with_idc) & (np.arange(len(owners)) % 7 < 3)
    rows = [next(rest[label]) for label in labels.astype(int)]
    folder.mkdir()
    np.save(folder / "X.npy", made.pixels[rows])
    np.save(folder / "Y.npy", labels.astype(np.int64))
    np.save(folder / "patients.npy", np.array([f"p{owner:02d}" for owner in owners]))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return copy_tree(tmp_path / "tree", tmp_path / "runs")


def test_four_patients_with_idc_get_fewer_folds_and_a_report(tree: Tree, tmp_path: Path) -> None:
    data = arrays(tmp_path / "data", patients=14, with_idc=4)
    asked = ("--model", "tiny", "--data", str(data), "--trials", "1", "--epochs", "1", "--study", "few")
    line = (
        "final models are retrained over 3 folds, not 5: each fold needs both classes, and of 12 development patients "
        "3 have patches with IDC, 12 have others"
    )
    for command in ("launch --dry-run", "launch", "finalize"):
        name, *dry = command.split()
        said = " ".join(tree.run(name, *(("--study", "few") if name == "finalize" else asked), *dry).stdout.split())
        assert line in said, command
    report = json.loads((tree.runs / "few" / "report.json").read_text(encoding="utf-8"))
    assert report["plan"]["settings"]["folds"] == 3
    assert {len(one["members"]) for one in report["models"]["tiny"]["candidates"]} == {3}
    assert "Few folds" in [one["name"] for one in report["weaknesses"]]
    page = (tree.runs / "few" / "report.html").read_text(encoding="utf-8")
    assert "Too few development patients have both classes for 5 folds, so there were 3" in page
    assert len(list((tree.runs / "few" / "tiny" / "members").glob("*/member_*.safetensors"))) == 3
