"""Final models at work: members that share their frozen layers."""

from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from optuna.trial import FixedTrial
from safetensors.torch import save_file
from torch import Tensor, nn

from data_utils.colour.augment import VIEWS
from data_utils.readers.patches import read_patches
from models._registry import load_model
from models.vgg16 import Vgg16
from search.final import members
from search.final.members import StoredModel, load_member, member_logits, penultimate, place_members
from search.training.device import PREDICTION_LAYOUT, Compute
from search.training.device_patches import DevicePatches
from search.training.loop import EVALUATION_BATCH, evaluate


def stored(folder: Path, *, same: bool, frozen: int = 5) -> StoredModel:
    """Three members of a vgg16 with random layers: the same ones in each, or others."""
    model = load_model("vgg16")
    params = {**model.default, "frozen_blocks": frozen, "head_width": 0}
    written = []
    for number in range(3):
        torch.manual_seed(0 if same else number)
        network = model.build(model.suggest(FixedTrial(params)), None)
        torch.manual_seed(number)
        nn.init.normal_(network.get_submodule("head")[-1].weight)
        path = folder / f"member_{number}.safetensors"
        save_file(network.state_dict(), path)
        written.append((path.name, sha256(path.read_bytes()).hexdigest()))
    return StoredModel("s", "vgg16", params, tuple(written), 1.0, 0.5, "fp32", "random", "p")


def one_by_one(model: StoredModel, folder: Path, pixels: np.ndarray) -> np.ndarray:
    """What each member says by itself."""
    compute = Compute("cpu", "fp32", PREDICTION_LAYOUT)
    patches = DevicePatches.load(pixels, np.zeros(len(pixels)), "cpu")
    networks = [compute.place(load_member(model, folder, number)) for number in range(3)]
    rows = np.arange(len(pixels))
    return np.stack(
        [evaluate(net, patches, rows, compute, views=range(VIEWS)).mean(axis=1) for net in networks], axis=1
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many patches went through frozen layers, and how many behind them."""
    counted: Counter[str] = Counter()
    behind = Vgg16.after_prefix

    def count_behind(network: Vgg16, kept: Tensor) -> Tensor:
        counted["behind"] += len(kept)
        return behind(network, kept)

    build = Vgg16.__init__

    def build_counted(network: Vgg16, *args: object) -> None:
        build(network, *args)  # type: ignore[arg-type]
        network.prefix.register_forward_hook(lambda _, inputs, __: counted.update(prefix=len(inputs[0])))

    monkeypatch.setattr(Vgg16, "after_prefix", count_behind)
    monkeypatch.setattr(Vgg16, "__init__", build_counted)
    return counted


def test_frozen_layers_that_members_share_see_each_patch_once(
    tmp_path: Path, seen: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EVALUATION_BATCH, "cpu", 2)
    monkeypatch.setattr(members, "_AT_ONCE_BEHIND", 4)  # two batches; the last piece is smaller
    pixels = read_patches("synthetic:60").pixels[:5]
    model = stored(tmp_path, same=True)
    found = member_logits(model, tmp_path, pixels, "cpu", lambda *_: None)
    assert seen == {"prefix": 5 * VIEWS, "behind": 3 * 5 * VIEWS}
    np.testing.assert_array_equal(found, one_by_one(model, tmp_path, pixels))
    assert len(np.unique(found.round(6))) == 3 * 5
    kept = members.SharedOutputs()
    for _ in ("chosen", "default"):  # two final models with the same frozen layers
        np.testing.assert_array_equal(member_logits(model, tmp_path, pixels, "cpu", lambda *_: None, kept), found)
    assert seen["prefix"] == (1 + 3 + 1) * 5 * VIEWS  # first, one by one, and for both at once


def test_members_with_layers_of_their_own_each_see_every_patch(tmp_path: Path, seen: Counter[str]) -> None:
    pixels = read_patches("synthetic:60").pixels[:2]
    model = stored(tmp_path, same=False)
    found = member_logits(model, tmp_path, pixels, "cpu", lambda *_: None)
    assert seen == {"prefix": 3 * 2 * VIEWS, "behind": 3 * 2 * VIEWS}
    np.testing.assert_array_equal(found, one_by_one(model, tmp_path, pixels))


def test_features_behind_layers_that_members_share_cost_one_look_at_each_patch(
    tmp_path: Path, seen: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_AT_ONCE_BEHIND", 4)
    pixels = read_patches("synthetic:60").pixels[:5]
    model = stored(tmp_path, same=True)
    networks = place_members(model, tmp_path, "cpu")
    found = penultimate(model, networks, pixels, "cpu")
    assert seen == {"prefix": 5, "behind": 3 * 5}
    for network, own in zip(networks, found, strict=True):
        np.testing.assert_array_equal(own, penultimate(model, [network], pixels, "cpu")[0])
