"""Patches as arrays: a folder with ``X.npy``, ``Y.npy`` and, where they are known, ``patients.npy`` and ``xy.npy``."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import NotFoundError
from data_utils.files import check_within, file_size
from data_utils.readers.array_columns import labels_of, patients_of, positions_of
from data_utils.readers.array_file import map_array
from data_utils.readers.array_pixels import check_pixels, eight_bit
from data_utils.readers.patchset import PatchSet, Pixels, Progress, row_names, unknown_positions

PIXELS, LABELS, PATIENTS, POSITIONS = "X.npy", "Y.npy", "patients.npy", "xy.npy"
_COLUMNS = (POSITIONS, PATIENTS, LABELS)
Columns = Mapping[str, tuple[Path, npt.NDArray[Any]]]
"""``LABELS``, ``PATIENTS`` and ``POSITIONS``, as far as they are there -> where they stand, as is told, and values."""


def is_array_folder(folder: Path) -> bool:
    """Whether the folder is in this form; also where ``X.npy`` is there, but is no file that can be read."""
    return os.path.lexists(folder / PIXELS)


def read_arrays(
    folder: Path,
    source: str,
    *,
    labelled: bool,
    positive: str = "",
    progress: Progress | None = None,
    into: Path | None = None,
) -> PatchSet:
    """Reads the folder; pixels stay on disk, memory-mapped.

    Args:
        folder: of the arrays.
        source: as the user typed it.
        labelled: whether labels are needed; ids that name patches are forgotten only then, as nothing is split without.
        positive: the label of IDC, where labels are words; "" where they are 0 and 1.
        progress: called with (patches done, all) where pixels have to be converted.
        into: a new ``.npy`` file for pixels that have to be converted; in memory by default.

    Raises:
        NotFoundError: there is no ``Y.npy`` where labels are needed.
        FormatError: an array of another shape, type or length, truncated or pickled.
        LabelError: labels other than 0 and 1.
    """
    pixels, converted = _read_pixels(folder / PIXELS, progress, into)
    columns = {name: (folder / name, _load(folder / name)) for name in _COLUMNS if os.path.lexists(folder / name)}
    if labelled and LABELS not in columns:
        raise NotFoundError(
            f"{folder / LABELS} is missing; expected the labels (0 or 1) of {len(pixels)} patches beside {PIXELS}"
        )
    return with_columns(source, pixels, columns, labelled=labelled, positive=positive, told=converted)


def with_columns(
    source: str, pixels: Pixels, columns: Columns, *, labelled: bool, positive: str, told: tuple[str, ...]
) -> PatchSet:
    """The set of these pixels.

    Args:
        source: as the user typed it.
        pixels: (N, S, S, 3) uint8 RGB.
        columns: what is there of labels, patients and places.
        labelled: as ``read_arrays``.
        positive: likewise.
        told: sentences about the pixels.

    Raises:
        FormatError, LabelError: as ``read_arrays``.
    """
    count = len(pixels)
    x = y = unknown_positions(count)
    if POSITIONS in columns:
        x, y = positions_of(*columns[POSITIONS], count)
    patients, said = patients_of(*columns[PATIENTS], count, labelled=labelled) if PATIENTS in columns else (None, ())
    return PatchSet(
        pixels=pixels,
        labels=labels_of(*columns[LABELS], count, positive) if LABELS in columns else None,
        patients=patients,
        names=row_names(count),
        x=x,
        y=y,
        source=source,
        synthetic=False,
        found=count,
        exclusions=(),
        notes=(*told, *said),
    )


def array_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """(name, bytes, modification time in ns) of each file that is there.

    Raises:
        FormatError: one is there, but is no file that can be read.
    """
    there = [folder / name for name in (PIXELS, LABELS, PATIENTS, POSITIONS) if os.path.lexists(folder / name)]
    return [(path.name, file_size(path), path.stat().st_mtime_ns) for path in there]


def read_pixels(path: Path) -> Pixels:
    """(N, S, S, 3) uint8 of an array file: memory-mapped, or in memory where they had to be converted.

    Raises:
        FormatError: another shape or type, other values than 0 to 255, truncated or pickled.
    """
    return _read_pixels(path, None, None)[0]


def _read_pixels(path: Path, progress: Progress | None, into: Path | None) -> tuple[Pixels, tuple[str, ...]]:
    """The pixels, and a sentence where they were converted."""
    values = _load(path)
    check_pixels(path, values)
    if values.dtype == np.uint8:
        return values, ()
    note = f"{path}: {values.dtype} values, all whole and in 0..255, were read as uint8"
    return eight_bit(values, progress, into), (note,)


def _load(path: Path) -> npt.NDArray[Any]:
    check_within(path, path.parent)
    return map_array(path)
