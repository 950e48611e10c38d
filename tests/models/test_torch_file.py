"""VGG16's weights as a .pth file: tensors alone, checked like the others, the same by whatever file they come."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from models import _torch_file, _weights
from models._errors import WeightsError
from models._weights import OXFORD_MEAN, OXFORD_SHA256, expected_shapes, read_tensors, read_weights, vgg16_weights

Content = dict[str, Any]
FORMS = pytest.mark.parametrize("old", [False, True], ids=["since 1.6", "before"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if VGG16 had two convolutions: the real ones have 59 MB."""
    monkeypatch.setattr(_weights, "BLOCKS", ((4,), (8,)))


@pytest.fixture
def state(small: None) -> Content:
    """All of a model, as ``model.state_dict()`` has it."""
    made = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=made) for name, shape in expected_shapes().items()}
    return {**tensors, "classifier.0.weight": torch.ones(3, 3), "classifier.0.bias": torch.ones(3)}


def saved(content: object, path: Path, *, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


@FORMS
def test_a_whole_model_and_its_features_alone_are_the_weights_of_a_safetensors_file(
    state: Content, tmp_path: Path, *, old: bool
) -> None:
    features = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    alone = {name.removeprefix("features."): tensor for name, tensor in features.items()}
    metadata = {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}
    save_file({name: tensor.numpy() for name, tensor in features.items()}, tmp_path / "w.safetensors", metadata)
    expected = read_weights(tmp_path / "w.safetensors")
    for number, content in enumerate((state, features, alone)):
        weights = read_weights(saved(content, tmp_path / f"{number}.pth", old=old))
        assert (weights.sha256, weights.mean, weights.std) == (expected.sha256, expected.mean, expected.std)
        assert weights.source == f"file {number}.pth, its input taken to be normalised as torchvision's"
        read = read_tensors(weights)
        assert read.keys() == features.keys()
        assert all(np.array_equal(read[name], tensor) for name, tensor in features.items())
    found = vgg16_weights(None, {_weights.VARIABLE: str(tmp_path / "0.pth")})
    assert found is not None
    assert found.sha256 == expected.sha256


@FORMS
def test_the_known_tensors_bring_their_own_normalisation(shared: Path, tmp_path: Path, *, old: bool) -> None:
    tensors = load_file(shared / "weights" / "vgg16_imagenet_features.safetensors")
    path = saved({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, tmp_path / "vgg16.pth", old=old)
    weights = read_weights(path)
    assert (weights.sha256, weights.mean) == (OXFORD_SHA256, OXFORD_MEAN)
    assert "Simonyan" in weights.source


@FORMS
def test_torchvisions_own_network_is_read(tmp_path: Path, *, old: bool) -> None:
    from torchvision.models import vgg16

    network = vgg16(weights=None)
    network.classifier = nn.Sequential(nn.Linear(2, 2))  # of the real one's 500 MB nothing is read
    weights = read_weights(saved(network.state_dict(), tmp_path / "own.pth", old=old))
    assert np.array_equal(read_tensors(weights)["features.28.weight"], network.features[28].weight.detach().numpy())


class Harm:
    """What runs a command where it is unpickled by a reader that lets it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


REFUSED: dict[str, tuple[Callable[[Content], object], str]] = {
    "a network": (lambda _: nn.Linear(2, 2), r"does not hold tensors alone \(.*\); save tensors alone: torch.save"),
    "a checkpoint": (lambda state: {"state_dict": state, "epoch": 3}, "state_dict is dict, expected a tensor"),
    "a list": (lambda state: list(state.values()), "holds list, expected up to 1000 tensors"),
    "nothing": (lambda _: {}, "holds dict, expected up to 1000 tensors"),
    "half precision": (
        lambda state: {name: tensor.bfloat16() for name, tensor in state.items()},
        "features.0.weight is torch.bfloat16, expected float32 in one piece",
    ),
    "not finite": (
        lambda state: {**state, "features.0.bias": torch.full((4,), torch.nan)},
        "features.0.bias must be float32 and finite",
    ),
    "one too few": (
        lambda state: {name: tensor for name, tensor in state.items() if name != "features.0.bias"},
        r"1 tensors differ, first features.0.bias: expected \(4,\), found none",
    ),
    "normalised in between": (
        lambda state: {**state, "features.1.running_mean": torch.zeros(4)},
        "first features.1.running_mean: expected none",
    ),
    "few numbers that claim to be many": (
        lambda state: {**state, "features.9.weight": torch.zeros(1).expand(10**12)},
        "features.9.weight is torch.float32, expected float32 in one piece",
    ),
    "sparse": (
        lambda state: {**state, "features.0.bias": torch.zeros(4).to_sparse()},
        "features.0.bias is torch.float32, expected float32 in one piece",
    ),
}


@FORMS
@pytest.mark.parametrize("what", REFUSED)
def test_whatever_else_is_in_it_is_refused_in_one_line(state: Content, tmp_path: Path, what: str, *, old: bool) -> None:
    change, message = REFUSED[what]
    with pytest.raises(WeightsError, match=message) as refused:
        read_weights(saved(change(state), tmp_path / "w.pth", old=old))
    assert "\n" not in str(refused.value)


@FORMS
def test_nothing_that_a_file_names_is_called(state: Content, tmp_path: Path, *, old: bool) -> None:
    path = saved({**state, "features.0.bias": Harm(tmp_path / "mark")}, tmp_path / "w.pth", old=old)
    torch.load(path, weights_only=False)
    assert (tmp_path / "mark").exists()  # it would
    (tmp_path / "mark").unlink()
    with pytest.raises(WeightsError, match="does not hold tensors alone"):
        read_weights(path)
    assert not (tmp_path / "mark").exists()


@FORMS
@pytest.mark.parametrize("left", [20, 300, -100])
def test_a_truncated_file_is_refused(state: Content, tmp_path: Path, left: int, *, old: bool) -> None:
    path = saved(state, tmp_path / "w.pth", old=old)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(WeightsError, match=r"w\.pth"):
        read_weights(path)


def test_a_file_that_unpacks_to_more_is_refused(state: Content, tmp_path: Path) -> None:
    source = saved(state, tmp_path / "w.pth")
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(tmp_path / "z.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
    with pytest.raises(WeightsError, match="its parts are packed or too large"):
        read_weights(tmp_path / "z.pth")


@FORMS
def test_what_describes_the_tensors_may_not_grow(state: Content, tmp_path: Path, *, old: bool) -> None:
    """An empty list has 6 bytes in a file, and 64 in memory."""
    path = saved([[] for _ in range(250_000)], tmp_path / "w.pth", old=old)
    with pytest.raises(WeightsError, match=r"too large|describes too much"):
        read_weights(path)
    assert path.stat().st_size < 2 * _torch_file._MOST_DESCRIBED


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("X.npy", b"1")
    with pytest.raises(WeightsError, match="does not hold tensors alone"):
        read_weights(tmp_path / "w.pth")
