"""Patches as arrays: a folder with ``X.npy``, ``Y.npy`` and, where they are known, ``patients.npy`` and ``xy.npy``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError, LabelError, NotFoundError
from data_utils.readers.array_file import map_array
from data_utils.readers.files import check_within, file_size
from data_utils.readers.patchset import (
    PATCH_SIZE,
    Ints,
    PatchSet,
    Pixels,
    Strings,
    row_names,
    unknown_positions,
)

PIXELS, LABELS, PATIENTS, POSITIONS = "X.npy", "Y.npy", "patients.npy", "xy.npy"


def is_array_folder(folder: Path) -> bool:
    """Whether the folder is in this form; also where ``X.npy`` is there, but is no file that can be read."""
    return os.path.lexists(folder / PIXELS)


def read_arrays(folder: Path, source: str, *, labelled: bool) -> PatchSet:
    """Reads the folder; pixels stay on disk, memory-mapped.

    Raises:
        NotFoundError: there is no ``Y.npy`` where labels are needed.
        FormatError: an array of another shape, type or length, truncated or pickled.
        LabelError: labels other than 0 and 1.
    """
    pixels = read_pixels(folder / PIXELS)
    x, y = _read_positions(folder / POSITIONS, len(pixels))
    return PatchSet(
        pixels=pixels,
        labels=_read_labels(folder / LABELS, len(pixels), needed=labelled),
        patients=_read_patients(folder / PATIENTS, len(pixels)),
        names=row_names(len(pixels)),
        x=x,
        y=y,
        source=source,
        synthetic=False,
        found=len(pixels),
        exclusions=(),
    )


def array_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """(name, bytes, modification time in ns) of each file that is there.

    Raises:
        FormatError: one is there, but is no file that can be read.
    """
    there = [folder / name for name in (PIXELS, LABELS, PATIENTS, POSITIONS) if os.path.lexists(folder / name)]
    return [(path.name, file_size(path), path.stat().st_mtime_ns) for path in there]


def read_pixels(path: Path) -> Pixels:
    """(N, 50, 50, 3) uint8 of an array file, memory-mapped.

    Raises:
        FormatError: another shape or type, truncated or pickled.
    """
    pixels = _load(path)
    if pixels.ndim != 4 or pixels.shape[1:] != (PATCH_SIZE, PATCH_SIZE, 3) or len(pixels) == 0:
        raise FormatError(f"{path} has the shape {pixels.shape}; expected (N, 50, 50, 3) with N of at least 1")
    if pixels.dtype != np.uint8:
        raise FormatError(
            f"{path} holds {pixels.dtype} values; expected uint8 in 0..255: save it with .astype('uint8')"
        )
    return pixels


def _read_labels(path: Path, count: int, *, needed: bool) -> Ints | None:
    if not os.path.lexists(path):
        if needed:
            raise NotFoundError(f"{path} is missing; expected the labels (0 or 1) of {count} patches beside {PIXELS}")
        return None
    labels = _load(path)
    _check_length(path, labels, count, "labels")
    if labels.dtype.kind not in "iub":
        raise FormatError(f"{path} holds {labels.dtype} values; expected whole numbers or booleans, 0 or 1")
    if labels.dtype.kind == "b":
        labels = labels.view(np.uint8)  # a file may hold other bytes than a boolean's two
    others = ~np.isin(labels, (0, 1))
    if others.any():
        seen = ", ".join(str(value) for value in np.unique(labels[others])[:5])
        raise LabelError(
            f"{path} has {others.sum()} labels other than 0 and 1 ({seen}); expected 0 (no IDC) or 1 (IDC)"
        )
    return labels.astype(np.int64)


def _read_patients(path: Path, count: int) -> Strings | None:
    """(N,) ids, "" where the patient of a patch is unknown (``cleaning`` refuses or excludes those)."""
    if not os.path.lexists(path):
        return None
    patients = _load(path)
    _check_length(path, patients, count, "patient ids")
    if patients.dtype.kind not in "Uiu":
        raise FormatError(f"{path} holds {patients.dtype} values; expected text or whole numbers, one id a patch")
    if patients.dtype.kind == "U":
        _check_text(path, patients)
    ids = patients.astype(np.str_)
    return ids if (ids != "").any() else None


def _read_positions(path: Path, count: int) -> tuple[Ints, Ints]:
    """Two (N,) arrays: places on the slide in pixels, -1 where unknown."""
    if not os.path.lexists(path):
        return unknown_positions(count), unknown_positions(count)
    positions = _load(path)
    if positions.shape != (count, 2) or positions.dtype.kind not in "iu":
        raise FormatError(
            f"{path} holds {positions.dtype} values of the shape {positions.shape}; expected whole numbers of the "
            f"shape ({count}, 2): x and y of the patches in {PIXELS}, -1 where unknown"
        )
    x, y = positions.astype(np.int64).T
    return x, y


def _check_length(path: Path, array: npt.NDArray[Any], count: int, what: str) -> None:
    if array.shape != (count,):
        raise FormatError(f"{path} has the shape {array.shape}; expected ({count},): {what} of the patches in {PIXELS}")


def _check_text(path: Path, texts: npt.NDArray[Any]) -> None:
    """Refuses code points that no text has, and control characters, which could rewrite a terminal's line."""
    codes = np.ascontiguousarray(texts).view(f"{texts.dtype.str[0]}u4")  # in the byte order of the texts
    control = ((codes > 0) & (codes < 0x20)) | ((codes >= 0x7F) & (codes < 0xA0))
    wrong = control | ((codes >= 0xD800) & (codes < 0xE000)) | (codes > 0x10FFFF)
    if wrong.any():
        raise FormatError(
            f"{path} holds {int(wrong.sum())} characters that are no printable text; expected one id a patch: "
            "save the ids again"
        )


def _load(path: Path) -> npt.NDArray[Any]:
    check_within(path, path.parent)
    return map_array(path)
