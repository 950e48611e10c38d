"""A convolutional network of our own: a strided stem and stages that halve the map and double the channels."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from models._layers import GlobalPool, Normalise, pooled_channels
from models._spec import COLOUR_JITTERS, ParamValue, Recipe, TrialLike, suggest_or_none
from models._weights import Weights

RGB = 3
STAGES = 3
STEM_KERNEL = 5
GROUPS = 8  # of group normalisation; divides every width of the space
LAYOUT = "channels_last"
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


EPOCHS = 24
"""Narrower and longer is better out of fold than 32 channels over 12 epochs, and cheaper (LOG.md)."""
MOMENTUM = 0.3
"""Of batch normalisation's running statistics. With PyTorch's 0.1 they lag behind the weights after short trainings:
the members' logits then lie on different offsets, and what was fitted to them out of fold is wrong (LOG.md)."""


@dataclass(frozen=True)
class CnnConfig:
    """One network of the space.

    Attributes:
        depth: convolutions in each of the 3 stages.
        width: channels of the first stage; each further stage has twice as many.
        kernel: side of the first convolution of the second and the third stage; the stem has its own, the others 3.
        normalisation: "batch" or "group".
        activation: "relu", "silu" or "gelu".
        residual: whether each convolution that keeps its shape adds its input; with a depth of 1 there is none.
        pooling: of the last feature map: "mean", "max" or "both".
        dropout: before the last layer, in [0, 0.5].
        recipe: how it is trained.
    """

    depth: int
    width: int
    kernel: int
    normalisation: str
    activation: str
    residual: bool
    pooling: str
    dropout: float
    recipe: Recipe


DEFAULT: dict[str, ParamValue] = {
    "depth": 2,
    "width": 16,
    "kernel": 3,
    "normalisation": "batch",
    "activation": "relu",
    "residual": False,
    "pooling": "both",
    "dropout": 0.1,
    "optimizer": "adamw",
    "adamw_learning_rate": 2e-3,
    "sgd_learning_rate": 0.05,
    "weight_decay": 1e-2,
    "batch_size": 64,
    "schedule": "cosine",
    "warmup": 0.1,
    "label_smoothing": 0.0,
    "class_weighting": False,
    "stain_jitter": 0.05,
    "colour_jitter": 0.0,
}
BEFORE: dict[str, ParamValue] = {"colour_jitter": 0.0}
ALLOWED: dict[str, Sequence[ParamValue]] = {
    "depth": (1, 8),
    "width": (8, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    "kernel": (1, 3, 5, 7),
    "dropout": (0.0, 0.9),
    "adamw_learning_rate": (1e-6, 1.0),
    "sgd_learning_rate": (1e-5, 10.0),
    "weight_decay": (1e-8, 1.0),
    "batch_size": (8, 16, 32, 64, 128, 256, 512),
    "warmup": (0.0, 0.5),
    "colour_jitter": COLOUR_JITTERS,
}


def suggest(trial: TrialLike) -> CnnConfig:
    """The search space."""
    depth = trial.suggest_int("depth", 1, 3)
    return CnnConfig(
        depth=depth,
        width=trial.suggest_categorical("width", [16, 24, 32, 48]),
        kernel=trial.suggest_categorical("kernel", [3, 5]),
        normalisation=trial.suggest_categorical("normalisation", ["batch", "group"]),
        activation=trial.suggest_categorical("activation", list(ACTIVATIONS)),
        residual=trial.suggest_categorical("residual", [False, True]) and depth > 1,
        pooling=trial.suggest_categorical("pooling", ["mean", "max", "both"]),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        recipe=_suggest_recipe(trial),
    )


def _suggest_recipe(trial: TrialLike) -> Recipe:
    optimizer = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    rates = {  # each optimizer has its own scale; the rate of the other one is drawn and ignored
        "adamw": trial.suggest_float("adamw_learning_rate", 3e-4, 1e-2, log=True),
        "sgd": trial.suggest_float("sgd_learning_rate", 5e-3, 0.3, log=True),
    }
    return Recipe(
        optimizer=optimizer,
        learning_rate=rates[optimizer],
        weight_decay=trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
        schedule=trial.suggest_categorical("schedule", ["constant", "cosine", "linear"]),
        warmup=trial.suggest_float("warmup", 0.0, 0.3),
        label_smoothing=suggest_or_none(trial, "label_smoothing", 0.2),
        class_weighting=trial.suggest_categorical("class_weighting", [False, True]),
        stain_jitter=suggest_or_none(trial, "stain_jitter", 0.2),
        colour_jitter=trial.suggest_categorical("colour_jitter", [0.0]),  # for whom patients of elsewhere count more
    )


def build(config: CnnConfig, weights: Weights | None) -> nn.Module:  # noqa: ARG001 - trained from scratch
    """The network of a configuration, freshly initialised."""
    return Cnn(config)


class Cnn(nn.Module):
    """RGB in [0, 1], (N, 3, S, S) float -> one logit a patch, (N,)."""

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        channels = [config.width * 2**stage for stage in range(STAGES)]
        self.normalise = Normalise(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        self.stages = nn.Sequential(
            *(_stage(config, before, after) for before, after in zip([RGB, *channels], channels, strict=False))
        )
        self.head = nn.Sequential(
            GlobalPool(config.pooling),
            nn.Dropout(config.dropout),
            nn.Linear(pooled_channels(config.pooling, channels[-1]), 1),
        )

    @property
    def last_features(self) -> nn.Module:
        """The module whose output Grad-CAM looks at."""
        return self.stages

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, 3, S, S) float in [0, 1] -> (N,) logits."""
        maps = self.stages(self.normalise(rgb))  # (N, 4 width, S / 8, S / 8), rounded
        logits: Tensor = self.head(maps)
        return logits.squeeze(1)


class _Residual(nn.Module):
    """Adds its input to the output of a layer that keeps the shape."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: Tensor) -> Tensor:
        added: Tensor = maps + self.layer(maps)
        return added


def _stage(config: CnnConfig, before: int, after: int) -> nn.Sequential:
    first = _stem(config, after) if before == RGB else _shrink(config, before, after)
    others = [_convolution(config, after, after, 3) for _ in range(config.depth - 1)]
    return nn.Sequential(*first, *(_Residual(layer) if config.residual else layer for layer in others))


def _stem(config: CnnConfig, after: int) -> list[nn.Module]:
    """Sees the pixels. At full resolution, half of all time would go into it and the layer behind it."""
    return [_convolution(config, RGB, after, STEM_KERNEL, stride=2)]


def _shrink(config: CnnConfig, before: int, after: int) -> list[nn.Module]:
    return [nn.MaxPool2d(2), _convolution(config, before, after, config.kernel)]


def _convolution(config: CnnConfig, before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    norm = nn.BatchNorm2d(after, momentum=MOMENTUM) if config.normalisation == "batch" else nn.GroupNorm(GROUPS, after)
    convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, norm, ACTIVATIONS[config.activation]())
