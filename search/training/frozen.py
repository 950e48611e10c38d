"""What the frozen first layers of VGG16 make of patches, as one vector a patch; nothing is trained, nothing fetched."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from data_utils.readers.patchset import Pixels, chunks
from models import vgg16
from models._weights import Weights
from search.training.device import Compute, choose_precision

BLOCKS = 3
"""Of five; deeper ones know more of cats than of nuclei, and cost more."""
_BATCH = 128  # patches of the usual side


def pooled_features(
    pixels: Pixels,
    rows: npt.NDArray[np.int64],
    weights: Weights,
    device: str,
    progress: Callable[[int, int], None],
) -> npt.NDArray[np.float64]:
    """(M, 256) means of the maps behind the third block, as log(1 + mean): they reach thousands.

    Args:
        pixels: (N, S, S, 3) uint8 RGB.
        rows: (M,) of the patches to look at.
        weights: of VGG16's convolutions.
        device: "cpu" or "cuda".
        progress: called with (done, M) after each batch.
    """
    compute = Compute(device, choose_precision("auto", device), "channels_last")
    network = compute.place(vgg16.frozen_features(weights, BLOCKS))
    found = []
    for piece in chunks(len(rows), _BATCH, pixels.shape[1]):
        batch = torch.from_numpy(pixels[rows[piece]]).to(device)
        images = compute.arrange(batch.permute(0, 3, 1, 2).float().div(255))
        with torch.inference_mode(), compute.autocast():
            found.append(network(images).float().cpu().numpy())
        progress(piece.stop, len(rows))
    return np.log1p(np.concatenate(found).astype(np.float64))
