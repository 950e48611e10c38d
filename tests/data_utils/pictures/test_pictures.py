"""Pictures that are no 8-bit RGB PNG: converted by a stated rule where nothing is lost, else refused and told why."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from data_utils.errors import FormatError
from data_utils.pictures.picture import read_picture
from data_utils.readers.patches import PatchSet, read_patches
from data_utils.readers.patchset import Pixels
from soak._examples import deep_png

PATCH: Pixels = read_patches("synthetic:60").pixels[0]
GREY = PATCH.mean(axis=2).astype(np.uint8)
QUANTIZED = np.asarray(Image.fromarray(PATCH).quantize(16).convert("RGB"))
OPAQUE = np.full((50, 50, 1), 255, np.uint8)
GREY_OF_4 = GREY // 16 * 17


def saved(pixels: np.ndarray, form: str = "PNG", mode: str | None = None, **options: object) -> bytes:
    picture, content = Image.fromarray(pixels), io.BytesIO()
    (picture.convert(mode) if mode else picture).save(content, form, **options)
    return content.getvalue()


def read(content: bytes) -> tuple[Pixels, str]:
    found = read_picture(content, len(content), 50)
    assert isinstance(found, tuple), found
    patch, was = found
    assert (patch.shape, patch.dtype) == ((50, 50, 3), np.uint8)
    return patch, was


def refusal(content: bytes) -> str:
    found = read_picture(content, len(content), 50)
    assert isinstance(found, str), "it was read"
    return found


def as_grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, axis=2)


def palette_png(**options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PATCH).quantize(16).save(content, "PNG", **options)
    return content.getvalue()


def of_indices(indices: np.ndarray, colours: int, bits: int = 8) -> bytes:
    """A PNG file with a palette of so many colours, (number, 0, 0) each."""
    each = 8 // bits
    whole = np.pad(indices, ((0, 0), (0, -50 % each)))  # a row ends with a byte
    packed = sum(whole[:, place::each] << (8 - bits * (place + 1)) for place in range(each))
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in packed)
    header = struct.pack(">4sIIBBBBB", b"IHDR", 50, 50, bits, 3, 0, 0, 0)
    palette = b"PLTE" + b"".join(bytes((number, 0, 0)) for number in range(colours))
    bodies = (header, palette, b"IDAT" + zlib.compress(rows), b"IEND")
    chunks = (struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in bodies)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


INDICES = np.arange(2500).reshape(50, 50) % 3


def with_alpha(alpha: np.ndarray) -> np.ndarray:
    return np.concatenate([PATCH, alpha], axis=2)


def tiff_tag(content: bytes, tag: int, value: int, kind: int = 3) -> bytes:
    """A little-endian TIFF file with another value of one tag."""
    changed = bytearray(content)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, at) == (tag,):
            struct.pack_into("<HII", changed, at + 2, kind, 1, value)
            return bytes(changed)
    raise AssertionError(f"it has no tag {tag}")


def keyed(content: bytes, colour: tuple[int, ...]) -> bytes:
    """A PNG file in which one colour is said to be transparent."""
    body = b"tRNS" + struct.pack(f">{len(colour)}H", *colour)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return content[:33] + chunk + content[33:]  # behind the header


def of_four_bits() -> bytes:
    """A grey PNG file of 4 bits: 0 to 15."""
    rows = b"".join(b"\0" + (row[::2] & 240 | row[1::2] >> 4).tobytes() for row in GREY)
    header = struct.pack(">4sIIBBBBB", b"IHDR", 50, 50, 4, 0, 0, 0, 0)
    bodies = (header, b"IDAT" + zlib.compress(rows), b"IEND")
    chunks = (struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in bodies)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "was", "expected"),
    [
        (saved(GREY), "grey", as_grey(GREY)),
        (saved(GREY, mode="1"), "grey", as_grey(np.asarray(Image.fromarray(GREY).convert("1")) * np.uint8(255))),
        (saved(np.dstack([GREY, OPAQUE])), "opaque+grey", as_grey(GREY)),
        (palette_png(), "palette", QUANTIZED),
        (palette_png(bits=4), "palette", QUANTIZED),
        (palette_png(transparency=b"\xff" * 16), "palette", QUANTIZED),
        (of_indices(INDICES, 3), "palette", np.dstack([INDICES, 0 * INDICES, 0 * INDICES])),
        (of_indices(INDICES, 4, bits=2), "palette", np.dstack([INDICES, 0 * INDICES, 0 * INDICES])),
        (saved(with_alpha(OPAQUE)), "opaque", PATCH),
        (deep_png(PATCH), "16 bit", PATCH),
        (deep_png(with_alpha(OPAQUE)), "16 bit+opaque", PATCH),
        (deep_png(GREY[:, :, None]), "16 bit+grey", as_grey(GREY)),
        (deep_png(np.dstack([GREY, OPAQUE])), "16 bit+opaque+grey", as_grey(GREY)),
        (keyed(saved(PATCH), (1, 2, 3)), "", PATCH),
        (of_four_bits(), "grey", as_grey(GREY_OF_4)),
        (keyed(of_four_bits(), (0,)), "grey", as_grey(GREY_OF_4)),
        (saved(PATCH, "TIFF"), "", PATCH),
        (saved(PATCH, "TIFF", compression="tiff_lzw"), "", PATCH),
        (saved(PATCH, "TIFF", compression="tiff_adobe_deflate"), "", PATCH),
        (saved(PATCH, "TIFF", compression="packbits"), "", PATCH),
        (saved(PATCH, "TIFF", big_endian=True), "", PATCH),
        (saved(with_alpha(OPAQUE), "TIFF"), "opaque", PATCH),
        (saved(GREY, "TIFF"), "grey", as_grey(GREY)),
        (tiff_tag(saved(255 - GREY, "TIFF"), 262, 0), "grey", as_grey(GREY)),
        (saved(GREY.astype(np.uint16) * 257, "TIFF"), "16 bit+grey", as_grey(GREY)),
        (saved(PATCH, "TIFF", "P"), "palette", np.asarray(Image.fromarray(PATCH).convert("P").convert("RGB"))),
    ],
)  # fmt: skip
def test_what_loses_nothing_is_converted_exactly(content: bytes, was: str, expected: np.ndarray) -> None:
    patch, told = read(content)
    assert told == was
    np.testing.assert_array_equal(patch, expected)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_blocks": 2}]
)
def test_a_jpeg_file_is_read_as_pillow_reads_it(options: dict[str, int]) -> None:
    for pixels in (PATCH, GREY):
        content = saved(pixels, "JPEG", quality=90, **options)
        patch, was = read(content)
        assert was == ("JPEG" if pixels is PATCH else "JPEG+grey")
        np.testing.assert_array_equal(patch, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:imageio")  # its own TIFF writer is to go
@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("pixels", [PATCH, PATCH[:, :, 0]], ids=["colour", "grey"])
def test_a_file_is_read_as_imageio_has_written_it(ending: str, pixels: np.ndarray, tmp_path: Path) -> None:
    """Whose TIFF writer is not Pillow's."""
    path = tmp_path / f"patch.{ending}"
    imageio.imwrite(path, pixels)
    patch, _ = read(path.read_bytes())
    assert np.array_equal(patch, pixels if pixels.ndim == 3 else as_grey(pixels))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_truncated_jpeg_file_is_never_filled_with_grey(options: dict[str, int], end: bytes) -> None:
    content = saved(PATCH, "JPEG", quality=90, **options)
    whole, _ = read(content)
    for keep in range(2, len(content) - 2, 7):
        found = read_picture(content[:keep] + end, keep, 50)
        # a file that was cut behind its last coded bit, and was given its end back, has lost nothing
        assert isinstance(found, str) or (end and (found[0] == whole).all()), keep


def test_a_tiff_file_that_is_cut_anywhere_is_refused_or_whole() -> None:
    for options in (
        {},
        {"compression": "tiff_lzw"},
        {"compression": "tiff_adobe_deflate"},
        {"compression": "packbits"},
    ):
        content = saved(PATCH, "TIFF", **options)
        for keep in range(4, len(content), 53):
            found = read_picture(content[:keep], keep, 50)
            assert isinstance(found, str) or (found[0] == PATCH).all(), (options, keep)


def cmyk() -> bytes:
    return saved(PATCH, "JPEG", "CMYK")


def two_pages() -> bytes:
    content = io.BytesIO()
    page = Image.fromarray(PATCH)
    page.save(content, "TIFF", save_all=True, append_images=[page])
    return content.getvalue()


def animated() -> bytes:
    content = io.BytesIO()
    page = Image.fromarray(PATCH)
    page.save(content, "PNG", save_all=True, append_images=[Image.fromarray(255 - PATCH)])
    return content.getvalue()


COLOUR = tuple(PATCH[7, 7].tolist())
KEYED = "one of its colours is transparent, and nobody can say what lies behind"


def half_transparent() -> np.ndarray:
    alpha = OPAQUE.copy()
    alpha[20:, 20:] = 128
    return with_alpha(alpha)


def uneven() -> bytes:
    """A grey picture of 16 bits that holds more than 8."""
    values = GREY.astype(np.uint16) * 257
    values[7, 7] += 1
    content = io.BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


LOSES = "other colours than 8-bit RGB: "


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (saved(half_transparent()), LOSES + "it is transparent in places, and nobody can say what lies behind"),
        (saved(half_transparent(), "TIFF"), LOSES + "it is transparent in places"),
        (palette_png(transparency=b"\x00" * 16), LOSES + "its palette has transparent colours"),
        (uneven(), LOSES + "it has 16 bits a channel, of which the lower 8 would be lost"),
        (cmyk(), LOSES + "it is a JPEG file of 4 channels of 8 bits"),
        (saved(PATCH, "TIFF", "CMYK"), LOSES + "it is a TIFF file of 4 channels of the kind 5"),
        (saved(GREY.astype(np.float32), "TIFF"), LOSES + "it is a TIFF file of other values than whole numbers"),
        (saved(GREY, "TIFF", "1"), LOSES + "it is a TIFF file of other values than whole numbers of 8 or 16 bits"),
        (saved(PATCH, "TIFF", compression="jpeg"), LOSES + "it is a TIFF file compressed by method 7"),
        (two_pages(), LOSES + "it holds several pictures"),
        (animated(), LOSES + "it holds several pictures"),
        (keyed(saved(PATCH), COLOUR), LOSES + KEYED),
        (keyed(saved(GREY), (int(GREY[7, 7]),)), LOSES + KEYED),
        (keyed(deep_png(PATCH), tuple(257 * one for one in COLOUR)), LOSES + KEYED),
        (keyed(of_four_bits(), (int(GREY[7, 7]) // 16,)), LOSES + KEYED),
        (saved(PATCH, "GIF"), "another form than its name says: a GIF picture"),
        (saved(PATCH, "BMP"), "another form than its name says: a BMP picture"),
        (saved(PATCH, "WEBP"), "another form than its name says: a WebP picture"),
        (of_indices(np.where(INDICES == 2, 200, INDICES), 3), "unreadable: some pixels name colours that its palette"),
        (of_indices(INDICES, 2, bits=2), "unreadable: some pixels name colours that its palette does not have"),
        (b"", "unreadable: it is no PNG, JPEG or TIFF file"),
        (saved(PATCH[:40], "JPEG"), "other size than 50x50"),
        (saved(PATCH[:40], "TIFF"), "other size than 50x50"),
        (tiff_tag(tiff_tag(saved(PATCH, "TIFF"), 256, 60_000), 257, 60_000), "other size than 50x50"),
        (tiff_tag(saved(PATCH, "TIFF"), 277, 60_000), LOSES + "it is a TIFF file of 60000 channels"),
        (saved(PATCH, "TIFF")[:3], "unreadable: it is no PNG, JPEG or TIFF file, it may be truncated"),
        (saved(PATCH, "TIFF")[:6], "unreadable: its directory lies outside of it, it may be truncated"),
        (saved(PATCH, "JPEG")[:30], "unreadable: it is no JPEG file, it may be truncated"),
    ],
)  # fmt: skip
def test_what_would_lose_something_is_refused_with_that_reason(content: bytes, told: str) -> None:
    assert refusal(content).startswith(told)


def test_a_deep_picture_that_holds_a_row_less_is_no_patch() -> None:
    content = deep_png(PATCH)
    start = content.index(b"IDAT")
    body = zlib.compress(zlib.decompress(content[start + 4 : -16])[:-301])
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    assert "it holds another number of pixels" in refusal(content[: start - 4] + chunk + content[-12:])


# --- many of them ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60")


def written(folder: Path, made: PatchSet, save: Callable[[int], tuple[str, bytes]]) -> str:
    assert made.labels is not None
    assert made.patients is not None
    for row, name in enumerate(made.names.tolist()):
        ending, content = save(row)
        file = folder / made.patients[row] / str(made.labels[row]) / f"{name.removesuffix('.png')}{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return str(folder)


def mixed(made: PatchSet) -> Callable[[int], tuple[str, bytes]]:
    def save(row: int) -> tuple[str, bytes]:
        pixels = made.pixels[row]
        if row < 12:
            return ".png", saved(pixels.mean(axis=2).astype(np.uint8))
        if row < 20:
            return ".JPG", saved(pixels, "JPEG", quality=95)
        return (".tif", saved(pixels, "TIFF")) if row < 30 else (".png", saved(pixels))

    return save


NOTES = (
    "12 of 60 pictures were grey: red, green and blue are alike",
    "8 of 60 pictures were JPEG, which is lossy: what it lost is lost, and it must not have been chosen by class",
)


@pytest.mark.parametrize("many", [False, True])
def test_what_was_converted_is_counted(
    made: PatchSet, tmp_path: Path, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "set", made, mixed(made))
    if many:  # by processes, which write what they found beside the pixels
        monkeypatch.setattr("data_utils.readers._decode._PARALLEL_FROM", 1)
        monkeypatch.setattr("data_utils.readers._decode._PIECE", 25)
    read = read_patches(source, into=tmp_path / "pixels.npy", pieces=tmp_path / "pieces")
    assert (read.found, read.exclusions, read.notes) == (60, (), NOTES)
    place = {name.rpartition(".")[0]: row for row, name in enumerate(made.names.tolist())}
    rows = [place[name.rpartition(".")[0]] for name in read.names.tolist()]
    same = np.array([row >= 20 for row in rows])
    np.testing.assert_array_equal(read.pixels[same], made.pixels[rows][same])


def test_colours_that_cannot_be_converted_end_in_advice_about_colours(made: PatchSet, tmp_path: Path) -> None:
    def save(row: int) -> tuple[str, bytes]:
        pixels = made.pixels[row]
        alpha = np.full((50, 50, 1), 200 if row in (3, 4) else 255, np.uint8)
        return ".png", saved(np.concatenate([pixels, alpha], axis=2))

    source = written(tmp_path, made, save)
    message = (
        r"2 of 60 pictures cannot become 8-bit RGB without loss \(first: .*, other colours than 8-bit RGB: it is "
        r"transparent in places, and nobody can say what lies behind\); save them as 8-bit RGB or take them away$"
    )
    with pytest.raises(FormatError, match=message):
        read_patches(source)
    read = read_patches(source, labelled=False)
    assert (read.found, read.exclusions) == (60, (("other colours than 8-bit RGB", 2),))
    assert read.notes == ("58 of 60 pictures had a channel of transparency that was opaque everywhere: it was dropped",)


def test_pictures_of_another_form_than_their_names_are_named_as_such(made: PatchSet, tmp_path: Path) -> None:
    """To fetch them again, as is said of damaged ones, would bring them again."""
    source = written(tmp_path, made, lambda row: (".png", saved(made.pixels[row], "WEBP" if row < 2 else "PNG")))
    message = (
        r"2 of 60 pictures are neither PNG, JPEG nor TIFF \(first: .*, another form than its name says: "
        r"a WebP picture\); save them as PNG or take them away$"
    )
    with pytest.raises(FormatError, match=message):
        read_patches(source)
    read = read_patches(source, labelled=False)
    assert (read.found, read.exclusions) == (60, (("another form than its name says", 2),))
