"""Stain vectors and amounts by Macenko et al., "A method for normalizing histology slides", ISBI 2009, batch by batch.

With the authors' own constants and those of torchstain: light of 240 through glass, a pixel counts as stained where
each channel's density reaches 0.15, and extremes are 1st and 99th percentiles. Densities are natural logarithms.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.readers.patchset import Bools, Floats, Pixels

LIGHT = 240.0
STAINED_LEVEL = 205
"""A pixel is stained where no channel is brighter: -log((205 + 1) / 240) is the last density that reaches 0.15."""
_EXTREME = 0.01
_FEWEST = 50  # stained pixels, 2 % of a patch of the usual side; fewer have no percentiles to speak of
_NARROWEST = 0.05  # sine of the angle between two stains, 3 degrees; nearer ones are one stain, measured with noise
_FAINTEST = 0.15  # strongest amount of a stain; below, no pixel is stained by it alone

Reals = npt.NDArray[np.floating[Any]]


def densities(pixels: Pixels, dtype: type[np.floating[Any]]) -> Reals:
    """(N, P, 3) levels -> (N, 3, P) optical densities, from -0.06 (255) to 5.5 (0)."""
    levels: Reals = -np.log((np.arange(256) + 1) / LIGHT).astype(dtype)
    return levels[np.ascontiguousarray(pixels.transpose(0, 2, 1))]


def stained(pixels: Pixels) -> Bools:
    """(N, P, 3) levels -> (N, P) whether a pixel is stained, and not light through glass."""
    brightest: Pixels = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    return brightest <= STAINED_LEVEL


def stain_vectors(density: Reals, counted: Bools) -> tuple[Floats, Bools]:
    """The two stains of each patch.

    They are the outermost directions of the densities in the plane of the two leading eigenvectors of their covariance,
    haematoxylin first: it takes more red. Angles are measured from the mean density, so that none jumps from pi to -pi.

    Args:
        density: (N, 3, P).
        counted: (N, P) the pixels to look at.

    Returns:
        (N, 3, 2) unit vectors, and (N,) whether they mean anything: there are pixels enough, and two directions.
    """
    count = counted.sum(axis=1)
    weight = counted.astype(density.dtype)
    mean = (density @ weight[:, :, None]) / np.maximum(count, 1)[:, None, None]  # (N, 3, 1)
    apart = (density - mean.astype(density.dtype)) * weight[:, None, :]
    covariance = (apart @ apart.transpose(0, 2, 1)).astype(np.float64) / np.maximum(count - 1, 1)[:, None, None]
    plane = np.linalg.eigh(covariance)[1][:, :, 1:]  # (N, 3, 2)
    across = plane.transpose(0, 2, 1) @ mean  # (N, 2, 1) the mean within the plane
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = across / np.maximum(length, np.finfo(np.float64).tiny)
    turned = plane @ np.concatenate([across, across[:, ::-1] * [[-1.0], [1.0]]], axis=2)  # first axis: the mean
    ends = _extreme_angles(turned.transpose(0, 2, 1).astype(density.dtype) @ density, counted, count)
    vectors = turned @ np.stack([np.cos(ends), np.sin(ends)], axis=1)  # (N, 3, 2)
    swapped = (vectors[:, 0, 0] < vectors[:, 0, 1])[:, None, None]
    vectors = np.where(swapped, vectors[:, :, ::-1], vectors)
    wide = np.abs(np.sin(ends[:, 1] - ends[:, 0])) >= _NARROWEST
    return vectors, (count >= _FEWEST) & wide & (length[:, 0, 0] > 0)


def amounts(density: Reals, vectors: Floats) -> Reals:
    """(N, 2, P) how much of each stain is in each pixel, by least squares.

    Args:
        density: (N, 3, P).
        vectors: (N, 3, 2) unit vectors.
    """
    turned = vectors.transpose(0, 2, 1)
    common = turned[:, :1] @ vectors[:, :, 1:]  # (N, 1, 1) cosine of the angle
    own = 1 / np.maximum(1 - common**2, _NARROWEST**2)  # exact but for vectors that mean nothing
    solved = own * (turned - common * turned[:, ::-1])  # (N, 2, 3)
    return solved.astype(density.dtype) @ density


def strongest(amount: Reals) -> tuple[Floats, Bools]:
    """(N, 2, P) amounts -> (N, 2) their 99th percentiles, and (N,) whether both stains are there at all."""
    place = (1 - _EXTREME) * (amount.shape[2] - 1)
    low = int(place)
    high = min(low + 1, amount.shape[2] - 1)
    ordered = np.partition(amount, (low, high), axis=2)[:, :, [low, high]].astype(np.float64)
    found = ordered[:, :, 0] + (place - low) * (ordered[:, :, 1] - ordered[:, :, 0])
    return found, (found >= _FAINTEST).all(axis=1)


def levels(density: Reals) -> Pixels:
    """(N, 3, P) densities -> (N, P, 3) levels."""
    light = np.rint(LIGHT * np.exp(-np.maximum(density, -1))).clip(0, 255).astype(np.uint8)  # -1 is 652 already
    return np.ascontiguousarray(light.transpose(0, 2, 1))


def _extreme_angles(placed: Reals, counted: Bools, count: npt.NDArray[np.int64]) -> Floats:
    """(N, 2) 1st and 99th percentiles of the angles of the counted pixels; 0 where there are none.

    Args:
        placed: (N, 2, P) pixels within the plane.
        counted: (N, P).
        count: (N,) how many are counted.
    """
    angles = np.where(counted, np.arctan2(placed[:, 1], placed[:, 0]), np.inf)
    angles.sort(axis=1)
    place = np.array([_EXTREME, 1 - _EXTREME]) * np.maximum(count - 1, 0)[:, None]  # (N, 2)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    lower, upper = (np.take_along_axis(angles, index, axis=1).astype(np.float64) for index in (low, high))
    lower, upper = (np.where(count[:, None] > 0, ends, 0.0) for ends in (lower, upper))
    return lower + (place - low) * (upper - lower)
