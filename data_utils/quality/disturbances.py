"""Small changes that a patch meets on its way from another scanner, viewer or laboratory: what a label does not see."""

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from data_utils.quality.measures import STAINS
from data_utils.readers.patchset import Pixels

_TO_COLOURS = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)


def shifted(pixels: Pixels, by: int) -> Pixels:
    """(N, S, S, 3) moved so many pixels right and down; what comes in is what lies there, mirrored."""
    wide = np.pad(pixels, ((0, 0), (by, 0), (by, 0), (0, 0)), mode="reflect")
    return np.ascontiguousarray(wide[:, : pixels.shape[1], : pixels.shape[2]])


def blurred_by(pixels: Pixels, sigma: float) -> Pixels:
    """(N, S, S, 3) by a Gaussian of so many pixels."""
    smooth = gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma, 0))
    return _levels(smooth)


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """(N, S, S, 3) written as JPEG of this quality, colours at half the resolution, and read again."""
    return np.stack([_through_jpeg(one, quality) for one in pixels]) if len(pixels) else pixels


def _through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(content))


def stained(pixels: Pixels, stain: int, factor: float) -> Pixels:
    """(N, S, S, 3) with the density of a stain (0 haematoxylin, 1 eosin) multiplied, by fixed colours of stains."""
    density = -np.log(np.maximum(pixels, 1).astype(np.float32) / 255)
    amounts = density @ np.linalg.inv(_TO_COLOURS).astype(np.float32)
    amounts[..., stain] *= factor
    return _levels(255 * np.exp(-(amounts @ _TO_COLOURS.astype(np.float32))))


def saturated(pixels: Pixels, factor: float) -> Pixels:
    """(N, S, S, 3) with the distance of each pixel from its own grey (luma of ITU-R BT.601) multiplied."""
    return _away_from(pixels @ np.array([0.299, 0.587, 0.114], np.float32), pixels, factor)


def contrasted(pixels: Pixels, factor: float) -> Pixels:
    """(N, S, S, 3) with the distance of each level from the mean of its patch multiplied."""
    return _away_from(pixels.mean(axis=(1, 2, 3), dtype=np.float32)[:, None, None], pixels, factor)


def _away_from(level: np.ndarray, pixels: Pixels, factor: float) -> Pixels:
    """``level`` is (N, S, S), or (N, 1, 1)."""
    return _levels(level[..., None] + factor * (pixels - level[..., None]))


def _levels(values: np.ndarray) -> Pixels:
    levels: Pixels = values.round().clip(0, 255).astype(np.uint8)
    return levels


DISTURBANCES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "shifted by 1 pixel": partial(shifted, by=1),
    "shifted by 3 pixels": partial(shifted, by=3),
    "blurred by 0.5 pixels": partial(blurred_by, sigma=0.5),
    "blurred by 1 pixel": partial(blurred_by, sigma=1.0),
    "JPEG of quality 80": partial(as_jpeg, quality=80),
    "JPEG of quality 50": partial(as_jpeg, quality=50),
    "haematoxylin + 20 %": partial(stained, stain=0, factor=1.2),
    "haematoxylin - 20 %": partial(stained, stain=0, factor=0.8),
    "eosin + 20 %": partial(stained, stain=1, factor=1.2),
    "eosin - 20 %": partial(stained, stain=1, factor=0.8),
    "saturation + 20 %": partial(saturated, factor=1.2),
    "saturation - 20 %": partial(saturated, factor=0.8),
    "contrast + 20 %": partial(contrasted, factor=1.2),
    "contrast - 20 %": partial(contrasted, factor=0.8),
}
"""In words -> (N, S, S, 3) uint8 to the same."""
