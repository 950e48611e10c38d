"""A final model as one network, from pixels as they are in files to a probability: what ``search.export`` writes.

Preprocessing, the 8 views, all members, temperature and threshold are inside, so that nobody can leave one out.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from data_utils.colour.augment import VIEWS, view_sources
from data_utils.colour.preprocessing import Preprocessing
from data_utils.colour.tensors import EXPRESSIBLE, as_module
from data_utils.files import shown
from data_utils.readers.patchset import Pixels
from models._registry import load_model
from search.errors import UsageError
from search.final.members import StoredModel, check_model, names_prefix, same_tensors
from search.final.stored_ensemble import Final, StoredEnsemble, check_ensemble, each_with, models_in
from studies.errors import RecordError
from studies.findings.ensemble import ENSEMBLE
from studies.records import from_json

Outputs = tuple[npt.NDArray[Any], ...]
"""Logit (N,), probability (N,), called (N,)."""
Networks = Sequence[Sequence[nn.Module]]
"""The members of each single model that a final one is made of."""
Predictor = Callable[[Pixels], Outputs]
"""(N, side, side, 3) uint8 RGB, as it is in files -> ``Outputs``."""

INPUT, OUTPUTS = "pixels", ("logit", "probability", "called")
"""Names of what goes in and comes out, the same in every form."""


class Served(nn.Module):
    """uint8 RGB (N, side, side, 3) -> logit (N,), probability (N,), called (N,) whether it reaches the threshold.

    The logit is the mean over members and views, divided by the temperature; the probability is its sigmoid.
    """

    turned: Tensor

    def __init__(self, stored: StoredModel, members: Sequence[nn.Module], side: int) -> None:
        """``members`` are its networks; ``side`` is that of a patch, in pixels."""
        super().__init__()
        self.side, self.temperature, self.threshold = side, stored.temperature, stored.threshold
        self.colours = as_module(stored.preprocessing)
        self.members = nn.ModuleList(members)
        self.register_buffer("turned", view_sources(side, torch.device("cpu")).flatten(), persistent=False)
        self._one_prefix = names_prefix(stored) and all(
            same_tensors(members[0].get_submodule("prefix"), member.get_submodule("prefix")) for member in members
        )
        if self._one_prefix:
            for member in members:
                member.register_module("prefix", members[0].get_submodule("prefix"))
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        rgb = self.colours(pixels.permute(0, 3, 1, 2).float()) / 255  # (N, 3, side, side) in [0, 1]
        views = rgb.flatten(2)[:, :, self.turned].reshape(-1, 3, VIEWS, self.side, self.side)
        images = views.permute(0, 2, 1, 3, 4).reshape(-1, 3, self.side, self.side)  # (N * 8, 3, side, side)
        scores = torch.stack(self._logits(images)).reshape(len(self.members), -1, VIEWS)
        logit = scores.mean((0, 2)) / self.temperature
        probability = logit.sigmoid()
        return logit, probability, probability >= self.threshold

    def _logits(self, images: Tensor) -> list[Tensor]:
        """Of each member; layers that all share see a patch once, as they do in ``member_logits``."""
        if not self._one_prefix:
            return [member(images) for member in self.members]
        kept = self.members[0].get_submodule("prefix")(images).to(torch.bfloat16)
        return [member.after_prefix(kept) for member in self.members]  # type: ignore[operator]


class ServedEnsemble(nn.Module):
    """The same of an ensemble: its logit is the mean over its parts, divided by a temperature of its own."""

    def __init__(self, ensemble: StoredEnsemble, parts: Sequence[Served]) -> None:
        """``parts`` are those of the ensemble, in its order."""
        super().__init__()
        self.temperature, self.threshold = ensemble.temperature, ensemble.threshold
        self.times = [part.times for part in ensemble.parts]
        self.parts = nn.ModuleList(parts)
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Served``."""
        logits = [times * part(pixels)[0] for times, part in zip(self.times, self.parts, strict=True)]
        logit = torch.stack(logits).sum(0) / sum(self.times) / self.temperature
        probability = logit.sigmoid()
        return logit, probability, probability >= self.threshold


def predict(network: nn.Module, pixels: Pixels) -> Outputs:
    """What a network of either kind says of an array."""
    with torch.inference_mode():
        return tuple(output.numpy() for output in network(torch.from_numpy(np.ascontiguousarray(pixels))))


def serve(stored: Final, networks: Networks, side: int) -> nn.Module:
    """The final model of these networks as one.

    Raises:
        UsageError: the comparison's preprocessing cannot be written as a network.
    """
    for model, _ in models_in(stored, Path()):
        _check_expressible(model.preprocessing.kind)
    return _one(stored, networks, side)


def _one(stored: Final, networks: Networks, side: int) -> nn.Module:
    models = [model for model, _ in models_in(stored, Path())]
    parts = [Served(model, members, side) for model, members in zip(models, networks, strict=True)]
    return ServedEnsemble(stored, parts) if isinstance(stored, StoredEnsemble) else parts[0]


def _check_expressible(kind: str) -> None:
    if kind not in EXPRESSIBLE:
        raise UsageError(
            f"this model sees patches normalised by {kind}, which takes eigenvectors and percentiles of each patch, "
            "and no file that runs by itself can hold it; use --format safetensors"
        )


# --- a file of tensors ----------------------------------------------------------------------------------------------


def write_tensors(path: Path, networks: Networks, about: Mapping[str, str]) -> None:
    """Writes the tensors of all members, part by part, as "members.NUMBER.NAME"; ``about`` goes in as metadata."""
    tensors = {
        f"members.{number}.{name}": tensor.contiguous()
        for number, member in enumerate(member for members in networks for member in members)
        for name, tensor in member.state_dict().items()
    }
    path.write_bytes(save(tensors, dict(about)))  # save_file leaves one that nobody else may read


def read_tensors(path: Path) -> Predictor:
    """What predicts as the model of a file that ``search.export --format safetensors`` wrote.

    Raises:
        UsageError: it is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        stored = _stored(about, path)
        models = [model for model, _ in models_in(stored, path)]
        for model in models:
            check_model(model, path)
        number = count()
        networks = [[_member(model, tensors, next(number)) for _ in model.members] for model in models]
        network = _one(each_with(stored, preprocessing=Preprocessing()), networks, int(about["side"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, RecordError) as error:
        raise UsageError(
            f"{path} is no model that search.export --format safetensors of this version wrote ({shown(error)}); "
            "export it again"
        ) from error
    return lambda pixels: predict(network, models[0].preprocessing.apply(pixels))


def _stored(about: Mapping[str, str], path: Path) -> Final:
    if ENSEMBLE in about:
        ensemble = from_json(StoredEnsemble, about[ENSEMBLE], str(path))
        check_ensemble(ensemble, path)
        return ensemble
    return from_json(StoredModel, about["model"], str(path))


def _member(stored: StoredModel, tensors: Mapping[str, Tensor], number: int) -> nn.Module:
    model, begin = load_model(stored.model), f"members.{number}."
    network = model.build(model.configuration(stored.params), None)
    network.load_state_dict({name.removeprefix(begin): one for name, one in tensors.items() if name.startswith(begin)})
    return network.eval()
