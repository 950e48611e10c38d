"""Random views of whole batches, on the device that they are on: the 8 dihedral symmetries, stain and colour jitter."""

from functools import lru_cache

import torch
from torch import Tensor

VIEWS = 8
"""Symmetries of a square; view 0 changes nothing."""

# Ruifrok & Johnston 2001, as in quality.measures: optical density per channel of haematoxylin, eosin and residual
_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
_DARKEST = 1 / 255  # level 0 counts as 1, so that its density is finite
_TYPICAL = 0.2  # mean density of a stain in a patch
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in quality.disturbances


def dihedral(batch: Tensor, view: Tensor) -> Tensor:
    """Turns and flips each patch by its own view.

    View v turns by 90 degrees v % 4 times against the clock, then transposes if v is 4 or more: the same views, in
    the same order, as ``data_utils.quality._near.symmetries``.

    Args:
        batch: (N, C, H, W) with H = W, any dtype and memory format.
        view: (N,) int64 in 0..7, on the same device.

    Returns:
        (N, C, H, W), a new tensor.
    """
    count, channels, height, width = batch.shape
    source = view_sources(height, batch.device).index_select(0, view)  # (N, H * W)
    pixels = batch.flatten(2).gather(2, source[:, None, :].expand(count, channels, height * width))
    return pixels.reshape(count, channels, height, width)


def stain_jitter(batch: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Changes the amounts of haematoxylin, eosin and residual in each patch at random.

    Each stain's optical density is multiplied by 1 + a and raised by b, a and b uniform in [-strength, strength] for
    each patch and stain (HED jitter: Tellez et al., "Whole-slide mitosis detection in H&E breast histology using PHH3
    as a reference", IEEE TMI 37, 2018). Densities are natural logarithms, about 0.2 in the mean of a patch, so b counts
    in units of 0.2: both changes are then of the same size.

    Args:
        batch: (N, 3, H, W) float RGB in [0, 1].
        strength: 0 changes nothing; 0.05 is light, 0.2 is strong.
        generator: on the batch's device or on the CPU; the same state gives the same change.

    Returns:
        The same shape and dtype, in [0, 1].
    """
    if strength == 0:
        return batch
    draw = torch.rand((2, len(batch), 1, 3), generator=generator, device=generator.device)
    scale, shift = ((2 * draw - 1) * strength).to(batch.device)  # each (N, 1, 3)
    to_stains, to_colours = _matrices(batch.device)
    mixed = ((to_stains * (1 + scale)) @ to_colours).mT  # (N, 3, 3): density before -> after, in one step
    darker = (_TYPICAL * shift @ to_colours).mT  # (N, 3, 1)
    light = batch.float().clamp_min(_DARKEST).log_().flatten(2)  # (N, 3, H * W): density with the sign of a logarithm
    changed = torch.baddbmm(-darker, mixed, light).exp_().clamp_(0, 1)
    return changed.reshape(batch.shape).to(batch.dtype)


def colour_jitter(batch: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Changes saturation and contrast of each patch at random: what scanners and their software differ by.

    The distance of each pixel from its own grey is multiplied by 1 + a, then that of each level from the mean of the
    patch by 1 + b, a and b uniform in [-strength, strength] for each patch.

    Args:
        batch: (N, 3, H, W) float RGB in [0, 1].
        strength: 0 changes nothing; 0.2 is strong.
        generator: on the batch's device or on the CPU; the same state gives the same change.

    Returns:
        The same shape and dtype, in [0, 1].
    """
    if strength == 0:
        return batch
    draw = torch.rand((2, len(batch), 1, 1, 1), generator=generator, device=generator.device)
    saturation, contrast = (1 + (2 * draw - 1) * strength).to(batch)
    grey = torch.einsum("nchw,c->nhw", batch, torch.tensor(_LUMA).to(batch))[:, None]
    coloured = torch.lerp(grey, batch, saturation)
    mean = coloured.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, coloured, contrast).clamp_(0, 1)


@lru_cache(maxsize=8)
def view_sources(side: int, device: torch.device) -> Tensor:
    """(8, side * side) int64: for each view, which pixel of the patch comes to each place."""
    places = torch.arange(side * side).reshape(side, side)
    turned = [places.rot90(turns, (0, 1)) for turns in range(4)]
    return torch.stack([view.flatten() for view in (*turned, *(view.T for view in turned))]).to(device)


@lru_cache(maxsize=8)
def _matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """Density per channel -> amounts of stains, and back; (3, 3) each."""
    colours = torch.nn.functional.normalize(torch.tensor(_STAINS, dtype=torch.float64))
    return torch.linalg.inv(colours).float().to(device), colours.float().to(device)
