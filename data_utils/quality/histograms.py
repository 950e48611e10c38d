"""Colour of patches: what one sees of them before any network looks. Stain densities are in ``quality``."""

import numpy as np

from data_utils.readers.patchset import Floats, Ints, Pixels, chunks

BINS = 16
"""Of a histogram of one channel; each holds 16 levels."""
_AT_ONCE = 512  # patches of 50 pixels held as wider numbers: 30 MB


def mean_colour(pixels: Pixels) -> Floats:
    """(N, 3) mean red, green and blue, 0 to 255."""
    means = [pixels[piece].mean(axis=(1, 2)) for piece in chunks(len(pixels), _AT_ONCE, pixels.shape[1])]
    return np.concatenate(means) if means else np.empty((0, 3))


def saturation(pixels: Pixels) -> Floats:
    """(N,) mean saturation of the pixels, 0 (grey) to 1: (max - min) / max of a pixel's channels, as in HSV."""
    means = [_saturation(pixels[piece]) for piece in chunks(len(pixels), _AT_ONCE, pixels.shape[1])]
    return np.concatenate(means) if means else np.empty(0)


def colour_histograms(pixels: Pixels, rows: Ints | None = None) -> Floats:
    """(N, 48): share of pixels in each of 16 bins of red, green and blue; the three of a bin stand together.

    Args:
        pixels: (K, S, S, 3) uint8.
        rows: (N,) of the patches to look at; all by default.
    """
    chosen = np.arange(len(pixels)) if rows is None else rows
    shares = [_histograms(pixels[chosen[piece]]) for piece in chunks(len(chosen), _AT_ONCE, pixels.shape[1])]
    return np.concatenate(shares) if shares else np.empty((0, 3 * BINS))


def _saturation(pixels: Pixels) -> Floats:
    highest = pixels.max(axis=-1).astype(np.float32)
    spread = highest - pixels.min(axis=-1)
    means: Floats = (spread / np.maximum(highest, 1)).mean(axis=(1, 2), dtype=np.float64)
    return means


def _histograms(pixels: Pixels) -> Floats:
    bins = pixels // (256 // BINS)  # (n, S, S, 3)
    place = 3 * bins.astype(np.int64) + np.arange(3)
    place += 3 * BINS * np.arange(len(pixels))[:, None, None, None]
    counts = np.bincount(place.ravel(), minlength=3 * BINS * len(pixels))
    shares: Floats = counts.reshape(len(pixels), 3 * BINS) / (pixels.shape[1] * pixels.shape[2])
    return shares
