"""PNG files: their sides before anything is decoded, then their samples, once all checksums are right."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from data_utils.files import shown
from data_utils.pictures._colours import PALETTE, ColoursError, DamagedError
from data_utils.pictures._orientation import of_exif

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">16xIIBBxxB")  # ..., width, height, bits a sample, kind of colour, ..., whether interlaced
_RGB = (8, 2)  # bits a sample, kind of colour
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by kind of colour: grey, RGB, both with transparency
_PALETTE = 3
_ONE = b"\0\0\0\1"  # picture of an animation

Samples = npt.NDArray[Any]


def sides(content: bytes) -> tuple[int, int]:
    """Width and height.

    Raises:
        DamagedError: there is no header.
    """
    if content[12:16] != b"IHDR" or len(content) < _HEADER.size:
        raise DamagedError("it is no PNG file, it may be truncated")
    width, height, *_ = _HEADER.unpack_from(content)
    return width, height


def orientation(content: bytes) -> int:
    """Which way up it is to be seen, by its Exif chunk: 1 to 8; 1 is as it is stored, also where there is none."""
    if b"eXIf" not in content:
        return 1
    return next((of_exif(body) for kind, body in _chunks(content) if kind == b"eXIf"), 1)


def samples(content: bytes) -> tuple[Samples, tuple[str, ...]]:
    """(H, W) or (H, W, C) uint8 or uint16 and, of a palette, that it was one.

    Raises:
        DamagedError: it is not whole.
        ColoursError: of a kind that is not read.
    """
    if not _is_whole(content):
        raise DamagedError("a checksum in it is another, it may be truncated")
    width, height, bits, colours, interlaced = _HEADER.unpack_from(content)
    if b"acTL" in content and any(kind == b"acTL" and body[:4] != _ONE for kind, body in _chunks(content)):
        raise ColoursError("it holds several pictures, and nobody can say which one is the patch")
    if (bits, colours) == _RGB:
        return _opaque(content, _by_spng(content)), ()
    if colours == _PALETTE:
        _check_opaque(content)
        return _coloured(content, bits), (PALETTE,)
    if colours not in _CHANNELS:
        raise DamagedError(f"its colours are of the unknown kind {colours}")
    if (colours == 0 and bits <= 8) or colours == 6:
        return _opaque(content, _by_spng(content)), ()
    if bits not in (8, 16):
        raise DamagedError(f"its colours have {bits} bits")
    if interlaced:  # libspng reads none of these kinds
        raise ColoursError(f"it is interlaced, with {_CHANNELS[colours]} channels of {bits} bits")
    decoded = _by_hand(content, height, width * _CHANNELS[colours], bits // 8).reshape(height, width, -1)
    return _opaque(content, decoded), ()


def _by_spng(content: bytes) -> Samples:
    try:
        # libspng: half of Pillow's time, and it does not fill missing rows with black
        decoded: Samples = imagecodecs.spng_decode(content)
    except (imagecodecs.SpngError, RuntimeError) as error:
        told = shown(error).removeprefix("spng_decode_image returned ")
        raise DamagedError(f"{told}, it may be truncated") from error
    return decoded


def _is_whole(content: bytes) -> bool:
    """Whether all chunks are as they were written, by their checksums: decoders stop looking at the last pixel."""
    view, at = memoryview(content), len(SIGNATURE)
    while at < len(view):
        end = at + 8 + int.from_bytes(view[at : at + 4])
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return False
        if content.startswith(b"IEND", at + 4):
            return True
        at = end + 4
    return False


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each chunk of a whole file."""
    at = len(SIGNATURE)
    while content[at + 4 : at + 8] not in (b"IEND", b""):
        end = at + 8 + int.from_bytes(content[at : at + 4])
        yield content[at + 4 : at + 8], content[at + 8 : end]
        at = end + 4


def _check_opaque(content: bytes) -> None:
    """A palette may say of each colour how opaque it is, which libspng leaves aside."""
    if any(kind == b"tRNS" and body.count(b"\xff") < len(body) for kind, body in _chunks(content)):
        raise ColoursError("its palette has transparent colours, and nobody can say what lies behind")


def _coloured(content: bytes, bits: int) -> Samples:
    """Each pixel's colour. One that the palette does not have is black to libspng: it is found by two fillings.

    Raises:
        DamagedError: some pixels have one.
    """
    palette = next((body for kind, body in _chunks(content) if kind == b"PLTE"), b"")
    missing = 3 * 2**bits - len(palette)
    if missing <= 0 or not palette:
        return _by_spng(content)
    black, white = (_by_spng(_with_palette(content, palette + missing * filling)) for filling in (b"\0", b"\xff"))
    if (black != white).any():
        raise DamagedError("some pixels name colours that its palette does not have")
    return black


def _with_palette(content: bytes, palette: bytes) -> bytes:
    """The same file with another palette."""
    parts = ((kind, palette if kind == b"PLTE" else body) for kind, body in _chunks(content))
    told = (struct.pack(">I4s", len(body), kind) + body for kind, body in (*parts, (b"IEND", b"")))
    return SIGNATURE + b"".join(one + struct.pack(">I", zlib.crc32(one[4:])) for one in told)


def _opaque(content: bytes, decoded: Samples) -> Samples:
    """The samples, unless one colour of grey or RGB is said to be transparent, which libspng leaves aside, and occurs.

    Raises:
        ColoursError: it does.
    """
    if b"tRNS" not in content:
        return decoded
    bits, colours = content[24:26]
    said = next((body for kind, body in _chunks(content) if kind == b"tRNS"), b"")
    if colours in (0, 2) and len(said) == 2 * _CHANNELS[colours]:
        # fewer than 8 bits come as 8
        colour = np.frombuffer(said, ">u2") * (255 // (2**bits - 1) if bits < 8 else 1)
        if (decoded.reshape(*decoded.shape[:2], -1) == colour).all(axis=2).any():
            raise ColoursError("one of its colours is transparent, and nobody can say what lies behind")
    return decoded


# --- 16 bits, and grey with transparency: libspng knows neither, libpng leaks where it refuses (LOG.md) -------------


def _by_hand(content: bytes, height: int, width: int, each: int) -> Samples:
    """(H, W * C) samples of one or two bytes, not interlaced: inflated no further than they may be, unfiltered."""
    colours = content[25]
    step, stride = _CHANNELS[colours] * each, width * each  # bytes of a pixel, of a row
    packed = b"".join(body for kind, body in _chunks(content) if kind == b"IDAT")
    try:
        lines = zlib.decompressobj().decompress(packed, height * (stride + 1) + 1)
    except zlib.error as error:
        raise DamagedError(f"{shown(error)}, it may be truncated") from error
    if len(lines) != height * (stride + 1):
        raise DamagedError("it holds another number of pixels than its header says, it may be truncated")
    row, rows = bytes(stride), []
    for start in range(0, len(lines), stride + 1):
        row = _unfiltered(lines[start], lines[start + 1 : start + 1 + stride], row, step)
        rows.append(row)
    return np.frombuffer(b"".join(rows), f">u{each}").reshape(height, width).astype(f"u{each}")


def _unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """A row, of what it differs in from its left and upper neighbours (PNG, third edition, section 9)."""
    if kind == 0:
        return line
    row = bytearray(step) + line  # a pixel of zeros to the left
    before = bytes(step) + above
    for at in range(step, len(row)):
        left, up, corner = row[at - step], before[at], before[at - step]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        elif kind == 4:
            guess = _nearest(left, up, corner)
        else:
            raise DamagedError(f"a row is filtered in the unknown way {kind}")
        row[at] = (row[at] + guess) & 255
    return bytes(row[step:])


def _nearest(left: int, up: int, corner: int) -> int:
    """Paeth's guess."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))
