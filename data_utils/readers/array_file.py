"""``.npy`` files of unknown origin, mapped into memory and never unpickled.

NumPy's own reader trusts the header: it allocates what is promised there and evaluates its text as Python. Here the
three fields are looked up, only plain types are known, and no more is mapped than the file holds. The format:
NEP 1 of NumPy, and ``numpy.lib.format``.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError
from data_utils.files import file_size, shown, unreadable

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096  # bytes; of a plain type it takes about 120
_MOST_DIMENSIONS = 8
_PLAIN = {  # what makes a plain array of one of objects, as pandas gives
    "X.npy": "np.stack(list(X))",
    "Y.npy": "Y.astype(int)",
    "patients.npy": "patients.astype(str)",
}
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # by version of the format

_TYPE = re.compile(r"'descr'\s*:\s*'([^']{0,40})'")
_KNOWN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c8|c16|[SUV][1-9][0-9]{0,5})")
_WIDE_TYPE = re.compile(r"[<>|=]?(?:f1[26]|c24|c32|[mM]8(?:\[[^\]]*\])?)")
_NARROW = {  # what makes numbers and times of such a type plain
    "X.npy": "X.astype(float)",
    "Y.npy": "Y.astype(int)",
    "patients.npy": "patients.astype(str)",
    "xy.npy": "xy.astype(int)",
}
_RECORDS = re.compile(r"'descr'\s*:\s*\[")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)\b")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([0-9,\sL]{0,200})\)")


@dataclass(frozen=True)
class _Header:
    """What a file promises.

    Attributes:
        dtype: of its values.
        order: "C" or "F".
        shape: of the array.
        offset: bytes before the first value.
    """

    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    shape: tuple[int, ...]
    offset: int

    @property
    def promised(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def map_array(path: Path) -> npt.NDArray[Any]:
    """The array in a ``.npy`` file, memory-mapped and read-only, in C or Fortran order.

    Raises:
        FormatError: no such file, pickled, an archive, cut off, or of a type that is neither number, text nor boolean.
    """
    size = file_size(path)
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_HEADER + 12)
        header = _header(path, start, size)
        if header.promised == 0:
            return np.empty(header.shape, header.dtype)
        return np.memmap(path, header.dtype, "r", header.offset, header.shape, header.order)
    except OSError as error:
        raise unreadable(path, error) from error


def _header(path: Path, start: bytes, size: int) -> _Header:
    if start[:1] == b"\x80":
        raise _pickled(path)
    if start[:4] == b"PK\x03\x04":
        raise FormatError(f"{shown(path)} is an archive of several arrays; expected one array, saved with np.save")
    text, offset = _text(path, start, size)
    described, ordered, shaped = _TYPE.search(text), _ORDER.search(text), _SHAPE.search(text)
    if _RECORDS.search(text):
        raise FormatError(
            f"{shown(path)} holds records; expected plain values: save one of their columns, as "
            f"{path.stem}['NAME'], with np.save"
        )
    if described is None or ordered is None or shaped is None:
        raise _damaged(path, size, "its header names no plain type, order and shape")
    if described[1].lstrip("<>|=").startswith("O"):
        raise _pickled(path)
    if _WIDE_TYPE.fullmatch(described[1]):
        raise FormatError(
            f"{shown(path)} holds values of the type {described[1]}; expected plain numbers, text or booleans: save it "
            f"as {_NARROW.get(path.name, 'A.astype(float)')}"
        )
    if not _KNOWN_TYPE.fullmatch(described[1]):
        raise _damaged(path, size, f"its values are of the unknown type {shown(described[1])}")
    shape = tuple(int(length) for length in re.findall(r"[0-9]+", shaped[1]))
    header = _Header(np.dtype(described[1]), "F" if ordered[1] == "True" else "C", shape, offset)
    if len(shape) > _MOST_DIMENSIONS or max(shape, default=0) > size or header.promised > size - offset:
        raise _damaged(path, size, f"its header promises {header.promised} bytes after the first {offset}")
    return header


def _text(path: Path, start: bytes, size: int) -> tuple[str, int]:
    """The header's text, and how many bytes lie before the first value."""
    if start[:6] != _MAGIC or len(start) < 12 or start[6] not in _LENGTH_BYTES:
        raise _damaged(path, size, "it does not begin like one")
    begin = 8 + _LENGTH_BYTES[start[6]]
    length = int.from_bytes(start[8:begin], "little")
    if length > _LONGEST_HEADER or begin + length > len(start):
        raise _damaged(path, size, f"its header claims {length} bytes")
    return start[begin : begin + length].decode("latin-1"), begin + length


def _pickled(path: Path) -> FormatError:
    return FormatError(
        f"{shown(path)} is pickled, and unpickling could run code; expected a plain array: save it as "
        f"{_PLAIN.get(path.name, 'np.array(list(A))')}"
    )


def _damaged(path: Path, size: int, reason: str) -> FormatError:
    return FormatError(
        f"{shown(path)} ({size} bytes) cannot be read as a NumPy array, it may be truncated: {reason}; "
        "save it again with np.save"
    )
