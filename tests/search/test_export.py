"""``search.export`` on a comparison whose test split was opened: the file, run elsewhere, and its model card."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from taken_up import take_up
from tree import Tree

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "search", "models", "data_utils", "studies", "onnx"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Nothing())
import numpy as np
import onnxruntime

model, pixels, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
np.save(out, session.run(["probability", "called"], {"pixels": np.load(pixels)}))
assert not {"torch", "search"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, str]:
    """A comparison that was opened, and the folder of its patches."""
    tree, data = take_up(tmp_path_factory.mktemp("export"))
    return tree, str(data)


@pytest.fixture(scope="module")
def exported(opened: tuple[Tree, str]) -> tuple[Path, str]:
    """The model as ONNX, and what was said."""
    tree, _ = opened
    out = tree.runs / "given" / "tiny.onnx"
    done = tree.run("export", "--model", str(tree.runs / "opened" / "tiny"), "--out", str(out))
    return out, done.stderr


def test_a_file_runs_without_torch_and_predicts_as_the_final_model(
    opened: tuple[Tree, str], exported: tuple[Path, str], tmp_path: Path
) -> None:
    tree, data = opened
    out, told = exported
    assert "5 members" in told
    assert "on 168 development patches it differs from PyTorch by at most" in told
    assert sorted(path.name for path in out.parent.iterdir()) == ["tiny.md", "tiny.onnx"]
    place = tmp_path / "alone.npy"
    command = [sys.executable, "-c", ALONE, str(out), str(Path(data) / "X.npy"), str(place)]
    subprocess.run(command, check=True, timeout=120, cwd=tmp_path)
    model = str(tree.runs / "opened" / "tiny")
    tree.run("predict", "--model", model, "--data", data, "--out", str(tmp_path / "p.csv"))
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    probability, called = np.load(place)
    np.testing.assert_allclose(probability, [float(row["probability"]) for row in rows], atol=1e-5)
    assert called.tolist() == [float(row["predicted"]) for row in rows]


def test_the_model_card_is_read_by_the_hub_and_has_the_numbers_of_the_report(
    opened: tuple[Tree, str], exported: tuple[Path, str]
) -> None:
    tree, _ = opened
    card = ModelCard.load(exported[0].with_suffix(".md"))
    report = json.loads((tree.runs / "opened" / "report.json").read_text(encoding="utf-8"))
    test = report["models"]["tiny"]["test"]
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license == "other"
    results = {one.metric_type: one for one in card.data.eval_results or []}
    assert results["roc_auc"].metric_value == test["auc"]["value"]
    assert results["recall"].metric_value == test["sensitivity"]["value"]
    assert {one.dataset_split for one in results.values()} == {"test"}
    for words in ("## Uses", "**Out of scope:**", "## Limits", "Energy was not measured", "no medical device"):
        assert words in card.text.replace("not a medical device", "no medical device")
    stored = json.loads((tree.runs / "opened" / "tiny" / "model.json").read_text())
    assert all(member in card.text for _, member in stored["members"])
    assert stored["plan_digest"] in card.text
    assert str(tree.runs) not in card.content, "a path of this machine"
