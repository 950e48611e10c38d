"""How long a default configuration trains: a short epoch of it, with what is computed once for all trials apart."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_utils.split.prepare import DevelopmentSet
from models._spec import Model
from search.training.device import Compute, set_up
from search.training.device_patches import DevicePatches
from search.training.features import PrefixOutputs, bytes_kept, room
from search.training.jobs import WorkerContext
from search.training.loop import Training, count_parameters, train

_PATCHES = 512
_BATCH = 64
_COLD = 5.0  # seconds; of a first epoch that takes less, much may be what the first steps of a process take longer


@dataclass(frozen=True)
class Pace:
    """Of one network, on one worker's share of the machine.

    Attributes:
        parameters: of the network.
        epoch: seconds of an epoch for each patch; behind the frozen layers, where their outputs are kept.
        once: seconds of frozen layers for each patch in each view, where their outputs are kept; else 0.
    """

    parameters: int
    epoch: float
    once: float


class _InOneView:
    """Outputs of frozen layers as if they were kept: each patch's in one view, whichever is asked for."""

    def __init__(self, training: Training) -> None:
        rows = training.rows
        computed = PrefixOutputs(training.network.get_submodule("prefix"), training.patches, training.compute)
        batches = torch.split(rows, _BATCH)
        computed.outputs(batches[0], torch.ones_like(batches[0]))  # in another view: a first pass takes longer
        began = time.perf_counter()
        self._outputs = torch.cat([computed.outputs(some, torch.zeros_like(some)).cpu() for some in batches])
        self.seconds = time.perf_counter() - began
        self._places = torch.full((int(rows.max()) + 1,), -1).scatter(0, rows, torch.arange(len(rows)))
        self._device = training.compute.device

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, h, w) of one output."""
        return tuple(self._outputs.shape[1:])

    def outputs(self, rows: Tensor, views: Tensor) -> Tensor:  # noqa: ARG002 - as of KeptOutputs
        """(B, C, h, w) of these rows."""
        return self._outputs[self._places[rows]].to(self._device)


def measured(development: DevelopmentSet, context: WorkerContext, model: Model) -> Pace:
    """By the first training patches; outputs of frozen layers are kept here as a search would keep them."""
    rows = np.flatnonzero(development.part == "train")[:_PATCHES]
    labels = development.labels
    assert labels is not None
    set_up(context.device, context.threads)  # more would wait for cores that a search has given to other workers
    training = Training.begin(
        model,
        model.configuration(model.default),
        context.weights[model.name],
        DevicePatches.load(development.pixels, labels, context.device),
        rows,
        epochs=2,
        seed=0,
        compute=Compute(context.device, context.precision, context.layouts[model.name]),
    )
    once = _keep(training, context, model)
    epochs = train(training)
    seconds = next(epochs).seconds
    if seconds < _COLD:
        seconds = min(seconds, next(epochs).seconds)
    return Pace(count_parameters(training.network), seconds / len(rows), once / len(rows))


def _keep(training: Training, context: WorkerContext, model: Model) -> float:
    """Lets epochs begin behind the frozen layers where those of a search would; their seconds, else 0."""
    if context.features is None or context.kept_prefix(model, model.configuration(model.default)) is None:
        return 0.0
    kept = _InOneView(training)
    training.features = kept
    if training.learns_on_features and bytes_kept(len(training.patches.pixels), kept.shape) <= room(context.features):
        return kept.seconds
    training.features = None
    return 0.0
