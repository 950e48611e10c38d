"""What a recipe means: optimizer, learning rate of each step, weight of each class."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from models._spec import Recipe


def class_weights(labels: Tensor, recipe: "Recipe") -> Tensor:
    """(2,) weights of a patch of either class: ones, or such that both classes count the same and the mean is 1."""
    counts = torch.bincount(labels.long(), minlength=2).clamp(min=1)
    if not recipe.class_weighting:
        return torch.ones(2, device=labels.device)
    return len(labels) / (2 * counts.float())


def make_optimizer(groups: Sequence[dict[str, Any]], recipe: "Recipe") -> torch.optim.Optimizer:
    """AdamW or SGD over the model's groups; biases and normalisations keep their size (no weight decay)."""
    split = [part for group in groups for part in _split_decay(group, recipe.weight_decay)]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(split, fused=True)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(split, momentum=0.9, nesterov=True, fused=True)
    raise ValueError(f"A recipe's optimizer is 'adamw' or 'sgd', not {recipe.optimizer!r}.")


def _split_decay(group: dict[str, Any], decay: float) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in group["params"] if parameter.ndim >= 2]
    vectors = [parameter for parameter in group["params"] if parameter.ndim < 2]
    parts = [{**group, "params": matrices, "weight_decay": decay}, {**group, "params": vectors, "weight_decay": 0.0}]
    return [part for part in parts if part["params"]]


def rate_scale(step: int, total: int, schedule: str, warmup: float) -> float:
    """Learning rate of a step as a share of its peak.

    Args:
        step: from 0.
        total: steps of the whole schedule.
        schedule: "constant", "cosine" or "linear"; the latter two end at zero.
        warmup: share of the steps in which the rate rises linearly from zero.
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(total - rising, 1)
    falls: dict[str, Callable[[float], float]] = {
        "constant": lambda _: 1.0,
        "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
        "linear": lambda share: 1 - share,
    }
    return falls[schedule](done)
