"""One PNG file of 8-bit RGB into a patch: the very pixels that Pillow reads, and none of a file that is damaged."""

import io
import struct
import zlib
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from data_utils.pictures.picture import read_picture
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import Pixels

PATCH: Pixels = read_patches("synthetic:60").pixels[0]


def png(pixels: Pixels = PATCH, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def read(content: bytes) -> Pixels | str:
    found = read_picture(content, len(content), 50)
    if isinstance(found, tuple):
        assert found[1] == ""
        return found[0]
    return found


def with_chunk(kind: bytes, body: bytes, content: bytes = png()) -> bytes:
    """One more chunk, behind the header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content[:33] + chunk + content[33:]


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_patch_is_read_to_the_last_bit(level: int) -> None:
    patch = read(png(compress_level=level))
    assert isinstance(patch, np.ndarray), patch
    assert patch.dtype == np.uint8
    assert (patch == PATCH).all()


def _with_text(content: bytes) -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_text("Scanner", "20x")
    del content
    return png(pnginfo=told)


@pytest.mark.parametrize(
    "changed",
    [
        lambda content: with_chunk(b"gAMA", struct.pack(">I", 45455), content),
        lambda content: with_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3), content),
        lambda content: with_chunk(b"sBIT", b"\x05\x05\x05", content),
        lambda content: with_chunk(b"pHYs", struct.pack(">IIB", 2000, 1000, 1), content),
        lambda content: content + b"more behind the end",
        _with_text,
    ],
    ids=[
        "gamma",
        "transparent colour that does not occur",
        "significant bits",
        "pixels not square",
        "more behind the end",
        "text",
    ],
)
def test_what_a_file_says_besides_changes_no_pixel(changed: Callable[[bytes], bytes]) -> None:
    patch = read(changed(png()))
    assert isinstance(patch, np.ndarray), patch
    assert (patch == PATCH).all()


def test_an_interlaced_patch_is_read() -> None:
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]  # Adam7
    rows = [b"\0" + row.tobytes() for x, y, by_x, by_y in passes for row in PATCH[y::by_y, x::by_x]]
    header = b"IHDR" + struct.pack(">IIBBBBB", 50, 50, 8, 2, 0, 0, 1)
    content = png()[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + png()[-12:]
    patch = read(with_chunk(b"IDAT", zlib.compress(b"".join(rows)), content))
    assert isinstance(patch, np.ndarray), patch
    assert (patch == PATCH).all()


def _changed(content: bytes, kind: str, at: int, value: int) -> bytes:
    at %= len(content)
    if kind == "bit":
        return content[:at] + bytes([content[at] ^ (1 << value % 8)]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "gone":
        return content[:at] + content[at + 1 + value % 32 :]
    return content[:at] + bytes([value]) + content[at:]


@settings(max_examples=500)
@given(kind=st.sampled_from(["bit", "cut", "gone", "added"]), at=st.integers(0, 2**16), value=st.integers(0, 255))
def test_a_damaged_file_is_never_read_as_another_patch(kind: str, at: int, value: int) -> None:
    patch = read(_changed(png(), kind, at, value))
    assert isinstance(patch, str) or (patch == PATCH).all()


def test_each_bit_of_what_stands_around_the_pixels_may_be_wrong() -> None:
    content = png()
    places = [*range(45), *range(len(content) - 24, len(content))]
    for at, bit in product(places, range(8)):
        patch = read(_changed(content, "bit", at, bit))
        assert isinstance(patch, str) or (patch == PATCH).all(), (at, bit)


def test_a_file_that_holds_a_row_less_is_no_patch() -> None:
    """Pillow fills the row with black and says nothing."""
    content = png()
    start = content.index(b"IDAT")
    rows = zlib.decompress(content[start + 4 : -16])
    short = with_chunk(b"IDAT", zlib.compress(rows[:-151]), content[: start - 4] + content[-12:])
    told = read(short)
    assert isinstance(told, str)
    assert "unreadable: IDAT stream too short" in told


def test_a_second_header_with_other_sides_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    told = read(with_chunk(b"IHDR", header))
    assert isinstance(told, str)
    assert "unreadable" in told
