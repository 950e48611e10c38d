"""Final models on disk and at work: members as safetensors, a JSON that rebuilds them, one way to predict."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from data_utils.colour.augment import VIEWS
from data_utils.colour.preprocessing import Preprocessing
from data_utils.files import file_size, read_small, shown
from data_utils.readers.patchset import USUAL_SIDE, chunks, is_square
from models._foreign import is_foreign
from models._registry import load_model, source_digest, words_for
from models._spec import ParamValue
from search.errors import UsageError
from search.training.device import PREDICTION_LAYOUT, Compute
from search.training.device_patches import DevicePatches
from search.training.features import PrefixOutputs
from search.training.loop import evaluate
from search.trials.enqueue import check_inside
from search.trials.space import widest_space
from studies.records import from_json

MODEL_FILE = "model.json"
Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

_LARGEST = 2**20  # bytes of a model.json
_LARGEST_MEMBER = 2**31  # bytes; vgg16 with a head of its own takes 60 million
_AT_ONCE = 8192  # patches of the usual side transformed and on the device together: 60 MB; a multiple of every batch
_AT_ONCE_BEHIND = 512  # patches whose outputs of frozen layers are held in 8 views: up to 75 MB; as above
_KEPT_BEHIND = 2048  # the most that are held for another model: up to 300 MB


@dataclass(frozen=True)
class StoredModel:
    """What rebuilds a final model; lies as ``model.json`` beside its members.

    Attributes:
        study: name of the comparison.
        model: name of the model file.
        params: of the configuration.
        members: (file relative to this one, sha256 of it).
        temperature: the mean logit over views and members is divided by it.
        threshold: on the probability; at or above it a patch is called IDC.
        precision: in which it was trained and is to predict.
        weights: where the pretrained layers come from, in words.
        plan_digest: of the analysis plan that it was put to the test under.
        preprocessing: of all pixels that it is to see; none in models from before there was any.
        source: sha256 of the file of a model of another package, whose versions nobody here knows; else "".
        side: of the patches that it was trained on, in pixels; left out where it is that of all earlier models.
    """

    study: str
    model: str
    params: dict[str, ParamValue]
    members: tuple[tuple[str, str], ...]
    temperature: float
    threshold: float
    precision: str
    weights: str
    plan_digest: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    source: str = ""
    side: Annotated[int, Field(exclude_if=lambda side: side == USUAL_SIDE)] = USUAL_SIDE


def source_of(model: str) -> str:
    """What is stored of a model's file."""
    return source_digest(model) if is_foreign(model) else ""


def load_stored(folder: Path) -> StoredModel:
    """The final model in a folder such as ``runs/NAME/vgg16``.

    Raises:
        UsageError: there is none.
        RecordError: its JSON cannot be read.
    """
    path = folder / MODEL_FILE
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        raise UsageError(
            f"{folder} holds no final model: expected {MODEL_FILE} and its members, as search.finalize leaves them "
            "in runs/NAME/MODEL; runs/NAME itself is one where its plan has chosen the ensemble"
        )
    stored = _read(path)
    check_model(stored, path)
    return stored


def other_members(folder: Path) -> list[str]:
    """What of a final model's members is not as it was put to the test, a line each.

    Raises:
        RecordError: its JSON cannot be read.
    """
    return problems(_read(folder / MODEL_FILE), folder)


def problems(stored: StoredModel, folder: Path) -> list[str]:
    """The same of a model that was read."""
    found = (_problem(stored, folder, number) for number in range(len(stored.members)))
    return [problem for problem in found if problem is not None]


def _read(path: Path) -> StoredModel:
    return from_json(StoredModel, read_small(path, _LARGEST), str(path))


def check_model(stored: StoredModel, path: Path) -> None:
    """Refuses what no finalize writes, before a network as large as it claims is built, and another model's file."""
    if stored.source != source_of(stored.model):
        raise UsageError(
            f"{words_for(stored.model)} has changed since {path} was written: it would predict as another "
            "model. Put the file back as it was, or search anew: python -m search.launch --study NEW"
        )
    model = load_model(stored.model)
    space = widest_space(model)
    check_inside(stored.params, space, str(path))
    sound = {
        "params": space.keys() <= model.completed(stored.params).keys(),
        "members": len(stored.members) > 0,
        "temperature": 0 < stored.temperature < float("inf"),
        "threshold": 0 <= stored.threshold <= 1,
        "precision": stored.precision in ("fp32", "bf16"),
        "side": is_square(stored.side, stored.side),
    }
    wrong = [name for name, holds in sound.items() if not holds]
    if wrong:
        raise UsageError(
            f"{path} is no final model: {wrong[0]} is missing or out of range; expected it as search.finalize left it: "
            "put the original back"
        )


class SharedOutputs:
    """Outputs of frozen layers for the same patches, kept from one final model to the next that has the same layers.

    A model's chosen and its default configuration often differ in what lies behind them only.
    """

    def __init__(self) -> None:
        self._made_for: tuple[nn.Module, Preprocessing, Compute] | None = None
        self._pieces: dict[int, PrefixOutputs] = {}

    def of(
        self, prefix: nn.Module, preprocessing: Preprocessing, patches: DevicePatches, first: int, compute: Compute
    ) -> PrefixOutputs:
        """Of a piece of the patches that begins with the row ``first``; those beyond the first few are not kept."""
        if not self._fits(prefix, preprocessing, compute):
            self._made_for, self._pieces = (prefix, preprocessing, compute), {}
        found = self._pieces.get(first) or PrefixOutputs(prefix, patches, compute)
        if first + len(patches.pixels) <= _KEPT_BEHIND:
            self._pieces[first] = found
        return found

    def _fits(self, prefix: nn.Module, preprocessing: Preprocessing, compute: Compute) -> bool:
        if self._made_for is None:
            return False
        before, *other = self._made_for
        return other == [preprocessing, compute] and repr(before) == repr(prefix) and same_tensors(before, prefix)


def member_logits(
    stored: StoredModel,
    folder: Path,
    pixels: npt.NDArray[np.uint8],
    device: str,
    progress: Progress,
    kept: SharedOutputs | None = None,
    networks: Sequence[nn.Module] | None = None,
) -> Floats:
    """Each member's mean logit over the 8 views.

    Args:
        stored: the model.
        folder: of its JSON.
        pixels: (N, S, S, 3) uint8 RGB, as they are in files; they are preprocessed here.
        device: "cpu" or "cuda".
        progress: called with (members done, all).
        kept: for the same pixels, where several models see them.
        networks: its members in place on the device, where pixels come piece by piece; loaded and verified by default.

    Returns:
        (N, members).

    Raises:
        UsageError: a member's file is missing, or is not the one that was put to the test.
    """
    compute = Compute(device, stored.precision, PREDICTION_LAYOUT)
    if names_prefix(stored):
        loaded = networks or place_members(stored, folder, device)
        return _behind_one_prefix(stored, loaded, pixels, compute, progress, kept or SharedOutputs())
    columns = []
    for number in range(len(stored.members)):
        progress(number, len(stored.members))
        network = networks[number] if networks else compute.place(load_member(stored, folder, number))
        columns.append(_mean_logits(network, pixels, stored.preprocessing, compute))
    progress(len(stored.members), len(stored.members))
    return np.stack(columns, axis=1)


def place_members(stored: StoredModel, folder: Path, device: str) -> list[nn.Module]:
    """All members' networks, verified and in place on the device.

    Raises:
        UsageError: a member's file is missing, or is not the one that was put to the test.
    """
    compute = Compute(device, stored.precision, PREDICTION_LAYOUT)
    return [compute.place(load_member(stored, folder, number)) for number in range(len(stored.members))]


def _mean_logits(
    network: nn.Module, pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing, compute: Compute
) -> Floats:
    """(N,) mean logit over the 8 views."""
    found = [np.empty(0)]
    for piece in chunks(len(pixels), _AT_ONCE, pixels.shape[1]):
        patches = _seen(pixels[piece], preprocessing, compute)
        rows = np.arange(len(patches.pixels))
        found.append(evaluate(network, patches, rows, compute, views=range(VIEWS)).mean(axis=1))
    return np.concatenate(found)


def penultimate(
    stored: StoredModel, networks: Sequence[nn.Module], pixels: npt.NDArray[np.uint8], device: str
) -> list[npt.NDArray[np.float32]]:
    """What the last linear layer of each member is given of patches in view 0; empty where a network has none.

    Args:
        stored: the model.
        networks: its members in place on the device.
        pixels: (N, 50, 50, 3) uint8 RGB, as they are in files.
        device: "cpu" or "cuda".

    Returns:
        Of each member (N, D).
    """
    compute = Compute(device, stored.precision, PREDICTION_LAYOUT)
    layers = [[one for one in network.modules() if isinstance(one, nn.Linear)][-1:] for network in networks]
    if not all(layers):
        return []
    shared = names_prefix(stored) and _share_prefix(networks)
    found: list[list[npt.NDArray[np.float32]]] = [[] for _ in networks]
    for piece in chunks(len(pixels), _AT_ONCE_BEHIND):
        patches = _seen(pixels[piece], stored.preprocessing, compute)
        outputs = PrefixOutputs(networks[0].get_submodule("prefix"), patches, compute) if shared else None
        for (layer,), network, own in zip(layers, networks, found, strict=True):
            own.append(_given(layer, network, patches, compute, outputs))
    return [np.concatenate(own) for own in found]


def one_view(stored: StoredModel, network: nn.Module, pixels: npt.NDArray[np.uint8], device: str) -> Floats:
    """(N,) logits of patches, as they are in files, by one member in place on the device, unturned."""
    compute = Compute(device, stored.precision, PREDICTION_LAYOUT)
    patches = _seen(pixels, stored.preprocessing, compute)
    logits: Floats = evaluate(network, patches, np.arange(len(pixels)), compute)[:, 0]
    return logits


def _given(
    layer: nn.Module, network: nn.Module, patches: DevicePatches, compute: Compute, features: PrefixOutputs | None
) -> npt.NDArray[np.float32]:
    """(N, D) input of a layer while its network looks at the patches."""
    given: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].float().flatten(1).cpu()))
    try:
        evaluate(network, patches, np.arange(len(patches.pixels)), compute, features=features)
    finally:
        handle.remove()
    return torch.cat(given).numpy()


def _seen(pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing, compute: Compute) -> DevicePatches:
    seen = preprocessing.apply(pixels)
    return DevicePatches.load(seen, np.zeros(len(seen)), compute.device)


def names_prefix(stored: StoredModel) -> bool:
    """Whether its networks have frozen layers in front whose outputs may be shared."""
    model = load_model(stored.model)
    return model.prefix_name(model.configuration(stored.params)) is not None


def prefix_of(stored: StoredModel) -> tuple[str, str]:
    """The model and the name of such layers, "" where it has none: as ``NetworkSpeed.prefix_of``."""
    model = load_model(stored.model)
    return stored.model, model.prefix_name(model.configuration(stored.params)) or ""


def _behind_one_prefix(
    stored: StoredModel,
    networks: Sequence[nn.Module],
    pixels: npt.NDArray[np.uint8],
    compute: Compute,
    progress: Progress,
    kept: SharedOutputs,
) -> Floats:
    """(N, members) as ``member_logits``; frozen layers that the members share see each patch once."""
    count = len(networks)
    prefix, shared = networks[0].get_submodule("prefix"), _share_prefix(networks)
    found = np.empty((len(pixels), count))
    for piece in chunks(len(pixels), _AT_ONCE_BEHIND):
        patches = _seen(pixels[piece], stored.preprocessing, compute)
        outputs = kept.of(prefix, stored.preprocessing, patches, piece.start, compute) if shared else None
        rows = np.arange(len(patches.pixels))
        for number, network in enumerate(networks):
            progress(number, count)
            logits = evaluate(network, patches, rows, compute, views=range(VIEWS), features=outputs)
            found[piece, number] = logits.mean(axis=1)
    progress(count, count)
    return found


def _share_prefix(networks: Sequence[nn.Module]) -> bool:
    first, *others = (network.get_submodule("prefix") for network in networks)
    return all(same_tensors(first, other) for other in others)


def same_tensors(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules of the same kind hold the same numbers."""
    tensors = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in tensors)


def load_member(stored: StoredModel, folder: Path, number: int) -> nn.Module:
    """One member's network, its weights verified, on the CPU."""
    problem = _problem(stored, folder, number)
    if problem is not None:
        raise UsageError(problem)
    path = folder / stored.members[number][0]
    model = load_model(stored.model)
    network = model.build(model.configuration(stored.params), None)
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        reason = shown(error)
        raise UsageError(f"{path} does not fit {words_for(stored.model)}, which has changed since: {reason}") from error
    return network.eval()


def _problem(stored: StoredModel, folder: Path, number: int) -> str | None:
    """Why a member is not the one that was put to the test; None where it is."""
    file, expected = stored.members[number]
    path = folder / file
    if not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
        return (
            f"{folder / MODEL_FILE} names a member outside of its folder, {shown(file)}; expected it below: "
            "put the original back"
        )
    way_out = f"put it back from a backup, or run python -m search.finalize --study {shown(stored.study)}"
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        return f"{shown(path)} is missing: {folder / MODEL_FILE} names it as a member of the model; {way_out}"
    found = _sha256(path)
    if found != expected:
        return (
            f"{path} was changed or trained again: its sha256 is {found[:12]}, {MODEL_FILE} says {expected[:12]}; "
            f"{way_out}"
        )
    return None


def _sha256(path: Path) -> str:
    file_size(path, _LARGEST_MEMBER)
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
