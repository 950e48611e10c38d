"""VGG16's convolutions, pretrained on ImageNet, with a head of our own.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556; layers and
names as in torchvision. The fifth block's max pooling is left out: the head pools instead, since at 50 pixels only one
value a channel would be left to pool. The first blocks may be frozen: they are the network's ``prefix``, whose outputs
no training changes; from three blocks on they are worth keeping. The head may see the blocks before the fifth as well:
what they tell of a nucleus is no longer in the last map. Kept outputs hold all that a head may want to see of them, so
that configurations which differ in that share them.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models._layers import GlobalPool, Normalise, pooled, pooled_channels
from models._spec import COLOUR_JITTERS, ParamValue, Recipe, TrialLike, suggest_or_none
from models._weights import BLOCKS, Weights, read_tensors

PRETRAINED = True
LAYOUT = "contiguous"
BLOCK_ENDS = (0, 5, 10, 17, 24, 30)  # torchvision's features[: BLOCK_ENDS[k]] are the first k blocks
CHANNELS = tuple(widths[-1] for widths in BLOCKS)
KEPT_FROM = 3  # frozen blocks; the outputs of fewer are larger than the time they save is worth (LOG.md)
RGB = 3
MOST_JOINED = 3  # blocks that the head sees; the first two tell little that the third does not
_PACKED = "both"  # how the maps behind frozen blocks are pooled for the head, which takes what it wants of that
UNTRAINED = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))  # mean and std of the input where there are no weights to say


@dataclass(frozen=True)
class Vgg16Config:
    """One network of the space.

    Attributes:
        frozen_blocks: how many of the five blocks keep their weights; with 5 only the head learns.
        input_size: side to which patches are resized before the first layer, in pixels.
        joined_blocks: how many blocks the head sees, from the last one backwards: 1 is the fifth alone.
        pooling: of each of their feature maps: "mean", "max" or "both".
        head_width: neurons of the hidden layer of the head; 0 for none.
        dropout: before each layer of the head, in [0, 0.6].
        backbone_rate: peak learning rate of the blocks that learn, 0 where none does; the recipe's rate is the head's.
        recipe: how it is trained.
    """

    frozen_blocks: int
    input_size: int
    joined_blocks: int
    pooling: str
    head_width: int
    dropout: float
    backbone_rate: float
    recipe: Recipe


DEFAULT: dict[str, ParamValue] = {
    "frozen_blocks": 2,
    "input_size": 50,
    "joined_blocks": 1,
    "pooling": "mean",
    "head_width": 128,
    "dropout": 0.2,
    "backbone_learning_rate": 2e-4,
    "head_learning_rate": 1e-3,
    "weight_decay": 1e-2,
    "batch_size": 32,
    "schedule": "cosine",
    "warmup": 0.1,
    "label_smoothing": 0.0,
    "class_weighting": False,
    "stain_jitter": 0.05,
    "colour_jitter": 0.0,
}
BEFORE: dict[str, ParamValue] = {"joined_blocks": 1, "colour_jitter": 0.0}
ALLOWED: dict[str, Sequence[ParamValue]] = {
    "input_size": (32, 50, 64, 80, 96, 112, 128, 160, 192, 224),
    "joined_blocks": (1, len(BLOCKS)),
    "head_width": (0, 16, 32, 64, 128, 256, 512, 1024),
    "dropout": (0.0, 0.9),
    "backbone_learning_rate": (1e-7, 1e-1),
    "head_learning_rate": (1e-6, 1.0),
    "weight_decay": (1e-8, 1.0),
    "batch_size": (4, 8, 16, 32, 64, 128, 256),
    "warmup": (0.0, 0.5),
    "stain_jitter": (0.0, 0.025, 0.05, 0.1, 0.15, 0.2),
    "colour_jitter": COLOUR_JITTERS,
}


def suggest(trial: TrialLike) -> Vgg16Config:
    """The search space."""
    frozen = trial.suggest_int("frozen_blocks", 0, len(BLOCKS))
    rate = trial.suggest_float("backbone_learning_rate", 1e-5, 1e-3, log=True)
    return Vgg16Config(
        frozen_blocks=frozen,
        input_size=trial.suggest_categorical("input_size", [50, 64, 96]),
        joined_blocks=trial.suggest_int("joined_blocks", 1, MOST_JOINED),
        pooling=trial.suggest_categorical("pooling", ["mean", "max", "both"]),
        head_width=trial.suggest_categorical("head_width", [0, 64, 128, 256]),
        dropout=trial.suggest_float("dropout", 0.0, 0.6),
        backbone_rate=rate if frozen < len(BLOCKS) else 0.0,
        recipe=Recipe(
            optimizer="adamw",
            learning_rate=trial.suggest_float("head_learning_rate", 1e-4, 1e-2, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
            batch_size=trial.suggest_categorical("batch_size", [16, 32, 64]),
            schedule=trial.suggest_categorical("schedule", ["constant", "cosine", "linear"]),
            warmup=trial.suggest_float("warmup", 0.0, 0.3),
            label_smoothing=suggest_or_none(trial, "label_smoothing", 0.2),
            class_weighting=trial.suggest_categorical("class_weighting", [False, True]),
            # None at all is a choice of its own: what frozen layers make of a patch then never changes, and is kept.
            stain_jitter=trial.suggest_categorical("stain_jitter", [0.0, 0.05, 0.1, 0.2]),
            colour_jitter=trial.suggest_categorical("colour_jitter", [0.0]),  # as in cnn.py
        ),
    )


def build(config: Vgg16Config, weights: Weights | None) -> nn.Module:
    """The network of a configuration; without weights its convolutions are random."""
    return Vgg16(config, weights)


def parameter_groups(network: nn.Module, config: Vgg16Config) -> list[dict[str, Any]]:
    """The blocks that learn at the backbone's rate, the head at the recipe's."""
    assert isinstance(network, Vgg16)
    groups = [
        {"params": list(network.tail.parameters()), "lr": config.backbone_rate},
        {"params": list(network.head.parameters()), "lr": config.recipe.learning_rate},
    ]
    return [group for group in groups if group["params"]]


def prefix_name(config: Vgg16Config) -> str | None:
    """The frozen blocks whose outputs are worth keeping."""
    if config.frozen_blocks < KEPT_FROM:
        return None
    return f"blocks 1 to {config.frozen_blocks} at {config.input_size} pixels"


def _joined(config: Vgg16Config) -> list[int]:
    """The blocks before the fifth that the head sees, from 1."""
    return list(range(len(BLOCKS) - config.joined_blocks + 1, len(BLOCKS)))


def _packed(config: Vgg16Config) -> list[int]:
    """The frozen blocks before the fifth whose pooled maps the prefix hands on: what is kept has them all."""
    frozen = range(1, min(config.frozen_blocks + 1, len(BLOCKS)))
    return list(frozen) if prefix_name(config) else [block for block in frozen if block in _joined(config)]


def frozen_features(weights: Weights, blocks: int) -> nn.Module:
    """A network that learns nothing: RGB in [0, 1], (N, 3, H, W) -> (N, C) means of the maps behind so many blocks."""
    layers = _features(weights)[: BLOCK_ENDS[blocks]]
    return nn.Sequential(Normalise(weights.mean, weights.std), layers, GlobalPool("mean")).requires_grad_(False)


class Vgg16(nn.Module):
    """RGB in [0, 1], (N, 3, S, S) float -> one logit a patch, (N,)."""

    def __init__(self, config: Vgg16Config, weights: Weights | None) -> None:
        super().__init__()
        mean, std = (weights.mean, weights.std) if weights else UNTRAINED
        split = BLOCK_ENDS[config.frozen_blocks]
        entry = [("normalise", Normalise(mean, std)), ("resize", _Resize(config.input_size))]
        # Layers keep torchvision's numbers: tail.17.weight is features.17.weight.
        named = [(str(number), layer) for number, layer in enumerate(_features(weights))]
        joined, packed = _joined(config), _packed(config)
        self.prefix = _Blocks([*entry, *named[:split]], packed, _PACKED)
        self.tail = _Blocks(named[split:], joined, config.pooling)
        self.last = nn.Identity()
        lengths = [pooled_channels(config.pooling, CHANNELS[block - 1]) for block in (*joined, len(BLOCKS))]
        self.head = _head(config, lengths)
        self._pooling = config.pooling
        self._channels = CHANNELS[config.frozen_blocks - 1] if config.frozen_blocks else RGB
        self._packed = [pooled_channels(_PACKED, CHANNELS[block - 1]) for block in packed]
        self._seen = [block in joined for block in packed]
        self._rounds = prefix_name(config) is not None
        self.prefix.requires_grad_(False)

    @property
    def last_features(self) -> nn.Module:
        """The module whose output Grad-CAM looks at."""
        return self.last

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, 3, S, S) float in [0, 1] -> (N,) logits."""
        with torch.no_grad():
            kept = self.prefix(rgb)
        return self.after_prefix(kept.bfloat16() if self._rounds else kept)

    def after_prefix(self, kept: Tensor) -> Tensor:
        """Outputs of the prefix, bf16 or fp32, as ``_Blocks`` packs them -> (N,) logits."""
        maps, *vectors = _unpacked(kept.float(), self._channels, self._packed)
        frozen = [_of_both(self._pooling, vector) for vector, seen in zip(vectors, self._seen, strict=True) if seen]
        maps, *more = self.tail.apart(maps)
        seen = [*frozen, *more, pooled(self._pooling, self.last(maps))]
        logits: Tensor = self.head(torch.cat(seen, dim=1))
        return logits.squeeze(1)


class _Blocks(nn.Sequential):
    """Layers one after the other; behind some blocks the maps are pooled as well, for the head."""

    def __init__(self, named: Sequence[tuple[str, nn.Module]], joined: Sequence[int], pooling: str) -> None:
        super().__init__(OrderedDict(named))
        ends = {str(BLOCK_ENDS[block] - 1) for block in joined}
        self._joined = [name for name, _ in named if name in ends]
        self._pooling = pooling

    def extra_repr(self) -> str:
        """What is beside the maps makes another prefix."""
        return f"{self._pooling} behind {self._joined}" if self._joined else ""

    def apart(self, maps: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> (N, c, h, w) last maps, and the pooled ones, (N, p) each."""
        beside = []
        for name, layer in self.named_children():
            maps = layer(maps)
            if name in self._joined:
                beside.append(pooled(self._pooling, maps))
        return [maps, *beside]

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> the last maps, or, with pooled ones beside them, all in one, (N, c h w + p, 1, 1)."""
        maps, *beside = self.apart(maps)
        return torch.cat([maps.flatten(1), *beside], dim=1)[:, :, None, None] if beside else maps


def _unpacked(kept: Tensor, channels: int, beside: Sequence[int]) -> list[Tensor]:
    """What ``_Blocks.forward`` has packed, as ``_Blocks.apart`` gives it: square maps of so many channels, and vectors.

    Args:
        kept: what was packed.
        channels: of the maps.
        beside: length of each vector.
    """
    if not beside:
        return [kept]
    length = kept.shape[1] - sum(beside)
    maps, *vectors = torch.split(kept.flatten(1), [length, *beside], 1)
    side = math.isqrt(length // channels)
    return [maps.reshape(-1, channels, side, side), *vectors]


def _of_both(pooling: str, vectors: Tensor) -> Tensor:
    """(N, 2 C) of maps pooled by "both" -> what ``pooled`` makes of the same maps."""
    mean, most = vectors.chunk(2, dim=1)
    return {"mean": mean, "max": most, "both": vectors}[pooling]


class _NormEach(nn.LayerNorm):
    """Normalises the vector of each block by itself.

    Pretrained activations reach thousands: a head without this would need a rate of its own for each depth.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        super().__init__(sum(lengths))
        self._lengths = list(lengths)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, all lengths), beside each other -> the same."""
        each = (torch.split(one, self._lengths, -1) for one in (vectors, self.weight, self.bias))
        parts = zip(self._lengths, *each, strict=True)
        return torch.cat([F.layer_norm(x, (n,), weight, bias, self.eps) for n, x, weight, bias in parts], dim=1)


class _Resize(nn.Module):
    """Bilinear; turning a patch and resizing it may change places."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def extra_repr(self) -> str:
        """Sizes make different prefixes."""
        return str(self.size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, size, size)."""
        if images.shape[-1] == self.size:
            return images
        return F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)


def _features(weights: Weights | None) -> nn.Sequential:
    """The 30 layers before the last pooling, pretrained, or random (Kaiming) where there are no weights."""
    layers: list[nn.Module] = []
    before = 3
    for widths in BLOCKS:
        for after in widths:
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
            before = after
        layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers[:-1])
    _load(features, weights) if weights else features.apply(_initialise)
    return features


def _load(features: nn.Sequential, weights: Weights) -> None:
    tensors = read_tensors(weights)
    features.load_state_dict(
        {name.removeprefix("features."): torch.from_numpy(tensor) for name, tensor in tensors.items()}
    )


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def _head(config: Vgg16Config, lengths: Sequence[int]) -> nn.Sequential:
    length = sum(lengths)
    layers: list[nn.Module] = [nn.Identity(), _NormEach(lengths)]  # the first once pooled: stored heads have its number
    if config.head_width:
        layers += [nn.Dropout(config.dropout), nn.Linear(length, config.head_width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(config.dropout), nn.Linear(config.head_width or length, 1))
