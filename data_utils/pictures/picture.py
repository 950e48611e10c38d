"""One picture into a patch: its form by its first bytes, its sides before anything is decoded, its colours last."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from data_utils.files import form_of
from data_utils.pictures import _jpeg, _png, _tiff
from data_utils.pictures._colours import DEEP, GREY, JPEG, OPAQUE, PALETTE, ColoursError, DamagedError, Pixels, as_rgb
from data_utils.pictures._orientation import TURNED, upright

OTHER_SIZE = "other size than"
"""... that of a patch, as 50x50; behind a colon the one that it has."""
UNREADABLE = "unreadable"
OTHER_COLOURS = "other colours than 8-bit RGB"
OTHER_FORM = "another form than its name says"
LARGEST = 2**20
"""Bytes of a picture's file; the largest patch takes 393,216 without compression, of 16 bits a channel."""

CONVERSIONS = {
    GREY: "were grey: red, green and blue are alike",
    PALETTE: "had a palette: each pixel has its colour",
    OPAQUE: "had a channel of transparency that was opaque everywhere: it was dropped",
    DEEP: "had 16 bits a channel, all multiples of 257: they were divided by it, exactly",
    JPEG: "were JPEG, which is lossy: what it lost is lost, and it must not have been chosen by class",
    TURNED: "were stored turned or mirrored: they were brought upright, as their orientation asks",
}
"""What is said of the pictures that were something else before."""


@dataclass(frozen=True)
class _Form:
    """One form of a picture: how it begins, its sides, which way up it is, its samples and what they were."""

    begins: bytes | tuple[bytes, ...]
    sides: Callable[[bytes], tuple[int, int]]
    orientation: Callable[[bytes], int]
    samples: Callable[[bytes], tuple[npt.NDArray[Any], tuple[str, ...]]]


_FORMS = (
    _Form(_png.SIGNATURE, _png.sides, _png.orientation, _png.samples),
    _Form(_jpeg.SIGNATURE, _jpeg.sides, _jpeg.orientation, _jpeg.samples),
    _Form(_tiff.SIGNATURES, _tiff.sides, _tiff.orientation, _tiff.samples),
)


def read_picture(content: bytes | str, size: int, side: int) -> tuple[Pixels, str] | str:
    """The patch and what it was before (names of ``CONVERSIONS``, with + between); or why there is none.

    Args:
        content: its bytes, up to ``LARGEST``; or why they cannot be read.
        size: bytes of the whole file.
        side: of a patch in pixels.
    """
    if isinstance(content, str):
        return f"{UNREADABLE}: {content}"
    form = _form(content)
    if form is None:
        named = form_of(content)
        return (
            f"{OTHER_FORM}: {named}" if named else f"{UNREADABLE}: it is no PNG, JPEG or TIFF file, it may be truncated"
        )
    try:
        # Looked at before anything is decoded: a picture of 30,000 x 30,000 pixels fits into a few kilobytes.
        width, height = form.sides(content)
        if (width, height) != (side, side):
            return f"{OTHER_SIZE} {side}x{side}: {width}x{height}"
        if size > LARGEST:
            return f"{UNREADABLE}: a patch cannot take {size} bytes"
        samples, was = form.samples(content)
        patch, converted = as_rgb(samples)
        patch, turned = upright(patch, form.orientation(content))
    except DamagedError as error:
        return f"{UNREADABLE}: {error}"
    except ColoursError as error:
        return f"{OTHER_COLOURS}: {error}"
    return patch, "+".join(was + converted + turned)


def sides_of(content: bytes | str) -> tuple[int, int] | None:
    """Width and height of a picture; None where its bytes do not tell."""
    if isinstance(content, str) or (form := _form(content)) is None:
        return None
    try:
        return form.sides(content)
    except DamagedError:
        return None


def _form(content: bytes) -> _Form | None:
    return next((form for form in _FORMS if content.startswith(form.begins)), None)
