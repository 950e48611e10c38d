"""What a dry run measures: an epoch, and behind frozen layers what is computed once for all trials."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data_utils.split.prepare import DevelopmentSet, load_development, prepare
from models import vgg16
from models._registry import load_model
from search.training.device import layout_on
from search.training.jobs import FeatureStore, WorkerContext
from search.trials.pace import measured

HEAD = {"frozen_blocks": 5, "input_size": 32, "stain_jitter": 0.0, "head_width": 0, "batch_size": 16}
GIGABYTE = 2**30


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentSet:
    folder = tmp_path_factory.mktemp("pace") / "data"
    made = prepare("synthetic:120", folder, name="s", fractions=(70, 15, 15), seed=0, lock=None)
    return load_development(made.development)


@pytest.fixture
def whole_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many patches each batch had that went through all layers."""
    seen: list[int] = []
    forward = vgg16.Vgg16.forward

    def counting(self: vgg16.Vgg16, images: Tensor) -> Tensor:
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(vgg16.Vgg16, "forward", counting)
    return seen


@pytest.mark.parametrize(
    ("params", "limit", "pretrained", "kept"),
    [
        ({}, GIGABYTE, False, True),
        ({"stain_jitter": 0.05}, GIGABYTE, False, False),
        ({"frozen_blocks": 2}, GIGABYTE, False, False),
        ({}, 1000, False, False),
        ({}, None, False, False),
        ({}, GIGABYTE, True, False),
    ],
    ids=["kept", "jitter", "too few frozen", "no room", "none kept", "random layers"],
)
def test_layers_whose_outputs_a_search_keeps_are_timed_once(
    params: dict[str, object],
    limit: int | None,
    pretrained: bool,
    kept: bool,
    development: DevelopmentSet,
    tmp_path: Path,
    whole_passes: list[int],
) -> None:
    found = load_model("vgg16")
    default = {**found.default, **HEAD, **params}
    model = replace(found, default=default, pretrained=pretrained)  # type: ignore[arg-type]
    store = None if limit is None else FeatureStore(tmp_path / "not" / "there", limit)
    context = WorkerContext(
        Path(), "cpu", "fp32", 1, {"vgg16": layout_on("cpu", model)}, "auc", {"vgg16": None}, features=store
    )
    torch.set_num_threads(2)
    pace = measured(development, context, model)
    assert (pace.once > 0) is kept
    assert pace.epoch > 0
    epochs, rest = divmod(sum(whole_passes), int((development.part == "train").sum()))
    assert rest == 0
    assert (epochs == 0) is kept
    assert torch.get_num_threads() == 1
    assert list(tmp_path.iterdir()) == []
