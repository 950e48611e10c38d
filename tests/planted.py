"""Patches with faults put into them, and where each fault was put: an exploration has to find them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from data_utils.quality._near import symmetries
from data_utils.quality.measures import near_white

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """How many faults of each kind."""

    exact: int
    turned: int
    flipped: int
    blurred: int
    white: int


@dataclass(frozen=True)
class Planted:
    """Rows of the written arrays by fault; a pair is a copy and what it was copied from."""

    folder: Path
    exact: tuple[tuple[int, int], ...]
    turned: tuple[tuple[int, int], ...]
    flipped: frozenset[int]
    blurred: frozenset[int]
    white: frozenset[int]

    @staticmethod
    def names(rows: Iterable[int]) -> set[str]:
        """Rows as an exploration calls them."""
        return {f"row_{row:06d}" for row in rows}


def plant(
    pixels: npt.NDArray[np.uint8], labels: Ints, patients: npt.NDArray[np.str_], counts: Counts, folder: Path
) -> Planted:
    """Writes the arrays with their faults: no patch has two, and copies go to another patient with their label."""
    rng = np.random.default_rng(0)
    tissue = rng.permutation(np.flatnonzero(~near_white(pixels)))
    ends = np.cumsum([counts.exact, counts.turned, counts.flipped, counts.blurred, counts.white])
    exact, turned, flipped, blurred, white = np.split(tissue[: ends[-1]], ends[:-1])
    changed, wrong = np.array(pixels), np.array(labels)
    wrong[flipped] ^= 1
    for row in blurred:
        smooth = Image.fromarray(changed[row]).filter(ImageFilter.GaussianBlur(2.5))
        changed[row] = np.asarray(smooth)
    changed[white] = rng.integers(232, 246, (len(white), *pixels.shape[1:]))
    views = [symmetries(pixels[[row]])[1 + place % 7] for place, row in enumerate(turned)]
    copies = np.concatenate([exact, turned])
    ids = np.unique(patients)
    owners = ids[(np.searchsorted(ids, patients[copies]) + 1) % len(ids)]
    folder.mkdir(parents=True)
    np.save(folder / "X.npy", np.concatenate([changed, pixels[exact], *views]))
    np.save(folder / "Y.npy", np.concatenate([wrong, labels[copies]]))
    np.save(folder / "patients.npy", np.concatenate([patients, owners]))
    new = range(len(pixels), len(pixels) + len(copies))
    pairs = tuple((row, int(source)) for row, source in zip(new, copies, strict=True))
    kinds = (frozenset(rows.tolist()) for rows in (flipped, blurred, white))
    return Planted(folder, pairs[: len(exact)], pairs[len(exact) :], *kinds)
