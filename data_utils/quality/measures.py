"""What a patch is like, and which patches are like each other: measures, and thresholds that rules take from them."""

from collections.abc import Callable
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_utils.quality._near import near_pairs
from data_utils.readers.patchset import Bools, Floats, Ints, PatchSet, Pixels, chunks

WHITE_LEVEL = 220
WHITE_SHARE = 0.90
BLACK_LEVEL = 50
BLACK_SHARE = 0.50
"""Ink of the surgeon reaches 15 % of a patch in the 5,547 real ones, shadow and dirt 30 to 62 % in three of them."""
BLUR = 100.0
"""Sharpness below which a patch is out of focus. Of 5,547 real patches the five below it are glass out of focus, and
the sixth (155) is smooth stroma in focus; the median is 4,450. Smoothed by a Gaussian of 1.5 pixels (3 micrometres),
99 % of the real patches fall below it, by 2 pixels all."""
NEAR = 2.0
"""Mean absolute difference, of 255, up to which two patches are the same tissue photographed or stored twice."""

# Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution", Anal Quant Cytol Histol 23
# (2001): optical density per channel of haematoxylin, eosin and DAB (here only the residual)
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def near_white(pixels: Pixels) -> Bools:
    """(N,) whether a patch is glass rather than tissue: at least 90 % of its pixels reach 220 in every channel."""
    return white_share(pixels) >= WHITE_SHARE


def near_black(pixels: Pixels) -> Bools:
    """(N,) whether ink or shadow hides a patch: at least half of its pixels stay within 50 in every channel."""
    return black_share(pixels) >= BLACK_SHARE


def blurred(pixels: Pixels) -> Bools:
    """(N,) whether a patch is out of focus: its sharpness is below 100."""
    return sharpness(pixels) < BLUR


def one_colour(pixels: Pixels) -> Bools:
    """(N,) whether all pixels of a patch are equal, as of clipped glass: it shows nothing, and others have it too."""
    other = _of_each(pixels, lambda piece: (piece != piece[:, :1, :1]).mean(axis=(1, 2, 3)))
    equal: Bools = other == 0
    return equal


def white_share(pixels: Pixels) -> Floats:
    """(N,) share of pixels, 0 to 1, that reach 220 in every channel."""
    return _of_each(pixels, lambda piece: (_over_channels(np.minimum, piece) >= WHITE_LEVEL).mean(axis=(1, 2)))


def black_share(pixels: Pixels) -> Floats:
    """(N,) share of pixels, 0 to 1, that stay within 50 in every channel."""
    return _of_each(pixels, lambda piece: (_over_channels(np.maximum, piece) <= BLACK_LEVEL).mean(axis=(1, 2)))


def sharpness(pixels: Pixels) -> Floats:
    """(N,) variance of the Laplacian of the grey levels (0 to 255): large where a patch has sharp edges.

    A measure of focus by Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR (2000): the
    Laplacian over the four neighbours, on the luma of ITU-R BT.601. It is low as well where there is nothing to see, so
    that low values mean "blurred or empty". Computed on whole levels: no machine rounds a patch over the threshold.
    """
    return _of_each(pixels, _laplacian_variance)


def brightness(pixels: Pixels) -> Floats:
    """(N,) mean over pixels and channels, 0 to 255."""
    return _of_each(pixels, lambda piece: piece.mean(axis=(1, 2, 3)))


def stain_density(pixels: Pixels) -> tuple[Floats, Floats]:
    """Mean optical density (base 10) of haematoxylin and of eosin in each patch, two times (N,).

    Colour deconvolution by the fixed matrix of Ruifrok & Johnston (2001), the one of scikit-image's ``rgb2hed``; a
    density is linear in the pixels' optical densities, so that the mean over the patch is taken first.
    """
    table = -np.log10(np.maximum(np.arange(256), 1) / 255)  # density of each level; 0 counts as 1
    means = [table[pixels[piece]].mean(axis=(1, 2)) for piece in chunks(len(pixels), 1024, pixels.shape[1])]
    density = np.concatenate(means) if means else np.empty((0, 3))  # (N, 3)
    stains = density @ np.linalg.inv(STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True))
    return stains[:, 0], stains[:, 1]


def near_copies(patches: PatchSet, among: Ints | None = None) -> tuple[Ints, Ints]:
    """Pairs of rows with patches that are exact or near duplicates, by the rule of ``duplicate_groups``: two (M,)."""
    tissue = np.flatnonzero(~near_white(patches.pixels))
    if among is not None:
        tissue = np.intersect1d(tissue, among, assume_unique=True)
    return near_pairs(patches.pixels, tissue, NEAR)


def duplicate_groups(patches: PatchSet, among: Ints | None = None) -> Ints:
    """(N,) group of each patch: exact and near duplicates of each other, in any of the 8 symmetries, share one.

    Two patches are near when one of the 8 turned and flipped views of one differs from the other by a mean absolute
    difference of at most 2 of 255; who is near to a member belongs to the group. Near-white patches join no group:
    glass resembles glass. Found completely, not by a hash (see ``_near``).

    Args:
        patches: all of them.
        among: the rows to compare; all by default. The others are groups of one.
    """
    first, second = near_copies(patches, among)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(patches), len(patches)))
    groups: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups.astype(np.int64)


def _of_each(pixels: Pixels, measure: Callable[[Pixels], Floats]) -> Floats:
    """(N,) a measure of each patch, taken piece by piece so that memory stays flat."""
    measured = [measure(pixels[piece]) for piece in chunks(len(pixels), 256, pixels.shape[1])]
    return np.concatenate(measured) if measured else np.empty(0)


def _over_channels(extreme: np.ufunc, pixels: Pixels) -> Pixels:
    """(n, S, S) smallest or largest of the three channels; an order faster than over the last axis."""
    least: Pixels = reduce(extreme, (pixels[..., channel] for channel in range(3)))
    return least


def _laplacian_variance(pixels: Pixels) -> Floats:
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    grey = ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.int16)  # (n, S, S) in 0..255
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    edges = (around - 4 * grey[:, 1:-1, 1:-1]).reshape(len(pixels), -1).astype(np.int32)  # (n, (S - 2)**2)
    mean: Floats = edges.sum(axis=1, dtype=np.int64) / edges.shape[1]
    mean_square: Floats = (edges**2).sum(axis=1, dtype=np.int64) / edges.shape[1]
    return mean_square - mean**2
