"""Arrays in one ``.npz`` file of unknown origin: read within its size, never unpickled."""

import io
import math
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from studies.errors import RecordError
from studies.files import file_size

FINALIZE_AGAIN = "run python -m search.finalize again, which mends it or says what that takes"
MEND = f"put the original back, or {FINALIZE_AGAIN}"
_LONGEST_HEADER = 4096  # bytes; of a plain type it takes about 120
_LARGEST_DIRECTORY = 2**20  # bytes; each array takes about 60
_END = 42  # bytes of the record that ends a zip, and of the one before it in a zip of more than 4 GB


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays by name, read-only, as ``np.savez`` wrote them: not compressed, so that no file unpacks to more.

    Raises:
        RecordError: no such file, cut off, changed, compressed, or of other types than numbers, text and booleans.
    """
    size = file_size(path)
    try:
        with path.open("rb") as file:
            _check_end(file)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_members(members, size)
                return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except Exception as error:  # a changed header makes zipfile and NumPy raise nearly anything
        reason = " ".join(str(error).split())[:200]
        raise RecordError(f"{path} cannot be read ({reason}): {MEND}") from error


def _check_members(members: Sequence[zipfile.ZipInfo], size: int) -> None:
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > size:
        raise ValueError("its arrays claim more bytes than it has")


def _check_end(file: BinaryIO) -> None:
    """A directory larger than arrays need would take many times its size in memory."""
    file.seek(-_END, os.SEEK_END)
    end = file.read(_END)
    large = int.from_bytes(end[-10:-6], "little") > _LARGEST_DIRECTORY or end.startswith(b"PK\x06\x07")
    if large or not end[-22:].startswith(b"PK\x05\x06"):
        raise ValueError("it does not end like an archive of arrays")


def _array(content: bytes) -> npt.NDArray[Any]:
    file = io.BytesIO(content)
    with warnings.catch_warnings(action="ignore"):  # of a header that is nearly Python
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("an array in it is of another version")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("an array in it is not as long as its header promises, or pickled")
    flat = np.frombuffer(content, dtype, offset=file.tell()) if dtype.itemsize else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
