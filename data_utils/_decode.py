"""PNG files into arrays, in parallel where there are many; from a folder, or from a zip without unpacking it.

Pillow holds Python's global lock for most of the 0.25 ms that a patch takes, so that threads gain nothing: processes do
it. They are given places, not bytes, and send pixels back in pieces, so that memory stays flat at any size.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from data_utils._patchset import PATCH_SIZE, Bools, Pixels, Progress, Strings, chunks, new_pixels

OTHER_SIZE = "other size than 50x50"
UNREADABLE = "unreadable"

_PIECE = 512  # files decoded at a time: 4 MB
_PARALLEL_FROM = 16_000  # files; below, starting processes costs what they save
_MAX_PROCESSES = 16
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: magic, ..., lengths of name and extra field
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True)
class Member:
    """Where a zip holds a file's bytes."""

    offset: int  # of its local header
    compressed: int  # bytes
    method: int
    crc: int


@dataclass(frozen=True)
class ImageFile:
    """One PNG file: in the folder at ``path``, or in the zip at ``member``.

    Attributes:
        path: relative to the folder or the zip's root, with slashes.
        size: bytes.
    """

    path: str
    size: int
    member: Member | None = None


@dataclass(frozen=True, eq=False)
class Decoded:
    """Patches of a list of files.

    Attributes:
        pixels: (K, 50, 50, 3) uint8 of those that are patches, in the order of the files.
        kept: (N,) whether a file is one of them.
        problems: (N,) why it is not: "" or ``OTHER_SIZE`` or ``UNREADABLE`` and what happened.
    """

    pixels: Pixels
    kept: Bools
    problems: Strings


def decode(root: Path, files: Sequence[ImageFile], *, progress: Progress | None, into: Path | None) -> Decoded:
    """Decodes all files.

    Args:
        root: the folder or the zip.
        files: what to decode.
        progress: called with (files done, all) after each piece.
        into: a new ``.npy`` file for the pixels; in memory by default.
    """
    room, filled, done = new_pixels(len(files), into), 0, 0
    problems: list[str] = []
    for pixels, piece_problems in _pieces(root, files):
        room[filled : filled + len(pixels)] = pixels
        filled, done = filled + len(pixels), done + len(piece_problems)
        problems += piece_problems
        if progress:
            progress(done, len(files))
    said = np.array(problems, dtype=np.str_)
    return Decoded(room[:filled], said == "", said)


def _pieces(root: Path, files: Sequence[ImageFile]) -> Iterator[tuple[Pixels, list[str]]]:
    pieces = [files[piece] for piece in chunks(len(files), _PIECE)]
    if len(files) < _PARALLEL_FROM:
        yield from map(partial(_decode_piece, root), pieces)
        return
    # spawned: a fork of a process with threads (Ray, torch) may hang
    pool = ProcessPoolExecutor(min(os.cpu_count() or 1, _MAX_PROCESSES), get_context("spawn"))
    try:
        yield from pool.map(partial(_decode_piece, root), pieces)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_piece(root: Path, files: Sequence[ImageFile]) -> tuple[Pixels, list[str]]:
    pixels, problems = new_pixels(len(files), None), []
    filled = 0
    archive = root.open("rb") if root.is_file() else None
    try:
        for file in files:
            patch = _decode_one(_bytes(root, archive, file))
            if isinstance(patch, str):
                problems.append(patch)
            else:
                pixels[filled] = patch
                filled += 1
                problems.append("")
    finally:
        if archive:
            archive.close()
    return pixels[:filled], problems


def _decode_one(content: bytes | str) -> Pixels | str:
    """The patch, or why there is none."""
    if isinstance(content, str):
        return content
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.size != (PATCH_SIZE, PATCH_SIZE):
                return OTHER_SIZE
            if image.mode != "RGB":
                return f"{UNREADABLE}: its colours are {image.mode}, not 8-bit RGB"
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:  # Pillow raises all of these
        return f"{UNREADABLE}: {type(error).__name__ if isinstance(error, OSError) else error}, it may be truncated"


def _bytes(root: Path, archive: BinaryIO | None, file: ImageFile) -> bytes | str:
    """The bytes of a file, or why they cannot be read."""
    try:
        if archive is None or file.member is None:
            return (root / file.path).read_bytes()
        content = _member_bytes(archive, file.member)
    except (OSError, struct.error, zlib.error) as error:
        return f"{UNREADABLE}: {error}"
    if len(content) != file.size or zlib.crc32(content) != file.member.crc:
        return f"{UNREADABLE}: its checksum in the zip is another"
    return content


def _member_bytes(archive: BinaryIO, member: Member) -> bytes:
    """Reads a member by its place; ``zipfile`` would parse the whole directory again in every process."""
    archive.seek(member.offset)
    _, name_length, extra_length = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
    archive.seek(name_length + extra_length, os.SEEK_CUR)
    content = archive.read(member.compressed)
    return zlib.decompress(content, wbits=-15) if member.method == _DEFLATED else content


def readable(method: int) -> bool:
    """Whether a zip member of this compression can be read."""
    return method in (_STORED, _DEFLATED)
