"""JPEG files: their sides before anything is decoded, then their samples, if all of them are there.

JPEG has no checksums, and libjpeg fills what is missing with grey without a word. So it decodes again with noise behind
every run of coded bits, which changes a pixel only where a run ended too early, or is not there at all.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import imagecodecs
import numpy.typing as npt

from data_utils.files import shown
from data_utils.pictures._colours import JPEG, ColoursError, DamagedError
from data_utils.pictures._orientation import of_exif

SIGNATURE = b"\xff\xd8\xff"
_TRUNCATED = "it may be truncated"
_MARKER = re.compile(rb"\xff+[\x01-\xfe]")  # in coded bits 00 follows an FF that is none, and FF fills
_CODED = -1  # the kind of a run of coded bits
_END, _SCAN, _APPLICATION = 0xD9, 0xDA, 0xE1
_EXIF = b"Exif\0\0"
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # headers of a frame; the others are tables
_NOISES = tuple(
    bytes((first + step * at) % 255 for at in range(48)) for first, step in ((254, 73), (41, 73), (170, 91))
)
"""More bits than the codes of a block take, without an FF; three, as one may say by chance what was to be filled in."""
_COEFFICIENTS = range(64)

Samples = npt.NDArray[Any]
Part = tuple[int, bytes]
"""(kind, bytes): a marker with what belongs to it, or a run of coded bits."""


class _Frame(NamedTuple):
    """What the header of a frame says."""

    width: int
    height: int
    bits: int
    components: bytes


def sides(content: bytes) -> tuple[int, int]:
    """Width and height.

    Raises:
        DamagedError: there is no header of a frame.
    """
    frame = _frame(_parts(content))
    return frame.width, frame.height


def orientation(content: bytes) -> int:
    """Which way up it is to be seen, by its Exif block: 1 to 8; 1 is as it is stored, also where there is none."""
    if _EXIF not in content:
        return 1
    blocks = (part.lstrip(b"\xff")[3:] for kind, part in _parts(content) if kind == _APPLICATION)
    return next((of_exif(block.removeprefix(_EXIF)) for block in blocks if block.startswith(_EXIF)), 1)


def samples(content: bytes) -> tuple[Samples, tuple[str, ...]]:
    """(H, W) or (H, W, 3) uint8, and that it was JPEG.

    Raises:
        DamagedError: it ends too early.
        ColoursError: of a kind that is not read.
    """
    parts = list(_parts(content))
    frame = _frame(iter(parts))
    channels = len(frame.components)
    if frame.bits != 8 or channels not in (1, 3):
        raise ColoursError(f"it is a JPEG file of {channels} channels of {frame.bits} bits, not grey or RGB of 8")
    if parts[-1][0] != _END or not _has_all_scans(frame, parts):
        raise DamagedError(f"it ends before all of it was told, {_TRUNCATED}")
    decoded = _decoded(content)
    if any((decoded != _decoded(_with_noise(parts, noise))).any() for noise in _NOISES):
        raise DamagedError(f"some of its pixels are missing, {_TRUNCATED}")
    return decoded, (JPEG,)


def _decoded(content: bytes) -> Samples:
    try:
        decoded: Samples = imagecodecs.jpeg8_decode(content)
    except (imagecodecs.Jpeg8Error, ValueError) as error:
        raise DamagedError(f"{shown(error)}, {_TRUNCATED}") from error
    return decoded


def _with_noise(parts: Sequence[Part], noise: bytes) -> bytes:
    """The same file with noise behind each run, and with runs of noise where some may be missing at its end."""
    last = max(number for number, (kind, _) in enumerate(parts) if kind == _SCAN)
    begun = sum(kind in _RESTARTS for kind, _ in parts[last:])  # their numbers go round
    runs = b"".join(bytes((0xFF, _RESTARTS[(begun + more) % 8])) + noise for more in range(8))
    told = b"".join(part + noise if kind == _CODED else part for kind, part in parts[:-1])
    return SIGNATURE[:2] + told + runs + parts[-1][1]


def _frame(parts: Iterator[Part]) -> _Frame:
    """The first header of a frame; of each component, its name."""
    header = next((part.lstrip(b"\xff") for kind, part in parts if kind in _FRAMES), b"")
    if len(header) < 9:
        raise DamagedError(f"it is no JPEG file, {_TRUNCATED}")
    height, width = int.from_bytes(header[4:6]), int.from_bytes(header[6:8])
    return _Frame(width, height, header[3], header[9 : 9 + 3 * header[8] : 3])


def _has_all_scans(frame: _Frame, parts: Sequence[Part]) -> bool:
    """Whether scans tell every coefficient of each component down to its last bit; of a progressive file, together."""
    left = {(name, coefficient) for name in frame.components for coefficient in _COEFFICIENTS}
    for kind, part in parts:
        header = part.lstrip(b"\xff")[3:]
        if kind == _SCAN and len(header) >= 4 + 2 * header[0]:
            names, (first, last, bits) = header[1 : 1 + 2 * header[0] : 2], header[1 + 2 * header[0] :][:3]
            if bits & 15 == 0:
                left -= {(name, coefficient) for name in names for coefficient in range(first, last + 1)}
    return not left


def _parts(content: bytes) -> Iterator[Part]:
    """What it consists of, behind its first marker; the last one is the mark of its end, unless it ends early."""
    at = 2
    while found := _MARKER.match(content, at):
        kind = content[found.end() - 1]
        if kind == _END:
            yield _END, found[0]
            return
        end = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
        yield kind, content[at:end]
        at = end
        if kind == _SCAN:
            for run in _runs(content, end):
                yield run
                at += len(run[1])


def _runs(content: bytes, at: int) -> Iterator[Part]:
    """The runs of coded bits of a scan, and the restarts between them."""
    while found := _MARKER.search(content, at):
        yield _CODED, content[at : found.start()]
        if content[found.end() - 1] not in _RESTARTS:
            return
        yield content[found.end() - 1], found[0]
        at = found.end()
