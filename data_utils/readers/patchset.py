"""What every reader gives and every later step takes: patches with their labels, patients and names."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

USUAL_SIDE = 50
"""Height and width in pixels of the public set's patches: 100 micrometres at its 40x / 8 resolution."""
SMALLEST_SIDE, LARGEST_SIDE = 32, 256
"""Between which the one side of all patches of a set lies, in pixels."""

Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Rows = Ints | Bools
Progress = Callable[[int, int], None]
"""Called with (patches done, patches in all)."""

_CHUNK = 4096  # patches of the usual side copied at a time: 30 MB


def patch_digests(pixels: Pixels) -> Strings:
    """Sha256 of each patch's pixels, as (N,) hexadecimal strings of 64 characters."""
    digests = [sha256(patch.tobytes()).hexdigest() for patch in pixels]
    return np.array(digests, dtype="U64")


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches and what is known of them; row i of every array is the same patch.

    Attributes:
        pixels: (N, S, S, 3) uint8 RGB, in memory or memory-mapped; S is ``side``.
        labels: (N,) 0 or 1 (invasive ductal carcinoma), None where there are none.
        patients: (N,) ids, None where they are unknown.
        names: (N,) file names, ``row_000123`` (original row) where patches have none.
        x: (N,) position on the slide in pixels, -1 where unknown.
        y: (N,) likewise.
        source: path, or "synthetic:600", as the user typed it.
        synthetic: whether the patches are made up.
        found: patches and other files found, before anything was left out.
        exclusions: (reason, count), each counted once, under the first rule that met it.
        notes: what a reader took for what, and what it converted: a sentence each.
        parts: (N,) "train", "validation" or "test" as its folders name it, "" where they do not; None where none does.
    """

    pixels: Pixels
    labels: Ints | None
    patients: Strings | None
    names: Strings
    x: Ints
    y: Ints
    source: str
    synthetic: bool
    found: int
    exclusions: tuple[tuple[str, int], ...]
    notes: tuple[str, ...] = ()
    parts: Strings | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side(self) -> int:
        """Height and width of every patch in pixels; by their bytes, digests and fingerprint tell sides apart too."""
        return int(self.pixels.shape[1])

    @cached_property
    def digests(self) -> Strings:
        """(N,) sha256 of each patch's pixels; computed once."""
        return patch_digests(self.pixels)

    def take(self, rows: Rows, into: Path | None = None) -> Self:
        """The same set with these rows (indices or a mask) only, in that order.

        Args:
            rows: indices or a mask.
            into: a new ``.npy`` file that holds the pixels, memory-mapped; in memory by default.
        """
        arrays: dict[str, Any] = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name != "pixels" and isinstance(getattr(self, field.name), np.ndarray)
        }
        pixels = self.pixels[rows] if into is None else copy_rows(self.pixels, rows, into)
        return replace(self, pixels=pixels, **arrays)


def known(patches: PatchSet) -> Ints:
    """The labels of patches that must have them."""
    assert patches.labels is not None, "unlabelled patches are for prediction only"
    return patches.labels


def chunks(length: int, size: int = _CHUNK, side: int = USUAL_SIDE) -> Iterator[slice]:
    """Slices that cover ``range(length)``.

    Args:
        length: patches in all.
        size: of a slice, in patches of the usual side.
        side: of the patches; of larger ones fewer are taken, so that they are as many bytes.
    """
    step = max(1, size * USUAL_SIDE**2 // side**2)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def is_square(height: int, width: int) -> bool:
    """Whether these are the sides of a patch, in pixels."""
    return height == width and SMALLEST_SIDE <= height <= LARGEST_SIDE


def new_pixels(count: int, side: int, into: Path | None) -> Pixels:
    """Room for ``count`` patches, (N, side, side, 3) uint8: in memory, or in the new ``.npy`` file ``into``.

    Raises:
        OSError: the disk has no room for it.
    """
    shape = (count, side, side, 3)
    if into is None or count == 0:  # an empty file cannot be memory-mapped
        return np.empty(shape, dtype=np.uint8)
    room = np.lib.format.open_memmap(into, mode="w+", dtype=np.uint8, shape=shape)
    reserve(into)
    return room


def reserve(file: Path) -> None:
    """Takes the room of a file that is to be mapped: one with holes would end the process once the disk is full.

    Raises:
        OSError: the disk has no room for it.
    """
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def copy_rows(pixels: Pixels, rows: Rows, into: Path) -> Pixels:
    """These rows in a new memory-mapped file, copied piece by piece so that memory stays flat."""
    indices = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    side = pixels.shape[1]
    copied = new_pixels(len(indices), side, into)
    for piece in chunks(len(indices), side=side):
        copied[piece] = pixels[indices[piece]]
    return copied


def row_names(count: int) -> Strings:
    """``row_000000`` and so on, for patches without names."""
    return np.array([f"row_{row:06d}" for row in range(count)], dtype=np.str_)


def unknown_positions(count: int) -> Ints:
    """(N,) of -1."""
    return np.full(count, -1, dtype=np.int64)
