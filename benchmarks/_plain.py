"""A plain PyTorch loop beside ours, on any device; imports nothing but torch, numpy and what ``models`` needs."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_utils.colour.augment import stain_jitter
from models._registry import load_model
from models._spec import Model
from search.training.device import Compute, layout_on
from search.training.device_patches import DevicePatches
from search.training.loop import Training, train

SIDE = 50
LONG = 100_000
"""Epochs of a schedule whose end no benchmark sees."""


def made_up(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 50, 50, 3) uint8 noise that is darker where the label is 1, and the labels."""
    labels = np.arange(count) % 2
    pixels = np.random.default_rng(0).integers(100, 256, (count, SIDE, SIDE, 3))
    return (pixels - 80 * labels[:, None, None, None]).astype(np.uint8), labels


def compute_on(device: str, precision: str, model: Model) -> Compute:
    """As a worker there would."""
    return Compute(device, precision, layout_on(device, model))


def ours(name: str, batch: int, compute: Compute, count: int, *, epochs: int = LONG, **params: float) -> Training:
    """Our training of the default configuration, but for ``batch`` and ``params``, on made-up patches."""
    model = load_model(name)
    config = model.configuration({**model.default, "batch_size": batch, **params})
    patches = DevicePatches.load(*made_up(count), compute.device)
    return Training.begin(model, config, None, patches, np.arange(count), epochs=epochs, seed=0, compute=compute)


def our_epochs(training: Training) -> Callable[[], int]:
    """A call trains an epoch; how many patches that are."""
    epochs = train(training)

    def step() -> int:
        next(epochs)
        return len(training.rows)

    return step


class PlainLoop:
    """The loop of PyTorch's tutorials: a batch from the host, turned and jittered, a loss that is read at each step.

    Network, views, jitter, batches and precision are those of a training of ours; the optimizer is PyTorch's own.
    """

    def __init__(self, training: Training) -> None:
        pixels, labels = made_up(len(training.rows))
        self._pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()  # (N, 3, 50, 50) uint8
        self._labels = torch.as_tensor(labels, dtype=torch.float32)
        self._network, self._compute, self._recipe = training.network, training.compute, training.recipe
        learns = [one for one in self._network.parameters() if one.requires_grad]
        self._optimizer = torch.optim.AdamW(learns, lr=self._recipe.learning_rate)
        self._draws = np.random.default_rng(0)
        self.loss = 0.0  # mean of the last epoch

    def epoch(self) -> int:
        """Trains an epoch; how many patches that are."""
        self._network.train()
        total = 0.0
        for rows in torch.randperm(len(self._labels)).split(self._recipe.batch_size):
            self._optimizer.zero_grad()
            loss = self._loss(self._pixels[rows], self._labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            total += loss.item() * len(rows)
        self.loss = total / len(self._labels)
        return len(self._labels)

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        images = pixels.to(self._compute.device).float() / 255
        if self._draws.random() < 0.5:
            images = images.flip(3)
        images = torch.rot90(images, int(self._draws.integers(4)), (2, 3))
        images = stain_jitter(images, self._recipe.stain_jitter, torch.default_generator)
        with self._compute.autocast():
            logits = self._network(self._compute.arrange(images))
        return F.binary_cross_entropy_with_logits(logits.float(), labels.to(self._compute.device))


class Cast(nn.Module):
    """A network in its precision, for what takes a module as a whole."""

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        super().__init__()
        self._network, self._compute = network, compute

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) float on the device -> (N,) float32 logits."""
        kind = torch.device(self._compute.device).type
        halved = self._compute.precision == "bf16"
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=halved, cache_enabled=False):
            logits: Tensor = self._network(images)
        return logits.float()
