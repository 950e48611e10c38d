"""PNG files into arrays, in parallel where there are many; from a folder, or from a zip without unpacking it.

Much of what a patch takes is spent under Python's global lock, so that threads gain little: processes do it. They are
given places, not bytes, and fill rows of one mapped file, so that no pixel travels between processes and memory stays
flat at any size. What they have filled is noted, so that a reading that was interrupted goes on there.
"""

import json
import os
import shutil
import signal
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import BinaryIO, TypeVar

import imagecodecs
import numpy as np

from data_utils.machine import cores
from data_utils.readers._zip import Member, read_member
from data_utils.readers.files import shown
from data_utils.readers.patchset import PATCH_SIZE, Bools, Pixels, Progress, Strings, chunks, new_pixels, reserve

OTHER_SIZE = "other size than 50x50"
UNREADABLE = "unreadable"

_LARGEST = 2**20  # bytes of a PNG file; a patch without compression takes 7,700
_PIECE = 512  # files decoded at a time: 4 MB
_PARALLEL_FROM = 16_000  # files; below, starting processes costs what they save
_MAX_PROCESSES = 16
Result = TypeVar("Result")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">16xIIBB")  # ..., width, height, bits a colour, kind of colour
_COLOURS = {0: "grey", 2: "RGB", 3: "a palette", 4: "grey with transparency", 6: "RGB with transparency"}
_RGB = (8, 2)  # bits a colour, kind of colour


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
        pieces: a folder beside ``into`` that holds the pixels until all are there. One that an interrupted call for the
            very same files has left is made use of; it is removed when all is done. None by default, and of use only
            where several processes decode into a file.
    """
    if into is None or len(files) < _PARALLEL_FROM:
        pixels, problems = _one_by_one(root, files, progress, into)
    else:
        pixels, problems = _side_by_side(root, files, progress, into, pieces)
    said = np.array(problems, dtype=np.str_)
    return Decoded(pixels, said == "", said)


def _one_by_one(
    root: Path, files: Sequence[ImageFile], progress: Progress | None, into: Path | None
) -> tuple[Pixels, list[str]]:
    """Pixels of those files that are patches, and why each of the others is none."""
    room, filled = new_pixels(len(files), into), 0
    problems: list[str] = []
    for pixels, said in _pieces(root, files):
        room[filled : filled + len(pixels)] = pixels
        filled += len(pixels)
        problems += said
        if progress:
            progress(len(problems), len(files))
    return room[:filled], problems


def _pieces(root: Path, files: Sequence[ImageFile]) -> Iterator[tuple[Pixels, list[str]]]:
    slices = [files[piece] for piece in chunks(len(files), _PIECE)]
    if len(files) < _PARALLEL_FROM:
        yield from map(partial(_decode_piece, root), slices)
    else:
        with _by_processes(partial(_decode_piece, root), slices) as results:
            yield from results


# --- several processes that write into one file ---------------------------------------------------------------------


def _side_by_side(
    root: Path, files: Sequence[ImageFile], progress: Progress | None, into: Path, kept: Path | None
) -> tuple[Pixels, list[str]]:
    """The same by processes that each map the file and fill rows of their own; no pixel travels between them."""
    file = into if kept is None else kept / "pixels.npy"
    room = _room(len(files), file, begun=kept is not None)
    starts = range(0, len(files), _PIECE)
    slices = [files[start : start + _PIECE] for start in starts]
    said: list[list[str]] = []
    with _by_processes(partial(_fill, root, file, kept), starts, slices) as results:
        for problems in results:
            said.append(problems)
            if progress:
                progress(min(len(said) * _PIECE, len(files)), len(files))
    filled = 0
    for start, problems in zip(starts, said, strict=True):  # files that are no patches left gaps: the rest moves up
        count = problems.count("")
        if filled < start:
            room[filled : filled + count] = room[start : start + count]
        filled += count
    if kept is not None:
        shutil.move(file, into)
        shutil.rmtree(kept, ignore_errors=True)
    return room[:filled], [one for problems in said for one in problems]


def _room(count: int, file: Path, *, begun: bool) -> Pixels:
    """A mapped file for so many patches: the one that an interrupted reading has left, or a new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    room = _begun(count, file) if begun else None
    if room is None:
        return new_pixels(count, file)
    reserve(file)  # the disk may have been full when it was made
    return room


def _begun(count: int, file: Path) -> Pixels | None:
    with suppress(OSError, ValueError, EOFError):
        room: Pixels = np.load(file, mmap_mode="r+", allow_pickle=False)
        if room.shape == (count, PATCH_SIZE, PATCH_SIZE, 3) and room.dtype == np.uint8:
            return room
    return None


def _fill(root: Path, file: Path, kept: Path | None, start: int, files: Sequence[ImageFile]) -> list[str]:
    """Decodes files into the rows from ``start`` on, unless that was done before; why each of the others is none."""
    rows = np.load(file, mmap_mode="r+", allow_pickle=False)[start : start + len(files)]
    mark = None if kept is None else kept / f"{start:07d}.json"
    done = None if mark is None else _done_before(mark, rows)
    if done is not None:
        return done
    pixels, problems = _decode_piece(root, files)
    rows[: len(pixels)] = pixels
    if mark is not None:
        with suppress(OSError):  # a full disk costs only the going on
            draft = mark.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps([zlib.crc32(pixels.data), problems]), encoding="utf-8")
            draft.replace(mark)
    return problems


def _done_before(mark: Path, rows: Pixels) -> list[str] | None:
    """What a piece had to say when it was decoded, if its rows are still what it put there."""
    with suppress(OSError, ValueError, TypeError):
        checksum, problems = json.loads(mark.read_text(encoding="utf-8"))
        if len(problems) == len(rows) and zlib.crc32(rows[: problems.count("")].data) == checksum:
            return [str(one) for one in problems]
    return None


@contextmanager
def _by_processes(work: Callable[..., Result], *arguments: Iterable[object]) -> Iterator[Iterator[Result]]:
    """What ``work`` gives for each of the arguments, in their order."""
    # spawned: a fork of a process with threads (Ray, torch) may hang
    pool = ProcessPoolExecutor(min(cores(), _MAX_PROCESSES), get_context("spawn"), _watch_the_parent)
    # they inherit what is blocked while they are started: Ctrl-C, which goes to all, is for this process to answer
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        results = pool.map(work, *arguments)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield results
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        pool.shutdown(cancel_futures=True)


def _watch_the_parent() -> None:
    """In a process that decodes: the parent's death, however sudden, is its own."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)  # nobody waits for what it has in hand


def _decode_piece(root: Path, files: Sequence[ImageFile]) -> tuple[Pixels, list[str]]:
    pixels, problems = new_pixels(len(files), None), []
    filled = 0
    with root.open("rb") if root.is_file() else nullcontext() as archive:
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
    if not content.startswith(_SIGNATURE) or content[12:16] != b"IHDR" or len(content) < _HEADER.size:
        return f"{UNREADABLE}: it is no PNG file, it may be truncated"
    width, height, bits, colours = _HEADER.unpack_from(content)
    if (width, height) != (PATCH_SIZE, PATCH_SIZE):
        return OTHER_SIZE
    if (bits, colours) != _RGB:
        return f"{UNREADABLE}: its colours are {_COLOURS.get(colours, 'unknown')} of {bits} bits, not 8-bit RGB"
    if size > _LARGEST:
        return f"{UNREADABLE}: a patch cannot take {size} bytes"
    if not _is_whole(content):
        return f"{UNREADABLE}: a checksum in it is another, it may be truncated"
    try:
        # libspng: half of Pillow's time, and it does not fill missing rows with black
        patch: Pixels = imagecodecs.spng_decode(content)
    except imagecodecs.SpngError as error:
        return f"{UNREADABLE}: {shown(error).removeprefix('spng_decode_image returned ')}, it may be truncated"
    return patch


def _is_whole(content: bytes) -> bool:
    """Whether all chunks are as they were written, by their checksums: decoders stop looking at the last pixel."""
    view, at = memoryview(content), len(_SIGNATURE)
    while at < len(view):
        end = at + 8 + int.from_bytes(view[at : at + 4])
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return False
        if content.startswith(b"IEND", at + 4):
            return True
        at = end + 4
    return False


def _bytes(root: Path, archive: BinaryIO | None, file: ImageFile) -> bytes | str:
    """The first bytes of a file, as many as a patch may have, or why they cannot be read."""
    if archive is not None and file.member is not None:
        return read_member(archive, file.member, _LARGEST)
    try:
        # no pathlib, no buffer: each takes as long as the system does to open the file
        with open(f"{root}/{file.path}", "rb", buffering=0) as plain:  # noqa: PTH123
            return plain.read(min(file.size, _LARGEST))
    except OSError as error:
        return str(error.strerror)
