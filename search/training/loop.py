"""Trains and evaluates one network; knows neither Optuna nor Ray.

Training is a generator: the caller evaluates, reports, prunes or saves between epochs, and stops when it likes.
Whatever is random in an epoch depends on (seed, epoch) alone, so a run that goes on from a checkpoint equals one
that was never cut off. Patches stay uint8; each batch is gathered, turned and jittered on the device at once.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_utils.colour.augment import VIEWS, colour_jitter, stain_jitter
from search.training._recipe import class_weights, make_optimizer, rate_scale
from search.training.average import Average
from search.training.device import Compute, free_memory, is_out_of_memory
from search.training.device_patches import DevicePatches

if TYPE_CHECKING:
    from models._spec import Model, ModelConfig, Recipe
    from models._weights import Weights

EVALUATION_BATCH = {"cpu": 64, "cuda": 512}  # what fits the caches of the one and fills the other
Rows = npt.NDArray[np.int64]
SETUP, ORDER, DEVICE = range(3)  # what a seed is for, so that no two streams are the same


class TrainingDivergedError(Exception):
    """The loss is not a number any more; the message names the epoch."""


class OutOfMemoryError(Exception):
    """A batch does not fit, not even in parts; the message says what to do."""


class KeptOutputs(Protocol):
    """Outputs of a network's prefix that are computed once."""

    def outputs(self, rows: Tensor, views: Tensor) -> Tensor:
        """(B,) rows on the CPU, each in its view -> (B, C, h, w) bf16 on the device."""
        ...


@dataclass(frozen=True)
class EpochScores:
    """What training itself knows of an epoch.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's patches, as the weights changed, label smoothing and class weights included.
        seconds: of training alone.
    """

    epoch: int
    train_loss: float
    seconds: float


@dataclass(eq=False)
class Training:
    """A network in training; ``epoch`` counts those behind it."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    peak_rates: list[float]  # of the optimizer's groups, before the schedule
    recipe: "Recipe"
    patches: DevicePatches
    rows: Tensor  # (n,) int64 on the CPU
    class_weights: Tensor  # (2,) float32: weight of a patch without and with IDC
    epochs: int  # length of the schedule
    seed: int
    compute: Compute
    features: "KeptOutputs | None" = None  # kept outputs of the network's prefix
    epoch: int = 0
    parts: int = 1  # of a batch that does not fit into memory as a whole
    average: Average | None = None  # of the network's weights, which is scored in its stead

    @classmethod
    def begin(
        cls,
        model: "Model",
        config: "ModelConfig",
        weights: "Weights | None",
        patches: DevicePatches,
        rows: Rows,
        *,
        epochs: int,
        seed: int,
        compute: Compute,
        window: float = 0.0,
    ) -> "Training":
        """A freshly initialised network and its optimizer.

        Args:
            model: what builds the network.
            config: what to build, and how to train it.
            weights: for a pretrained model; None otherwise.
            patches: all patches of the worker.
            rows: (n,) those to train on.
            epochs: length of the learning-rate schedule; the caller may stop earlier.
            seed: of initial weights, order, views, jitter and dropout.
            compute: device, precision and layout.
            window: the share of all steps over which weights are averaged; 0 for no average.
        """
        with _seeded(_derive(seed, 0, SETUP), compute.device):
            network = compute.place(model.build(config, weights))
        optimizer = make_optimizer(model.parameter_groups(network, config), config.recipe)
        training = cls(
            network=network,
            optimizer=optimizer,
            peak_rates=[group["lr"] for group in optimizer.param_groups],
            recipe=config.recipe,
            patches=patches,
            rows=torch.as_tensor(rows),
            class_weights=class_weights(patches.labels[torch.as_tensor(rows, device=compute.device)], config.recipe),
            epochs=epochs,
            seed=seed,
            compute=compute,
        )
        if window > 0:
            training.average = Average(network, window * epochs * training.steps_per_epoch)
        return training

    @property
    def measured(self) -> nn.Module:
        """The network as it is scored: its averaged weights where there are such."""
        return self.network if self.average is None else self.average.network

    @property
    def learns_on_features(self) -> bool:
        """Whether epochs begin behind the prefix: its outputs are kept, and nothing changes the pixels before it."""
        return self.features is not None and self.recipe.stain_jitter == self.recipe.colour_jitter == 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return math.ceil(len(self.rows) / self.recipe.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """All that changes while training; plain tensors and numbers. Frozen layers come back when they are built."""
        frozen = self._frozen()
        return {
            "network": {name: held for name, held in self.network.state_dict().items() if name not in frozen},
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "parts": self.parts,
            **({} if self.average is None else {"average": self.average.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where ``state`` was taken; needs the same configuration, rows and seed to be the same run."""
        self.network.load_state_dict({**self.network.state_dict(), **state["network"]})
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self.parts = state["parts"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _frozen(self) -> set[str]:
        return {name for name, parameter in self.network.named_parameters() if not parameter.requires_grad}


def train(training: Training) -> Iterator[EpochScores]:
    """Trains epoch by epoch, from the one after ``training.epoch`` to ``training.epochs``.

    Raises:
        TrainingDivergedError: an epoch's loss is not finite.
        OutOfMemoryError: a batch does not fit, not even in two parts.
    """
    while training.epoch < training.epochs:
        began = time.perf_counter()
        loss = _train_epoch(training)  # waits for the device: the one synchronisation of an epoch
        training.epoch += 1
        if not math.isfinite(loss):
            raise TrainingDivergedError(f"The loss of epoch {training.epoch} is {loss}; try a smaller learning rate.")
        yield EpochScores(training.epoch, loss, time.perf_counter() - began)


def _train_epoch(training: Training) -> float:
    """One pass over the rows; the mean loss of its patches."""
    training.network.train()
    device = training.compute.device
    jitter = torch.Generator(device).manual_seed(_derive(training.seed, training.epoch, DEVICE))
    batches = _draw_epoch(training)
    total = torch.zeros((), device=device)
    with _seeded(_derive(training.seed, training.epoch, SETUP), device):
        for number, (rows, views) in enumerate(batches):
            _set_rates(training, training.epoch * len(batches) + number)
            total += _step(training, rows, views, jitter) * len(rows)
    return float(total) / len(training.rows)


def _draw_epoch(training: Training) -> list[tuple[Tensor, Tensor]]:
    """The epoch's order and views, in batches.

    They differ by one patch at most, so that no last one is too small for batch normalisation.
    """
    generator = torch.Generator().manual_seed(_derive(training.seed, training.epoch, ORDER))
    count = len(training.rows)
    order = training.rows[torch.randperm(count, generator=generator)]
    views = torch.randint(VIEWS, (count,), generator=generator)
    if not training.learns_on_features:  # patches are gathered on the device, kept outputs on the CPU
        order, views = order.to(training.compute.device), views.to(training.compute.device)
    steps = training.steps_per_epoch
    return list(zip(order.tensor_split(steps), views.tensor_split(steps), strict=True))


def _step(training: Training, rows: Tensor, views: Tensor, jitter: torch.Generator) -> Tensor:
    """One update of the weights; the batch's loss, still on the device.

    Where memory runs out, this and all later batches are taken in two parts, whose gradients add up to the same.
    """
    try:
        return _update(training, rows, views, jitter)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if training.parts > 1:
        raise OutOfMemoryError(
            f"out of memory with batches of {training.recipe.batch_size}, also in {training.parts} parts: use fewer "
            "workers on this device (--workers, --gpus-per-worker) or leave such configurations out of the space"
        )
    training.parts = 2
    free_memory(training.compute.device)
    return _step(training, rows, views, jitter)


def _update(training: Training, rows: Tensor, views: Tensor, jitter: torch.Generator) -> Tensor:
    training.optimizer.zero_grad()
    total = torch.zeros((), device=training.compute.device)
    parts = min(training.parts, len(rows))
    for some, turned in zip(rows.tensor_split(parts), views.tensor_split(parts), strict=True):
        loss = _loss(training, some, turned, jitter) * (len(some) / len(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    training.optimizer.step()
    if training.average is not None:
        training.average.follow()
    return total


def _loss(training: Training, rows: Tensor, views: Tensor, jitter: torch.Generator) -> Tensor:
    logits = _logits_in_training(training, rows, views, jitter)
    labels = training.patches.labels[rows.to(training.compute.device)]
    smoothing = training.recipe.label_smoothing
    targets = labels * (1 - smoothing) + smoothing / 2
    weight = training.class_weights[labels.long()]
    return F.binary_cross_entropy_with_logits(logits.float(), targets, weight)


def _logits_in_training(training: Training, rows: Tensor, views: Tensor, jitter: torch.Generator) -> Tensor:
    if training.learns_on_features:
        with training.compute.autocast():
            return _behind_prefix(training.network, training.features, rows, views, training.compute)
    images = training.patches.batch(rows, views)
    images = stain_jitter(images, training.recipe.stain_jitter, jitter)  # in fp32: evaluation rounds nothing in bf16
    images = colour_jitter(images, training.recipe.colour_jitter, jitter)
    with training.compute.autocast():
        logits: Tensor = training.network(training.compute.arrange(images))
    return logits


def _behind_prefix(
    network: nn.Module, features: "KeptOutputs | None", rows: Tensor, views: Tensor, compute: Compute
) -> Tensor:
    assert features is not None
    logits: Tensor = network.after_prefix(compute.arrange(features.outputs(rows, views)))  # type: ignore[operator]
    return logits


def _set_rates(training: Training, step: int) -> None:
    total = training.epochs * training.steps_per_epoch
    scale = rate_scale(step, total, training.recipe.schedule, training.recipe.warmup)
    for group, peak in zip(training.optimizer.param_groups, training.peak_rates, strict=True):
        group["lr"] = peak * scale


def evaluate(
    network: nn.Module,
    patches: DevicePatches,
    rows: Rows,
    compute: Compute,
    *,
    views: Sequence[int] = (0,),
    features: "KeptOutputs | None" = None,
) -> npt.NDArray[np.float64]:
    """Logits of patches in each of the views (0 to 7; 0 is the patch as it is).

    With ``features``, kept outputs of the network's prefix are used, which ends in the same logits.

    Returns:
        (len(rows), len(views)) logits.
    """
    network.eval()
    chosen = torch.as_tensor(rows, device=compute.device if features is None else "cpu")
    with torch.inference_mode(), compute.autocast():
        columns = [_logits(network, patches, chosen, view, compute, features) for view in views]
        return torch.stack(columns, dim=1).double().cpu().numpy()


def _logits(
    network: nn.Module,
    patches: DevicePatches,
    rows: Tensor,
    view: int,
    compute: Compute,
    features: "KeptOutputs | None",
) -> Tensor:
    """(len(rows),) float32 logits in one view, still on the device."""

    def logits(part: Tensor) -> Tensor:
        views = torch.full_like(part, view)
        if features is not None:
            return _behind_prefix(network, features, part, views, compute).float()
        found: Tensor = network(compute.arrange(patches.batch(part, views)))
        return found.float()

    size = EVALUATION_BATCH[torch.device(compute.device).type]
    return torch.cat([logits(part) for part in torch.split(rows, size)])


def count_parameters(network: nn.Module) -> int:
    """Numbers in the network that training could change or has frozen."""
    return sum(parameter.numel() for parameter in network.parameters())


def _derive(seed: int, epoch: int, purpose: int) -> int:
    """A seed of its own for each purpose of each epoch, in [0, 2^63)."""
    state = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Seeds PyTorch's own generators, which initialise layers and drive dropout, and puts them back at the end."""
    kind = torch.device(device).type
    with torch.random.fork_rng([] if kind == "cpu" else None, device_type="cuda"):
        torch.manual_seed(seed)
        yield
