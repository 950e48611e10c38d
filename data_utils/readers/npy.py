"""Patches as arrays: a folder with ``X.npy``, ``Y.npy`` and, where they are known, ``patients.npy`` and ``xy.npy``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError, LabelError, NotFoundError
from data_utils.files import check_within, file_size, shown
from data_utils.readers.array_file import map_array
from data_utils.readers.array_pixels import check_pixels, eight_bit
from data_utils.readers.ids import read_ids, without_names
from data_utils.readers.patchset import (
    Ints,
    PatchSet,
    Pixels,
    Progress,
    Strings,
    row_names,
    unknown_positions,
)

PIXELS, LABELS, PATIENTS, POSITIONS = "X.npy", "Y.npy", "patients.npy", "xy.npy"


def is_array_folder(folder: Path) -> bool:
    """Whether the folder is in this form; also where ``X.npy`` is there, but is no file that can be read."""
    return os.path.lexists(folder / PIXELS)


def read_arrays(
    folder: Path, source: str, *, labelled: bool, progress: Progress | None = None, into: Path | None = None
) -> PatchSet:
    """Reads the folder; pixels stay on disk, memory-mapped.

    Args:
        folder: of the arrays.
        source: as the user typed it.
        labelled: whether labels are needed; ids that name patches are forgotten only then, as nothing is split without.
        progress: called with (patches done, all) where pixels have to be converted.
        into: a new ``.npy`` file for pixels that have to be converted; in memory by default.

    Raises:
        NotFoundError: there is no ``Y.npy`` where labels are needed.
        FormatError: an array of another shape, type or length, truncated or pickled.
        LabelError: labels other than 0 and 1.
    """
    pixels, converted = _read_pixels(folder / PIXELS, progress, into)
    x, y = _read_positions(folder / POSITIONS, len(pixels))
    patients, told = _read_patients(folder / PATIENTS, len(pixels), labelled=labelled)
    return PatchSet(
        pixels=pixels,
        labels=_read_labels(folder / LABELS, len(pixels), needed=labelled),
        patients=patients,
        names=row_names(len(pixels)),
        x=x,
        y=y,
        source=source,
        synthetic=False,
        found=len(pixels),
        exclusions=(),
        notes=(*converted, *told),
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


def _read_labels(path: Path, count: int, *, needed: bool) -> Ints | None:
    """(N,) 0 or 1; also of shape (N, 1), and of floats that are whole."""
    if not os.path.lexists(path):
        if needed:
            raise NotFoundError(f"{path} is missing; expected the labels (0 or 1) of {count} patches beside {PIXELS}")
        return None
    labels = _load(path)
    if labels.shape == (count, 2):
        raise FormatError(
            f"{path} has the shape {labels.shape}, as one-hot labels have; expected ({count},): save it as "
            "Y.argmax(axis=1)"
        )
    labels = _column(path, labels, count, "labels")
    if labels.dtype.kind in "SU":
        words = np.unique(labels).tolist()
        raise FormatError(
            f"{path} holds text ({', '.join(map(shown, map(repr, words[:5])))}); expected 0 or 1: save it as "
            f"np.where(Y == {shown(repr(words[-1]))}, 1, 0) if that one means IDC"
        )
    if labels.dtype.kind not in "iubf":
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


def _read_patients(path: Path, count: int, *, labelled: bool) -> tuple[Strings | None, tuple[str, ...]]:
    """(N,) ids, "" where that is unknown (``cleaning`` refuses or excludes such patches), and what is to be said."""
    if not os.path.lexists(path):
        return None, ()
    ids, notes = read_ids(_as_text(path, _column(path, _load(path), count, "patient ids")), path)
    kept, said = without_names(ids, path) if labelled else (ids, ())
    return kept, (*notes, *said)


def _as_text(path: Path, ids: npt.NDArray[Any]) -> Strings:
    """Ids as text, whatever a table of them was saved as."""
    if ids.dtype.kind == "S":
        return _decoded(path, ids)
    if ids.dtype.kind == "f":
        return _whole(path, ids).astype(np.str_)
    if ids.dtype.kind not in "Uiu":
        raise FormatError(f"{path} holds {ids.dtype} values; expected text or whole numbers, one id a patch")
    if ids.dtype.kind == "U":
        _check_code_points(path, ids)
    return ids.astype(np.str_)


def _decoded(path: Path, ids: npt.NDArray[np.bytes_]) -> Strings:
    try:
        text: Strings = np.char.decode(np.array(ids), "utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} holds bytes that are no UTF-8; expected text, one id a patch: save it as "
            "np.char.decode(patients, 'latin-1') if that is how they were written"
        ) from error
    return text


def _whole(path: Path, ids: npt.NDArray[np.floating[Any]]) -> Ints:
    """Ids that a missing one among them has made floats; -1 for that one, as -1 means nobody everywhere."""
    missing = np.isnan(ids)
    if not (missing | ((ids == np.floor(ids)) & (np.abs(ids) < 2.0 ** np.finfo(ids.dtype).nmant))).all():
        raise FormatError(
            f"{path} holds {ids.dtype} values that are not whole or cannot be told apart; expected text or whole "
            "numbers, one id a patch: save it as patients.astype(str) if they are ids all the same"
        )
    return np.where(missing, -1, ids).astype(np.int64)


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


def _column(path: Path, array: npt.NDArray[Any], count: int, what: str) -> npt.NDArray[Any]:
    """(N,) of an array that has this shape or (N, 1)."""
    if array.shape not in ((count,), (count, 1)):
        advice = f"; save it as {path.stem}.reshape(-1)" if array.size == count else ""
        raise FormatError(
            f"{path} has the shape {array.shape}; expected ({count},): {what} of the patches in {PIXELS}{advice}"
        )
    return array.reshape(count)


def _check_code_points(path: Path, texts: npt.NDArray[Any]) -> None:
    """Refuses what no text has."""
    codes = np.ascontiguousarray(texts).view(f"{texts.dtype.str[0]}u4")  # in the byte order of the texts
    wrong = ((codes >= 0xD800) & (codes < 0xE000)) | (codes > 0x10FFFF)
    if wrong.any():
        raise FormatError(
            f"{path} holds {int(wrong.sum())} characters that are no printable text; expected one id a patch: "
            "save the ids again"
        )


def _load(path: Path) -> npt.NDArray[Any]:
    check_within(path, path.parent)
    return map_array(path)
