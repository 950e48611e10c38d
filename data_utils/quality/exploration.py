"""What can be said of patches before any training: measures of each, repetitions, a sample to model, a map.

Nothing here decides what is left out (``quality`` does), and nothing here reads a sealed row: it is given patches.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_utils.quality._near import near_pairs, symmetries
from data_utils.quality.histograms import mean_colour, saturation
from data_utils.quality.measures import NEAR, blurred, brightness, near_black, near_white, sharpness, stain_density
from data_utils.readers.patchset import (
    Bools,
    Floats,
    Ints,
    PatchSet,
    Pixels,
    Progress,
    Strings,
    chunks,
    known,
    patch_digests,
)

_AT_ONCE = 2048  # patches of 50 pixels read together: 15 MB
_COMPONENTS = 50  # of the features that the map is made of
_NEIGHBOURS = 30
_STEPS = 500  # of the descent; 1,000 draw the same islands in twice the time


@dataclass(frozen=True, eq=False)
class Measures:
    """What can be measured of each patch alone; every array is (N,).

    Attributes:
        red, green, blue: mean levels, 0 to 255.
        brightness: mean level of all channels, 0 to 255.
        saturation: 0 (grey) to 1.
        haematoxylin, eosin: mean optical densities (base 10) after colour deconvolution.
        sharpness: variance of the Laplacian.
        highest: level of any pixel and channel, 0 to 255.
        near_white, near_black, blurred: by the rules of ``quality``.
    """

    red: Floats
    green: Floats
    blue: Floats
    brightness: Floats
    saturation: Floats
    haematoxylin: Floats
    eosin: Floats
    sharpness: Floats
    highest: Pixels
    near_white: Bools
    near_black: Bools
    blurred: Bools


def measure(pixels: Pixels, progress: Progress | None = None) -> Measures:
    """Measures (N, S, S, 3) uint8 patches, in pieces; called progress with (done, all) after each."""
    pieces = []
    for piece in chunks(len(pixels), _AT_ONCE, pixels.shape[1]):
        pieces.append(vars(_measure(np.asarray(pixels[piece]))))
        if progress:
            progress(piece.stop, len(pixels))
    return Measures(**{name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})


def _measure(pixels: Pixels) -> Measures:
    red, green, blue = mean_colour(pixels).T
    haematoxylin, eosin = stain_density(pixels)
    return Measures(
        red=red,
        green=green,
        blue=blue,
        brightness=brightness(pixels),
        saturation=saturation(pixels),
        haematoxylin=haematoxylin,
        eosin=eosin,
        sharpness=sharpness(pixels),
        highest=pixels.max(axis=(1, 2, 3)),
        near_white=near_white(pixels),
        near_black=near_black(pixels),
        blurred=blurred(pixels),
    )


# --- repetitions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Repetitions:
    """Which patches repeat each other.

    Attributes:
        exact: (N,) number of each patch's picture: equal numbers, equal pixels.
        near: (N,) number of each patch's group: the same picture, a turned or flipped view of it, or one that differs
            from a view by a mean absolute difference of at most 2 of 255. Glass resembles glass, so that near-white
            patches share a group only where a view has equal pixels.
    """

    exact: Ints
    near: Ints


def find_repetitions(patches: PatchSet, glass: Bools) -> Repetitions:
    """Finds all of them; ``glass`` is (N,) which patches are near-white."""
    first, exact = np.unique(patches.digests, return_index=True, return_inverse=True)[1:]
    shown = glass[first]
    pairs = [
        (first[exact], np.arange(len(patches))),
        near_pairs(patches.pixels, first[~shown], NEAR),
        _turned_pairs(patches.pixels, first[shown]),
    ]
    one, other = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(patches), len(patches)))
    groups = connected_components(graph, directed=False)[1]
    return Repetitions(exact.astype(np.int64), groups.astype(np.int64))


def _turned_pairs(pixels: Pixels, rows: Ints) -> tuple[Ints, Ints]:
    """Pairs among ``rows`` that have equal pixels in one of the 8 views."""
    smallest = [
        np.sort([patch_digests(view) for view in symmetries(pixels[rows[piece]])], axis=0)[0]
        for piece in chunks(len(rows), _AT_ONCE, pixels.shape[1])
    ]
    if not smallest:
        return rows, rows
    first, same = np.unique(np.concatenate(smallest), return_index=True, return_inverse=True)[1:]
    return rows[first[same]], rows


def inexact(repetitions: Repetitions) -> Bools:
    """(N,) whether a patch's near group holds more than one picture."""
    first = np.unique(repetitions.exact, return_index=True)[1]
    pictures = np.bincount(repetitions.near[first], minlength=repetitions.near.max() + 1)
    several: Bools = (pictures > 1)[repetitions.near]
    return several


def contradicting(groups: Ints, labels: Ints) -> Bools:
    """(N,) whether a patch's group holds both labels."""
    idc, size = np.bincount(groups, weights=labels), np.bincount(groups)
    mixed: Bools = ((idc > 0) & (idc < size))[groups]
    return mixed


# --- what is modelled and drawn -------------------------------------------------------------------------------------


def rows_to_model(patches: PatchSet, exact: Ints) -> Ints:
    """Rows that stand for the set: one of each picture, none whose copies contradict it.

    Args:
        patches: labelled.
        exact: as in ``Repetitions``.
    """
    first = np.zeros(len(patches), dtype=np.bool_)
    first[np.unique(exact, return_index=True)[1]] = True
    return np.flatnonzero(first & ~contradicting(exact, known(patches)))


def some(rows: Ints, most: int, seed: int) -> Ints:
    """At most so many of the rows, drawn at random, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def together(patches: PatchSet, near: Ints) -> Ints:
    """(N,) what no cross-validation may tear apart: the patient, or the group of near duplicates without patients."""
    units: Strings | Ints = near if patches.patients is None else patches.patients
    return np.unique(units, return_inverse=True)[1].astype(np.int64)


def flat_map(features: Floats, seed: int) -> Floats:
    """(M, 2) places on a plane that keep neighbours together: t-SNE of the first 50 principal components.

    Van der Maaten & Hinton, "Visualizing data using t-SNE", JMLR 9 (2008). Distances between far points mean nothing.
    (UMAP would need numba and LLVM, 200 MB, for a picture of the same kind.)

    Args:
        features: (M, F), M at least 4.
        seed: of the descent.
    """
    from sklearn.decomposition import PCA  # seconds to import
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    components = min(_COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(StandardScaler().fit_transform(features))
    perplexity = min(_NEIGHBOURS, (len(features) - 1) / 3)
    descent = TSNE(2, perplexity=perplexity, max_iter=_STEPS, init="pca", random_state=seed)
    places: Floats = descent.fit_transform(reduced).astype(np.float64)
    return places
