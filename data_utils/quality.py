"""Patches that should not count twice, or that show nothing: found by a stated rule, counted by reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_utils._near import near_pairs
from data_utils._patchset import Bools, Floats, Ints, PatchSet, Pixels, chunks

WHITE_LEVEL = 220
WHITE_SHARE = 0.90
NEAR = 2.0
"""Mean absolute difference, of 255, up to which two patches are the same tissue photographed or stored twice."""

DUPLICATE = "exact duplicate"
CONTRADICTION = "exact duplicates with contradicting labels"

# Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution", Anal Quant Cytol Histol 23
# (2001): optical density per channel of haematoxylin, eosin and DAB (here only the residual)
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def near_white(pixels: Pixels) -> Bools:
    """(N,) whether a patch is glass rather than tissue: at least 90 % of its pixels reach 220 in every channel."""
    white = np.empty(len(pixels), dtype=np.bool_)
    for piece in chunks(len(pixels)):
        bright = pixels[piece].min(axis=-1) >= WHITE_LEVEL  # (n, 50, 50)
        white[piece] = bright.mean(axis=(1, 2)) >= WHITE_SHARE
    return white


def brightness(pixels: Pixels) -> Floats:
    """(N,) mean over pixels and channels, 0 to 255."""
    means = [pixels[piece].mean(axis=(1, 2, 3)) for piece in chunks(len(pixels), 1024)]
    return np.concatenate(means) if means else np.empty(0)


def stain_density(pixels: Pixels) -> tuple[Floats, Floats]:
    """Mean optical density (base 10) of haematoxylin and of eosin in each patch, two times (N,).

    Colour deconvolution by the fixed matrix of Ruifrok & Johnston (2001), the one of scikit-image's ``rgb2hed``; a
    density is linear in the pixels' optical densities, so that the mean over the patch is taken first.
    """
    table = -np.log10(np.maximum(np.arange(256), 1) / 255)  # density of each level; 0 counts as 1
    means = [table[pixels[piece]].mean(axis=(1, 2)) for piece in chunks(len(pixels), 1024)]
    density = np.concatenate(means) if means else np.empty((0, 3))  # (N, 3)
    stains = density @ np.linalg.inv(STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True))
    return stains[:, 0], stains[:, 1]


def clean(patches: PatchSet, into: Path | None = None) -> PatchSet:
    """Leaves out what the default rules exclude, counted by reason.

    Of patches with the same pixels one stays, of the first patient in the order of ids, then of names; where their
    labels contradict each other none stays, as nobody can say which is right.

    Args:
        patches: labelled.
        into: a new ``.npy`` file for the pixels; in memory by default.
    """
    repeated, contradicting = _exact_copies(patches)
    out = repeated | contradicting
    counts = ((DUPLICATE, int(repeated.sum())), (CONTRADICTION, int(contradicting.sum())))
    kept = patches.take(~out, into) if out.any() else patches
    return replace(kept, exclusions=(*patches.exclusions, *((why, count) for why, count in counts if count)))


def duplicate_groups(patches: PatchSet) -> Ints:
    """(N,) group of each patch: exact and near duplicates of each other, in any of the 8 symmetries, share one.

    Two patches are near when one of the 8 turned and flipped views of one differs from the other by a mean absolute
    difference of at most 2 of 255; who is near to a member belongs to the group. Near-white patches join no group:
    glass resembles glass. Found completely, not by a hash (see ``_near``).
    """
    tissue = np.flatnonzero(~near_white(patches.pixels))
    first, second = near_pairs(patches.pixels, tissue, NEAR)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(patches), len(patches)))
    groups: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups.astype(np.int64)


def _exact_copies(patches: PatchSet) -> tuple[Bools, Bools]:
    """Two (N,) masks: copies of a patch that stays, and copies that contradict each other."""
    identity = np.unique(patches.digests, return_inverse=True)[1]
    order = np.lexsort(_by_patient_then_name(patches))
    first = np.full(identity.max() + 1, -1)
    first[identity[order[::-1]]] = order[::-1]  # the last to be written is the first in order
    contradicting = _mixed(identity, patches.labels)[identity]
    repeated = (first[identity] != np.arange(len(patches))) & ~contradicting
    return repeated, contradicting


def _by_patient_then_name(patches: PatchSet) -> tuple[npt.NDArray[np.str_], ...]:
    return (patches.names,) if patches.patients is None else (patches.names, patches.patients)


def _mixed(identity: Ints, labels: Ints | None) -> Bools:
    """Whether both labels occur among the patches of each identity."""
    if labels is None:
        return np.zeros(identity.max() + 1, dtype=np.bool_)
    idc = np.bincount(identity, weights=labels)
    mixed: Bools = (idc > 0) & (idc < np.bincount(identity))
    return mixed
