"""Patches as arrays: a folder with ``X.npy``, ``Y.npy`` and, where patients are known, ``patients.npy``."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils._patchset import (
    PATCH_SIZE,
    Bools,
    Ints,
    PatchSet,
    Pixels,
    Strings,
    row_names,
    unknown_positions,
)
from data_utils.errors import FormatError, LabelError, NotFoundError

PIXELS, LABELS, PATIENTS = "X.npy", "Y.npy", "patients.npy"


def is_array_folder(folder: Path) -> bool:
    """Whether the folder is in this form."""
    return (folder / PIXELS).is_file()


def read_arrays(folder: Path, source: str, *, labelled: bool) -> PatchSet:
    """Reads the folder; pixels stay on disk, memory-mapped.

    Raises:
        NotFoundError: there is no ``Y.npy`` where labels are needed.
        FormatError: an array of another shape, type or length, truncated or pickled.
        LabelError: labels other than 0 and 1.
    """
    pixels = _read_pixels(folder / PIXELS)
    return PatchSet(
        pixels=pixels,
        labels=_read_labels(folder / LABELS, len(pixels), needed=labelled),
        patients=_read_patients(folder / PATIENTS, len(pixels)),
        names=row_names(len(pixels)),
        x=unknown_positions(len(pixels)),
        y=unknown_positions(len(pixels)),
        source=source,
        synthetic=False,
        found=len(pixels),
        exclusions=(),
    )


def array_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """(name, bytes, modification time in ns) of each file that is there."""
    stats = ((name, (folder / name).stat()) for name in (PIXELS, LABELS, PATIENTS) if (folder / name).exists())
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def _read_pixels(path: Path) -> Pixels:
    pixels = _load(path)
    if pixels.ndim != 4 or pixels.shape[1:] != (PATCH_SIZE, PATCH_SIZE, 3) or len(pixels) == 0:
        raise FormatError(f"{path} has the shape {pixels.shape}; expected (N, 50, 50, 3) with N of at least 1")
    if pixels.dtype != np.uint8:
        raise FormatError(
            f"{path} holds {pixels.dtype} values; expected uint8 in 0..255: save it with .astype('uint8')"
        )
    return pixels


def _read_labels(path: Path, count: int, *, needed: bool) -> Ints | None:
    if not path.is_file():
        if needed:
            raise NotFoundError(f"{path} is missing; expected the labels (0 or 1) of {count} patches beside {PIXELS}")
        return None
    labels = _load(path)
    _check_length(path, labels, count, "labels")
    if labels.dtype.kind not in "iub":
        raise FormatError(f"{path} holds {labels.dtype} values; expected whole numbers or booleans, 0 or 1")
    others = ~np.isin(labels, (0, 1))
    if others.any():
        seen = ", ".join(str(value) for value in np.unique(labels[others])[:5])
        raise LabelError(
            f"{path} has {others.sum()} labels other than 0 and 1 ({seen}); expected 0 (no IDC) or 1 (IDC)"
        )
    return labels.astype(np.int64)


def _read_patients(path: Path, count: int) -> Strings | None:
    if not path.is_file():
        return None
    patients = _load(path)
    _check_length(path, patients, count, "patient ids")
    if patients.dtype.kind not in "Uiu":
        raise FormatError(f"{path} holds {patients.dtype} values; expected text or whole numbers, one id a patch")
    ids = patients.astype(np.str_)
    empty: Bools = np.char.str_len(ids) == 0
    if empty.any():
        raise FormatError(
            f"{path} has {empty.sum()} empty ids of {count}; expected an id for every patch: "
            "fill them in, or take the file away to split by groups of duplicates"
        )
    return ids


def _check_length(path: Path, array: npt.NDArray[Any], count: int, what: str) -> None:
    if array.shape != (count,):
        raise FormatError(f"{path} has the shape {array.shape}; expected ({count},): {what} of the patches in {PIXELS}")


def _load(path: Path) -> npt.NDArray[Any]:
    """Maps an array; a pickled one is refused, never unpickled."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        if _is_pickled(path, error):
            raise FormatError(
                f"{path} is pickled, and unpickling could run code; save it as a plain array with "
                "np.save(..., allow_pickle=False)"
            ) from error
        raise FormatError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a NumPy array, it may be truncated: {error}"
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise FormatError(f"{path} is an archive of several arrays; expected one array, saved with np.save")
    return array


def _is_pickled(path: Path, error: Exception) -> bool:
    """Whether it is a pickle, or an array of pickled objects; NumPy says "object" of any file that is no array."""
    with path.open("rb") as file:
        start = file.read(6)
    return start[:1] == b"\x80" or (start == b"\x93NUMPY" and "object" in str(error).lower())
