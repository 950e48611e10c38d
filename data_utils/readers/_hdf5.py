"""Patches as arrays in HDF5: ``x`` and ``y`` in one file, or in two, as PatchCamelyon's ``..._x.h5`` and ``..._y.h5``.

The library may follow a file to others, run filters and trust what is claimed: only plain datasets are read, which lie
in the file itself, and no more of them than its size can hold.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError, NotFoundError
from data_utils.files import beginning, file_size, shown
from data_utils.readers._zip import most_unpacked
from data_utils.readers.array_pixels import check_pixels, eight_bit
from data_utils.readers.npy import LABELS, PATIENTS, POSITIONS, with_columns
from data_utils.readers.patchset import PatchSet, Progress

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PIXELS = "x"
_COLUMNS = {"xy": POSITIONS, "patients": PATIENTS, "y": LABELS}
_NAMES = {_PIXELS, *_COLUMNS}
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}  # that the library brings; for others it would load a program


def is_this(path: Path) -> bool:
    """Whether a path is a file in this form, by its first bytes.

    Raises:
        FormatError: it cannot be read.
    """
    return path.is_file() and beginning(path).startswith(_SIGNATURE)


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """(name, bytes, modification time in ns) of the file, and of the one with the labels beside it."""
    return [(one.name, file_size(one), one.stat().st_mtime_ns) for one in _files(path)]


def read_hdf5(
    path: Path, source: str, *, labelled: bool, positive: str, progress: Progress | None, into: Path | None
) -> PatchSet:
    """Reads the file; ``into`` is a new ``.npy`` file for the pixels, in memory by default.

    Raises:
        NotFoundError: there is no ``x``, or no ``y`` where labels are needed; or h5py is not installed.
        FormatError: it is damaged, or holds another shape, type or length.
        LabelError: labels other than 0 and 1.
    """
    with ExitStack() as opened:
        there = {name: found for one in _files(path) for name, found in opened.enter_context(_opened(one)).items()}
        if _PIXELS not in there:
            other = path.with_name(f"{path.stem.removesuffix('_y')}_x{path.suffix}")
            raise NotFoundError(
                f"{shown(path)} holds {', '.join(map(shown, there)) or 'nothing'}; expected the datasets "
                "x (N, S, S, 3) and y (N,), and, where they are known, patients and xy"
                + (f": give {shown(other.name)}, which lies beside it" if other.is_file() else "")
            )
        if labelled and "y" not in there:
            raise NotFoundError(
                f"{shown(path)} holds no labels; expected the dataset y beside x, or in {_name_of_twin(path)} beside it"
            )
        values: Any = there[_PIXELS]
        check_pixels(values.place, values)
        pixels = eight_bit(values, progress, into)
        columns = {name: (there[key].place, there[key].whole()) for key, name in _COLUMNS.items() if key in there}
        return with_columns(source, pixels, columns, labelled=labelled, positive=positive, told=())


class _Values:
    """A dataset as an array of which a piece at a time is read."""

    def __init__(self, place: Path, found: Any) -> None:
        """``place`` is the file and the name in it.

        Raises:
            FormatError: it is no dataset whose values lie in its file, or claims more of them than that can hold.
        """
        _check_plain(place, found)
        self.place = place
        self.shape: tuple[int, ...] = found.shape
        self.dtype: np.dtype[Any] = found.dtype
        self.ndim = len(self.shape)
        self._found = found

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, piece: object) -> npt.NDArray[Any]:
        with _reading(self.place.parent):
            values: npt.NDArray[Any] = self._found[piece]
        return values

    def whole(self) -> npt.NDArray[Any]:
        """All of them; texts of any length as texts of one."""
        import h5py

        if h5py.check_string_dtype(self.dtype) is None:
            return self[()]
        with _reading(self.place.parent):
            return np.asarray(self._found.asstr()[()]).astype(np.str_)


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Any]]:
    """What a file holds, by name in small letters: values, or a group, which is no array."""
    try:
        import h5py
    except ImportError as error:
        raise NotFoundError(
            f"{shown(path)} is HDF5, and h5py, which reads it, is not installed: pip install 'histotune[h5]'"
        ) from error
    with _reading(path):
        file = h5py.File(path, "r")
    with file:
        with _reading(path):
            there = {name: file[name] for name in file}
        wanted = {name.lower(): (path / name, found) for name, found in there.items()}
        yield {name: _Values(*wanted[name]) if name in _NAMES else found for name, (_, found) in wanted.items()}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says of what the library cannot read that it is damaged."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{shown(path)} ({path.stat().st_size} bytes) cannot be read as HDF5 ({shown(error)}), it may be "
            "truncated: fetch it again"
        ) from error


def _check_plain(place: Path, found: Any) -> None:
    import h5py

    own = place.parent.stat().st_size
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        problem = "no dataset"
    elif found.is_virtual or found.external or found.file.filename != str(place.parent):
        problem = "a dataset whose values lie in other files"
    elif not _filters(found) <= _FILTERS:
        problem = "a dataset that only another program can unpack"
    elif (promised := math.prod(found.shape) * found.dtype.itemsize) > most_unpacked(own):
        problem = f"a dataset that claims {promised} bytes in a file of {own}, though pictures hardly compress"
    else:
        return
    raise FormatError(f"{shown(place)} is {problem}; expected plain values: write it again, or save it as .npy")


def _filters(found: "h5py.Dataset") -> set[int]:
    """Numbers of the filters that its values went through."""
    how = found.id.get_create_plist()
    return {int(how.get_filter(number)[0]) for number in range(how.get_nfilters())}


def _name_of_twin(path: Path) -> str:
    return f"{path.stem.removesuffix('_x')}_y{path.suffix}"


def _files(path: Path) -> list[Path]:
    """The file, and the one with the labels where that lies beside it."""
    twin = path.with_name(_name_of_twin(path))
    return [path, twin] if twin.is_file() else [path]
