"""Columns beside the pixels of an array: labels, patients and places, by one rule for whatever file they stand in."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError, LabelError
from data_utils.files import shown
from data_utils.readers.ids import read_ids, without_names
from data_utils.readers.patchset import Ints, Strings


def labels_of(path: Path, labels: npt.NDArray[Any], count: int, positive: str) -> Ints:
    """(N,) 0 or 1; also of shape (N, 1), and of floats that are whole.

    Args:
        path: of the array, as it is told.
        labels: as they were written.
        count: of the patches.
        positive: the word that means IDC; "" where labels are numbers.

    Raises:
        FormatError: another shape or type, or words other than two of which ``positive`` is one.
        LabelError: labels other than 0 and 1.
    """
    if labels.shape == (count, 2):
        raise FormatError(
            f"{path} has the shape {labels.shape}, as one-hot labels have; expected ({count},): save it as "
            "Y.argmax(axis=1)"
        )
    labels = _column(path, labels, count, "labels")
    if labels.dtype.kind == "U":
        _check_code_points(path, labels)
    if positive:
        return _named(path, labels, positive)
    if labels.dtype.kind in "SU":
        words = np.unique(labels).tolist()
        raise FormatError(
            f"{path} holds text ({', '.join(map(shown, map(repr, words[:5])))}); expected 0 or 1: save it as "
            f"np.where(Y == {shown(repr(words[-1]))}, 1, 0) if that one means IDC, or leave it and give the "
            "one that does: --positive WORD"
        )
    if labels.dtype.kind not in "iubf":
        raise FormatError(f"{path} holds {labels.dtype} values; expected whole numbers or booleans, 0 or 1")
    if labels.dtype.kind == "b":
        labels = labels.view(np.uint8)  # a file may hold other bytes than a boolean's two
    others = ~np.isin(labels, (0, 1))
    if others.any():
        seen = ", ".join(str(value) for value in np.unique(labels[others])[:5])
        found = np.unique(labels)
        advice = f": save it as np.where(Y == {found[1]}, 1, 0) if that one means IDC" if len(found) == 2 else ""
        raise LabelError(
            f"{path} has {others.sum()} labels other than 0 and 1 ({seen}); expected 0 (no IDC) or 1 (IDC){advice}"
        )
    return labels.astype(np.int64)


def _named(path: Path, labels: npt.NDArray[Any], positive: str) -> Ints:
    """(N,) 1 where a label is the word, of two that there are."""
    words = np.char.decode(labels, "utf-8", "replace") if labels.dtype.kind == "S" else labels.astype(np.str_)
    found = np.unique(words).tolist()
    if len(found) != 2 or positive not in found:
        listed = ", ".join(map(shown, map(repr, found[:5])))
        raise FormatError(
            f"--positive {shown(positive)}: {path} holds {len(found)} labels ({listed}); expected two, of which "
            f"{shown(positive)} is one"
        )
    named: Ints = (words == positive).astype(np.int64)
    return named


def patients_of(
    path: Path, ids: npt.NDArray[Any], count: int, *, labelled: bool
) -> tuple[Strings | None, tuple[str, ...]]:
    """(N,) ids, "" where that is unknown (``cleaning`` refuses or excludes such patches), and what is to be said.

    Ids that name patches are forgotten only where labels are needed, as nothing is split without.
    """
    read, notes = read_ids(_as_text(path, _column(path, ids, count, "patient ids")), path)
    kept, said = without_names(read, path) if labelled else (read, ())
    return kept, (*notes, *said)


def positions_of(path: Path, positions: npt.NDArray[Any], count: int) -> tuple[Ints, Ints]:
    """Two (N,) arrays: places on the slide in pixels, -1 where unknown."""
    if positions.shape != (count, 2) or positions.dtype.kind not in "iu":
        raise FormatError(
            f"{path} holds {positions.dtype} values of the shape {positions.shape}; expected whole numbers of the "
            f"shape ({count}, 2): x and y of the patches, -1 where unknown"
        )
    x, y = positions.astype(np.int64).T
    return x, y


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


def _column(path: Path, array: npt.NDArray[Any], count: int, what: str) -> npt.NDArray[Any]:
    """(N,) of an array that has this shape, or (N, 1), or as PatchCamelyon has it (N, 1, 1, 1)."""
    if array.shape[:1] != (count,) or array.size != count:
        advice = f"; save it as {path.stem}.reshape(-1)" if array.size == count else ""
        raise FormatError(f"{path} has the shape {array.shape}; expected ({count},): {what} of the patches{advice}")
    return array.reshape(count)


def _check_code_points(path: Path, texts: npt.NDArray[Any]) -> None:
    """Refuses what no text has."""
    codes = np.ascontiguousarray(texts).view(f"{texts.dtype.str[0]}u4")  # in the byte order of the texts
    wrong = ((codes >= 0xD800) & (codes < 0xE000)) | (codes > 0x10FFFF)
    if wrong.any():
        raise FormatError(
            f"{path} holds {int(wrong.sum())} characters that are no printable text; expected plain text, one a patch: "
            "save it again"
        )
