"""Pairs of patches that are nearly the same under one of the 8 symmetries: all of them, without comparing all.

Each patch gets a signature that no symmetry changes and that never differs more than the patches do, so that a radius
search over signatures misses no pair; its few candidates are then compared pixel by pixel.

The signature: rings of pixels around the centre are mapped onto themselves by all 8 symmetries. Within a ring, sorted
values forget the order, and of all orders the sorted one makes the sum of absolute differences smallest
(rearrangement inequality). Means of consecutive sorted values can only bring two patches nearer (triangle inequality).
So can sums over rings and over neighbouring quantiles: by these few numbers nearly all pairs are passed over at once.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from data_utils.readers.patchset import Floats, Ints, Pixels, chunks

_RINGS = 5
_QUANTILES = 5  # means of consecutive sorted values, per ring and channel
_COARSE = ((0, 1), (2,), (3, 4))  # quantiles that are added up for the first look
_MOST = 50_000_000  # pairs of the first look, 16 bytes each; where there are more, all numbers are looked at at once
_AT_A_TIME = 200_000  # of these

Array = npt.NDArray[np.float32]


def symmetries(pixels: Pixels) -> list[Pixels]:
    """The 8 turned and flipped views of (N, H, W, C) patches, the untouched one first."""
    turned = [np.rot90(pixels, turns, axes=(1, 2)) for turns in range(4)]
    return turned + [view.swapaxes(1, 2) for view in turned]


def near_pairs(pixels: Pixels, rows: Ints, radius: float) -> tuple[Ints, Ints]:
    """Pairs among ``rows`` with a view in which their mean absolute difference is at most ``radius``.

    Args:
        pixels: (N, S, S, 3) uint8.
        rows: the rows to compare.
        radius: of 255.

    Returns:
        Two (M,) arrays of rows of ``pixels``.
    """
    if len(rows) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    # the signature is rounded in single precision; the margin keeps pairs at the very edge
    candidates = _within(_signatures(pixels, rows), radius + 0.01)
    first, second = rows[candidates[:, 0]], rows[candidates[:, 1]]
    near = np.zeros(len(first), dtype=np.bool_)
    for piece in chunks(len(first), 512, pixels.shape[1]):
        near[piece] = _difference(pixels[first[piece]], pixels[second[piece]]) <= radius
    return first[near], second[near]


def _within(signatures: Array, radius: float) -> Ints:
    """(M, 2) pairs of signatures whose L1 distance is at most ``radius``.

    Trees of many dimensions compare nearly all with all, which takes a quarter of an hour of the whole public set.
    """
    coarse = KDTree(_coarse(signatures), leafsize=64)
    if coarse.count_neighbors(coarse, radius, p=1) > 2 * _MOST + len(signatures):
        found: Ints = KDTree(signatures, leafsize=64).query_pairs(radius, p=1, output_type="ndarray")
        return found
    pairs: Ints = coarse.query_pairs(radius, p=1, output_type="ndarray")
    pieces = [pairs[begin : begin + _AT_A_TIME] for begin in range(0, len(pairs), _AT_A_TIME)]
    near = [np.abs(signatures[one[:, 0]] - signatures[one[:, 1]]).sum(axis=1) <= radius for one in pieces]
    return pairs[np.concatenate(near)] if near else pairs


def _coarse(signatures: Array) -> Array:
    """(M, 75) -> (M, 9): sums over rings and over neighbouring quantiles, which only bring two signatures nearer."""
    by_ring = signatures.reshape(len(signatures), _RINGS, _QUANTILES, 3).sum(axis=1)  # (M, quantiles, 3)
    return np.concatenate([by_ring[:, list(some)].sum(axis=1) for some in _COARSE], axis=1)


def _difference(left: Pixels, right: Pixels) -> Floats:
    """(M,) smallest mean absolute difference over the 8 views of ``left``."""
    wide = right.astype(np.int16)
    views = [np.abs(view.astype(np.int16) - wide).mean(axis=(1, 2, 3)) for view in symmetries(left)]
    smallest: Floats = np.min(views, axis=0)
    return smallest


def _signatures(pixels: Pixels, rows: Ints) -> Array:
    """(M, 75) float32, scaled so that the L1 distance bounds the mean absolute difference from below."""
    signatures = [
        np.concatenate([_pooled(pixels[rows[piece]], ring) for ring in _rings(pixels.shape[1])], axis=1)
        for piece in chunks(len(rows), 1024, pixels.shape[1])
    ]
    return np.concatenate(signatures)


def _pooled(patches: Pixels, ring: Ints) -> Array:
    """(n, 3 * quantiles): means of consecutive sorted values of the pixels in ``ring``, weighted by their number."""
    values = np.sort(patches.reshape(len(patches), -1, 3)[:, ring], axis=1)  # (n, K, 3) uint8
    starts = np.linspace(0, len(ring), _QUANTILES, endpoint=False).astype(np.int64)
    sums = np.add.reduceat(values, starts, axis=1, dtype=np.float32)  # (n, quantiles, 3)
    sums /= 3 * patches.shape[1] ** 2
    return sums.reshape(len(patches), -1)


@lru_cache(maxsize=1)
def _rings(side: int) -> tuple[Ints, ...]:
    """Pixel indices of square rings around the centre of a patch, of about equal numbers of pixels."""
    axis = np.abs(np.arange(side) - (side - 1) / 2)
    distance = np.maximum(axis[:, None], axis[None, :]).ravel()
    edges = np.quantile(distance, np.linspace(0, 1, _RINGS + 1)[1:-1])
    ring = np.searchsorted(edges, distance)  # equal distances fall into the same ring
    return tuple(np.flatnonzero(ring == number) for number in range(_RINGS))
