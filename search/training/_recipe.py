"""What a recipe means: optimizer, learning rate of each step, weight of each class."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from models._spec import Recipe

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


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
        return _AdamW(split, fused=True)
    if recipe.optimizer == "sgd":
        return _SGD(split, momentum=0.9, nesterov=True, fused=True)
    raise ValueError(f"A recipe's optimizer is 'adamw' or 'sgd', not {recipe.optimizer!r}.")


def _light(kind: type[Kind]) -> type[Kind]:
    """The same optimizer without its marks for PyTorch's compiler, which nothing here uses.

    At the first call of any of them the compiler is imported: 1.8 seconds of CPU in each worker.
    """
    marked = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in marked}
    return type(kind.__name__, (kind,), {**plain, "step": torch.no_grad()(plain["step"])})


_AdamW, _SGD = _light(torch.optim.AdamW), _light(torch.optim.SGD)


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
