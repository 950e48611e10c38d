"""TIFF files: what their first directory says before anything is decoded, then their samples.

libtiff decodes; it is given the plain kinds only, of one picture in strips, compressed without loss.
"""

import struct
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from data_utils.files import shown
from data_utils.pictures._colours import PALETTE, ColoursError, DamagedError

SIGNATURES = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _CHANNELS = 256, 257, 258, 259, 262, 266, 277
_ORIENTATION, _COLOUR_MAP, _TILE_WIDTH, _FORMAT, _DEPTH, _TILE_DEPTH = 274, 320, 322, 339, 32997, 32998
_TYPES = {1: "B", 3: "H", 4: "I"}  # whole numbers; all that is asked for
_MOST_TAGS, _MOST_VALUES = 200, 768  # three channels of 256 colours
_LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _OF_PALETTE = range(4)
_SAMPLES = {_MIN_IS_WHITE: (1, 2), _MIN_IS_BLACK: (1, 2), _RGB: (3, 4), _OF_PALETTE: (1,)}

Tags = dict[int, tuple[int, ...]]
Samples = npt.NDArray[Any]


def sides(content: bytes) -> tuple[int, int]:
    """Width and height.

    Raises:
        DamagedError: there is no directory that names them.
    """
    tags, _ = _directory(content)
    if not tags.get(_WIDTH) or not tags.get(_HEIGHT):
        raise DamagedError("it names no width and height")
    return tags[_WIDTH][0], tags[_HEIGHT][0]


def orientation(content: bytes) -> int:
    """Which way up it is to be seen, 1 to 8; 1 is as it is stored.

    Raises:
        DamagedError: there is no directory.
    """
    tags, _ = _directory(content)
    return (tags.get(_ORIENTATION) or (1,))[0]


def samples(content: bytes) -> tuple[Samples, tuple[str, ...]]:
    """(H, W) or (H, W, C) uint8 or uint16 and, of a palette, that it was one.

    Raises:
        DamagedError: it is not whole.
        ColoursError: of a kind that is not read.
    """
    tags, more = _directory(content)
    photometric = _check_kind(tags, more)
    width, height = sides(content)
    try:
        decoded: Samples = imagecodecs.tiff_decode(content)
    except (imagecodecs.TiffError, ValueError, RuntimeError, IndexError, MemoryError) as error:
        raise DamagedError(f"{shown(error) or 'its strips cannot be read'}, it may be truncated") from error
    if decoded.ndim == 3 and decoded.shape[1:] == (height, width):  # one plane after the other
        decoded = np.moveaxis(decoded, 0, -1)
    if decoded.shape[:2] != (height, width) or decoded.dtype not in (np.uint8, np.uint16):
        raise DamagedError(f"it holds {decoded.dtype} values of the shape {decoded.shape}")
    if photometric == _OF_PALETTE:
        return _coloured(decoded, tags), (PALETTE,)
    return _from_white(decoded) if photometric == _MIN_IS_WHITE else decoded, ()


def _check_kind(tags: Tags, more: int) -> int:
    """What its values mean.

    Raises:
        ColoursError: of a kind that is not read.
    """
    photometric, channels = tags.get(_PHOTOMETRIC, (-1,))[0], tags.get(_CHANNELS, (1,))[0]
    bits, compression = tags.get(_BITS, (1,)), tags.get(_COMPRESSION, (1,))[0]
    depth = 8 if photometric == _OF_PALETTE else 16
    problem = None
    if more:
        problem = "it holds several pictures, and nobody can say which one is the patch"
    elif compression not in _LOSSLESS:
        problem = (
            f"it is a TIFF file compressed by method {compression}, of which none, LZW, deflate and PackBits are read"
        )
    elif channels not in _SAMPLES.get(photometric, ()):
        problem = f"it is a TIFF file of {channels} channels of the kind {photometric}, not grey, RGB or a palette"
    elif len(set(bits)) != 1 or bits[0] not in (8, depth) or set(tags.get(_FORMAT, (1,))) != {1}:
        problem = "it is a TIFF file of other values than whole numbers of 8 or 16 bits"
    elif _TILE_WIDTH in tags or tags.get(_FILL_ORDER, (1,)) != (1,) or {_DEPTH, _TILE_DEPTH} & tags.keys():
        problem = "it is a TIFF file in tiles, or of another order than rows of pixels"
    if problem is not None:
        raise ColoursError(problem)
    return photometric


def _from_white(decoded: Samples) -> Samples:
    """Grey that counts from white to black, the other way round; transparency stays."""
    turned = decoded.copy()
    grey = turned if turned.ndim == 2 else turned[:, :, 0]
    grey[...] = np.iinfo(decoded.dtype).max - grey
    return turned


def _coloured(indices: Samples, tags: Tags) -> Samples:
    """Each pixel's colour. A palette has 16 bits a channel: some writers put 8 bits into the upper half alone."""
    colours = np.array(tags.get(_COLOUR_MAP, ()), dtype=np.uint16)
    if indices.ndim != 2 or len(colours) != 3 * 256:
        raise DamagedError("its palette does not have 256 colours")
    if (colours % 257).any() and (colours % 256).any():
        raise ColoursError("its palette has 16 bits a channel, of which the lower 8 would be lost")
    of: Samples = (colours >> 8).astype(np.uint8).reshape(3, 256).T[indices]
    return of


def _directory(content: bytes) -> tuple[Tags, int]:
    """Whole numbers of the first directory by their tags, and where the next directory begins (0: there is none)."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        if count > _MOST_TAGS:
            raise DamagedError(f"its directory claims {count} entries")
        entries = [struct.unpack_from(f"{order}HHI", content, start + 2 + 12 * number) for number in range(count)]
        tags = {
            tag: _values(content, order, start + 10 + 12 * number, kind, length)
            for number, (tag, kind, length) in enumerate(entries)
            if kind in _TYPES and length <= _MOST_VALUES
        }
        (more,) = struct.unpack_from(f"{order}I", content, start + 2 + 12 * count)
    except struct.error as error:
        raise DamagedError("its directory lies outside of it, it may be truncated") from error
    return tags, more


def _values(content: bytes, order: str, at: int, kind: int, length: int) -> tuple[int, ...]:
    """The values of an entry: in the entry itself where they take up to four bytes, else where it points to."""
    form = struct.Struct(f"{order}{length}{_TYPES[kind]}")
    (place,) = (at,) if form.size <= 4 else struct.unpack_from(f"{order}I", content, at)
    return form.unpack_from(content, place)
