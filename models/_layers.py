"""Layers that more than one model uses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """RGB in [0, 1] -> (RGB - mean) / std, by channel; mean and std are buffers and travel with the network."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        """(N, 3, H, W) float in [0, 1] -> the same shape, normalised."""
        return (rgb - self.mean) / self.std


class GlobalPool(nn.Module):
    """Feature maps -> one vector a patch; see ``pooled``."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C), or (N, 2 C) for "both"."""
        return pooled(self.kind, maps)


def pooled(kind: str, maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C), their "mean" or their "max", or (N, 2 C), "both" beside each other."""
    parts = {
        "mean": lambda: [maps.mean((2, 3))],
        "max": lambda: [maps.amax((2, 3))],
        "both": lambda: [maps.mean((2, 3)), maps.amax((2, 3))],
    }[kind]()
    return torch.cat(parts, dim=1)


def pooled_channels(kind: str, channels: int) -> int:
    """Length of the vector that ``GlobalPool(kind)`` makes of so many channels."""
    return 2 * channels if kind == "both" else channels
