"""Preprocessing of patches as PyTorch operations, for files that hold a whole model (``search.export``).

The same rules as ``data_utils.colour.preprocessing``, which stays the one that training and prediction use: NumPy needs
no device. What differs is the order of sums, so that a level may be rounded the other way.
"""

import torch
from torch import Tensor, nn

from data_utils.colour._lab import DARK, FROM_LAB, OFFSET, SLOPE, TO_LAB, TO_LINEAR, TO_RGB, linear_levels
from data_utils.colour.preprocessing import FLATTEST, Moments, Preprocessing
from data_utils.quality.measures import WHITE_LEVEL, WHITE_SHARE

EXPRESSIBLE = ("none", "standardise", "reinhard")
"""Kinds that are written here; Macenko's needs eigenvectors and percentiles of each patch."""


def as_module(preprocessing: Preprocessing) -> nn.Module:
    """(N, 3, H, W) float levels, whole numbers from 0 to 255 -> the same, as a network is to see them."""
    if preprocessing.kind == "none":
        return nn.Identity()
    assert preprocessing.kind in EXPRESSIBLE
    assert isinstance(preprocessing.reference, Moments)
    return {"standardise": Standardise, "reinhard": Reinhard}[preprocessing.kind](preprocessing.reference)


class Standardise(nn.Module):
    """Each channel of a patch brought to the reference's mean and standard deviation; glass and flat patches stay."""

    mean: Tensor
    spread: Tensor

    def __init__(self, reference: Moments) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(reference.mean).view(1, 3, 1))
        self.register_buffer("spread", torch.tensor(reference.spread).view(1, 3, 1))

    def forward(self, levels: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same."""
        flat = levels.flatten(2)  # (N, 3, P)
        values = self.values(flat)
        mean = values.mean(2, keepdim=True)
        spread = (values - mean).square().mean(2, keepdim=True).sqrt()
        moved = (values - mean) * (self.spread / spread.clamp_min(FLATTEST)) + self.mean
        changed = self.levels(moved).round().clamp(0, 255)
        glass = (flat.amin(1) >= WHITE_LEVEL).float().sum(1) >= WHITE_SHARE * flat.shape[2]
        sound = (spread >= FLATTEST).all(2).all(1) & ~glass
        return torch.where(sound[:, None, None], changed, flat).reshape(levels.shape)

    def values(self, flat: Tensor) -> Tensor:
        """(N, 3, P) levels in the colours in which they are moved."""
        return flat

    def levels(self, moved: Tensor) -> Tensor:
        """(N, 3, P) back from these."""
        return moved


class Reinhard(Standardise):
    """The same in CIELAB."""

    linear: Tensor
    to_linear: Tensor
    to_lab: Tensor
    from_lab: Tensor
    to_rgb: Tensor

    def __init__(self, reference: Moments) -> None:
        super().__init__(reference)
        matrices = {"to_linear": TO_LINEAR, "to_lab": TO_LAB, "from_lab": FROM_LAB, "to_rgb": TO_RGB}
        for name, matrix in (matrices | {"linear": linear_levels()}).items():
            self.register_buffer(name, torch.from_numpy(matrix.copy()))

    def values(self, flat: Tensor) -> Tensor:
        """RGB levels -> L*, a* and b*."""
        light = self.to_linear @ self.linear[flat.long()]
        rooted = torch.where(light > DARK, light.clamp_min(DARK).pow(1 / 3), SLOPE * light + OFFSET)
        return self.to_lab @ rooted - _lift(flat)

    def levels(self, moved: Tensor) -> Tensor:
        """L*, a* and b* -> RGB levels, of which some are beyond 0 and 255."""
        rooted = self.from_lab @ (moved + _lift(moved))
        light = torch.where(rooted > DARK ** (1 / 3), rooted**3, (rooted - OFFSET) / SLOPE)
        linear = (self.to_rgb @ light).clamp(0, 1)
        bright = 1.055 * linear.clamp_min(0.0031308).pow(1 / 2.4) - 0.055
        return 255 * torch.where(linear > 0.0031308, bright, 12.92 * linear)


def _lift(like: Tensor) -> Tensor:
    """(1, 3, 1) what is taken off L*, which is 0 for black."""
    return like.new_tensor([16.0, 0.0, 0.0]).view(1, 3, 1)
