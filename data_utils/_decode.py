"""PNG files into arrays, in parallel where there are many; from a folder, or from a zip without unpacking it.

Pillow holds Python's global lock for most of the 0.2 ms that a patch takes, so that threads gain nothing: processes do
it. They are given places, not bytes, and send pixels back in pieces, so that memory stays flat at any size. A piece can
be kept on disk as well, so that a reading that was interrupted goes on where it was.
"""

import io
import os
import shutil
import signal
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from data_utils._files import shown
from data_utils._patchset import PATCH_SIZE, Bools, Pixels, Progress, Strings, chunks, new_pixels
from data_utils._zip import Member, read_member

OTHER_SIZE = "other size than 50x50"
UNREADABLE = "unreadable"

_LARGEST = 2**20  # bytes of a PNG file; a patch without compression takes 7,700
_PIECE = 512  # files decoded at a time: 4 MB
_PARALLEL_FROM = 16_000  # files; below, starting processes costs what they save
_MAX_PROCESSES = 16
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
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


def decode(
    root: Path,
    files: Sequence[ImageFile],
    *,
    progress: Progress | None,
    into: Path | None,
    pieces: Path | None = None,
) -> Decoded:
    """Decodes all files.

    Args:
        root: the folder or the zip.
        files: what to decode.
        progress: called with (files done, all) after each piece.
        into: a new ``.npy`` file for the pixels; in memory by default.
        pieces: a folder for decoded pieces, as large as the pixels. One that an interrupted call for the very same
            files has left is made use of; removed when all is done. Kept nowhere by default.
    """
    room, filled, done = new_pixels(len(files), into), 0, 0
    problems: list[str] = []
    for pixels, piece_problems in _pieces(root, files, pieces):
        room[filled : filled + len(pixels)] = pixels
        filled, done = filled + len(pixels), done + len(piece_problems)
        problems += piece_problems
        if progress:
            progress(done, len(files))
    if pieces is not None:
        shutil.rmtree(pieces, ignore_errors=True)
    said = np.array(problems, dtype=np.str_)
    return Decoded(room[:filled], said == "", said)


def _pieces(root: Path, files: Sequence[ImageFile], kept: Path | None) -> Iterator[tuple[Pixels, list[str]]]:
    slices = [files[piece] for piece in chunks(len(files), _PIECE)]
    if len(files) < _PARALLEL_FROM:
        yield from map(partial(_decode_piece, root), slices)
        return
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    places = [None if kept is None else kept / f"{number:06d}.npz" for number in range(len(slices))]
    # spawned: a fork of a process with threads (Ray, torch) may hang
    pool = ProcessPoolExecutor(min(os.cpu_count() or 1, _MAX_PROCESSES), get_context("spawn"), _obey_the_parent)
    try:
        yield from pool.map(partial(_kept_piece, root), slices, places)
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_the_parent() -> None:
    """In a process that decodes: Ctrl-C is the parent's to answer, and its death, however sudden, ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)  # nobody waits for what it has in hand


def _kept_piece(root: Path, files: Sequence[ImageFile], place: Path | None) -> tuple[Pixels, list[str]]:
    """A piece, from the disk if it was decoded before; else decoded, and put there whole or not at all."""
    if place is None:
        return _decode_piece(root, files)
    with (
        suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile),
        np.load(place, allow_pickle=False) as kept,
    ):
        pixels, problems = kept["pixels"], kept["problems"].tolist()  # the zip that they are in verifies them
        if len(problems) == len(files):
            return pixels, problems
    pixels, problems = _decode_piece(root, files)
    with suppress(OSError):  # a full disk costs only the going on
        draft = place.with_suffix(f".{os.getpid()}")
        with draft.open("wb") as file:
            np.savez(file, pixels=pixels, problems=np.array(problems, dtype=np.str_))
        draft.replace(place)
    return pixels, problems


def _decode_piece(root: Path, files: Sequence[ImageFile]) -> tuple[Pixels, list[str]]:
    pixels, problems = new_pixels(len(files), None), []
    filled = 0
    # "ignore": what is wrong is told as a problem, not by Pillow on the terminal
    with root.open("rb") if root.is_file() else nullcontext() as archive, warnings.catch_warnings(action="ignore"):
        for file in files:
            patch = _decode_one(_bytes(root, archive, file), file.size)
            if isinstance(patch, str):
                problems.append(patch)
            else:
                pixels[filled] = patch
                filled += 1
                problems.append("")
    return pixels[:filled], problems


def _decode_one(content: bytes | str, size: int) -> Pixels | str:
    """The patch, or why there is none."""
    if isinstance(content, str):
        return f"{UNREADABLE}: {content}"
    # Looked at before anything is decoded: a picture of 30,000 x 30,000 pixels fits into a few kilobytes.
    sides = _sides(content)
    if sides is not None and sides != (PATCH_SIZE, PATCH_SIZE):
        return OTHER_SIZE
    if size > _LARGEST:
        return f"{UNREADABLE}: a patch cannot take {size} bytes"
    return _pixels(content)


def _sides(content: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG file claims; None where it is none."""
    if not content.startswith(_SIGNATURE) or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def _pixels(content: bytes) -> Pixels | str:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.size != (PATCH_SIZE, PATCH_SIZE):  # a second header may claim other sides than the first
                return OTHER_SIZE
            if image.mode != "RGB":
                return f"{UNREADABLE}: its colours are {image.mode}, not 8-bit RGB"
            return np.frombuffer(image.tobytes(), np.uint8).reshape(PATCH_SIZE, PATCH_SIZE, 3)
    except Exception as error:  # noqa: BLE001 - a damaged file makes Pillow raise nearly anything
        reason = type(error).__name__ if isinstance(error, OSError) else shown(error)
        return f"{UNREADABLE}: {reason}, it may be truncated"


def _bytes(root: Path, archive: BinaryIO | None, file: ImageFile) -> bytes | str:
    """The first bytes of a file, as many as a patch may have, or why they cannot be read."""
    if archive is not None and file.member is not None:
        return read_member(archive, file.member, _LARGEST)
    try:
        with (root / file.path).open("rb") as plain:
            return plain.read(_LARGEST)
    except OSError as error:
        return str(error.strerror)
