"""Where a network looked: Grad-CAM, and pictures of patches for a report."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_utils.quality.sheets import png

Pixels = npt.NDArray[np.uint8]
_HOT = np.array([230, 159, 0])  # orange: told apart from pink and purple, also by the colour-blind


def grad_cam(network: nn.Module, pixels: Pixels) -> npt.NDArray[np.float64] | None:
    """Where the score of IDC would change most (Selvaraju et al. 2017, arXiv:1610.02391).

    Args:
        network: on the CPU; its ``last_features`` names the last convolutional layer.
        pixels: (N, S, S, 3) uint8 RGB.

    Returns:
        (N, S, S) in [0, 1] for each patch; None for a network that names no such layer.
    """
    layer = getattr(network, "last_features", None)
    if not isinstance(layer, nn.Module):
        return None
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        # Behind frozen layers nothing is recorded: the slope is taken from here on.
        kept.append(output if output.requires_grad else output.detach().requires_grad_())
        return kept[-1]

    handle = layer.register_forward_hook(keep)
    try:
        images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float().div(255)
        logits = network(images)
        (slope,) = torch.autograd.grad(logits.sum(), kept[0])
    finally:
        handle.remove()
    importance = slope.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
    heat = F.relu((importance * kept[0]).sum(dim=1, keepdim=True))  # (N, 1, h, w)
    heat = F.interpolate(heat, size=pixels.shape[1:3], mode="bilinear", align_corners=False)[:, 0].detach()
    strongest = heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    return (heat / strongest).double().numpy()


def save_picture(pixels: Pixels, path: Path, heat: npt.NDArray[np.float64] | None = None) -> Path:
    """Writes a patch as PNG, no larger than a page shows it, with the heat map over it where there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels if heat is None else _blend(pixels, heat)))
    return path


def _blend(pixels: Pixels, heat: npt.NDArray[np.float64]) -> Pixels:
    opacity = 0.7 * heat[..., None]
    return (pixels * (1 - opacity) + _HOT * opacity).round().astype(np.uint8)
