"""The peers' training: what the documentation of PyTorch and torchvision would have a user write, in fp32.

A ``Dataset`` of patches, ``torchvision.transforms.v2`` patch by patch, a ``DataLoader``, and the loop of PyTorch's
tutorials. Network, search space, recipe, patches and split are ours, so that both sides do the same work; patches come
cleaned and split. The DataLoader keeps its default of no worker processes: each trial has one core to itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from optuna.trial import FixedTrial
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from data_utils.colour.augment import dihedral, stain_jitter
from models._registry import load_model
from models._spec import Recipe
from models._weights import Weights
from search.training._recipe import class_weights, rate_scale
from search.training.average import Average
from studies.measure import BEFORE, Measure

EVALUATION_BATCH = 256


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Patches (N, 50, 50, 3) uint8 and labels (N,), transformed one by one."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, transform: v2.Transform) -> None:
        self.pixels = pixels
        self.labels = torch.as_tensor(labels, dtype=torch.float32)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(self.pixels[index]).permute(2, 0, 1)  # (3, 50, 50) uint8
        return self.transform(image), self.labels[index]


class QuarterTurn(v2.Transform):
    """Turns a patch by 0, 90, 180 or 270 degrees; with a flip before it, the 8 dihedral views."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:  # noqa: ARG002 - torchvision's signature
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return torch.rot90(inpt, params["turns"], (1, 2))


class StainJitter(v2.Transform):
    """The same change of stain as ours, on one patch."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:  # noqa: ARG002 - torchvision's signature
        return stain_jitter(inpt[None], self.strength, torch.default_generator)[0]


def training_transform(recipe: Recipe) -> v2.Transform:
    """Views and jitter; the network normalises by itself, as a batch, which is faster than patch by patch."""
    jitter = [StainJitter(recipe.stain_jitter)] if recipe.stain_jitter > 0 else []
    return v2.Compose([v2.RandomHorizontalFlip(), QuarterTurn(), v2.ToDtype(torch.float32, scale=True), *jitter])


@dataclass(eq=False)
class PeerTraining:
    """A network, and all that its loop needs."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    recipe: Recipe
    class_weights: Tensor  # (2,)
    train_loader: DataLoader[tuple[Tensor, Tensor]]
    validation_loader: DataLoader[tuple[Tensor, Tensor]]
    average: Average | None  # of the network's weights, which is scored in its stead
    views: int  # in which each validation patch is scored


def begin(
    model_name: str,
    params: Mapping[str, Any],
    development: Path,
    weights: Weights | None,
    *,
    epochs: int,
    seed: int,
    measure: Measure = BEFORE,
) -> PeerTraining:
    """Reads the patches and builds the network.

    Args:
        model_name: of a file in models/.
        params: of the configuration.
        development: folder with pixels.npy, labels.npy and part.npy.
        weights: for a pretrained model.
        epochs: length of the learning-rate schedule.
        seed: of everything random.
        measure: what of the network is scored, as a search of ours does; by default the network as it is, in one view.
    """
    torch.manual_seed(seed)
    model = load_model(model_name)
    config = model.suggest(FixedTrial(dict(params)))
    recipe = config.recipe
    columns = (development / f"{name}.npy" for name in ("pixels", "labels", "part"))
    pixels, labels, part = (np.load(column, allow_pickle=False) for column in columns)
    train, validation = part == "train", part == "validation"
    train_set = PatchDataset(pixels[train], labels[train], training_transform(recipe))
    validation_set = PatchDataset(pixels[validation], labels[validation], v2.ToDtype(torch.float32, scale=True))
    train_loader = DataLoader(train_set, batch_size=recipe.batch_size, shuffle=True)
    network = model.build(config, weights)
    optimizer = _optimizer(model.parameter_groups(network, config), recipe)
    steps = epochs * len(train_loader)
    return PeerTraining(
        network=network,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_scale(step, steps, recipe.schedule, recipe.warmup)
        ),
        recipe=recipe,
        class_weights=class_weights(train_set.labels, recipe),
        train_loader=train_loader,
        validation_loader=DataLoader(validation_set, batch_size=EVALUATION_BATCH),
        average=Average(network, measure.window * steps) if measure.window else None,
        views=measure.views,
    )


def train_epoch(training: PeerTraining) -> float:
    """One pass over the training patches; the mean loss of its batches."""
    training.network.train()
    running_loss = 0.0
    for images, labels in training.train_loader:
        training.optimizer.zero_grad()
        loss = _loss(training, training.network(images), labels)
        loss.backward()
        training.optimizer.step()
        training.scheduler.step()
        if training.average is not None:
            training.average.follow()
        running_loss += loss.item()
    return running_loss / len(training.train_loader)


def validate(training: PeerTraining) -> float:
    """AUC on the validation patches: of the mean logit over views."""
    network = (training.network if training.average is None else training.average.network).eval()
    logits, truth = [], []
    with torch.no_grad():
        for images, labels in training.validation_loader:
            views = [dihedral(images, torch.full((len(images),), view)) for view in range(training.views)]
            logits.append(torch.stack([network(view) for view in views]).mean(dim=0))
            truth.append(labels)
    return float(roc_auc_score(torch.cat(truth).numpy(), torch.cat(logits).numpy()))


def aucs(training: PeerTraining, epochs: int) -> Iterator[float]:
    """Trains so many epochs and yields the validation AUC after each."""
    for _ in range(epochs):
        train_epoch(training)
        yield validate(training)


def _loss(training: PeerTraining, logits: Tensor, labels: Tensor) -> Tensor:
    smoothing = training.recipe.label_smoothing
    targets = labels * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, targets, weight=training.class_weights[labels.long()])


def _optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or SGD; biases and normalisations are not decayed."""
    parts = []
    for group in groups:
        decayed = [parameter for parameter in group["params"] if parameter.ndim >= 2]
        others = [parameter for parameter in group["params"] if parameter.ndim < 2]
        parts.append({"params": decayed, "lr": group["lr"], "weight_decay": recipe.weight_decay})
        parts.append({"params": others, "lr": group["lr"], "weight_decay": 0.0})
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parts, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(parts)
