"""Pictures into arrays, in parallel where there are many; from a folder, or from an archive without unpacking it.

Much of what a patch takes is spent under Python's global lock, so that threads gain little: processes do it. They are
given places, not bytes, and fill rows of one mapped file, so that no pixel travels between processes and memory stays
flat at any size. What they have filled is noted, so that a reading that was interrupted goes on there.
"""

import json
import os
import shutil
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from data_utils.machine import cores
from data_utils.pictures.picture import LARGEST, OTHER_SIZE, read_picture, sides_of
from data_utils.readers._listing import ImageFile
from data_utils.readers.patchset import (
    USUAL_SIDE,
    Bools,
    Pixels,
    Progress,
    Strings,
    chunks,
    is_square,
    new_pixels,
    reserve,
)

_PIECE = 512  # files decoded at a time: 4 MB of the usual side
_LOOKED_AT = 512  # files whose sides are read first
_PARALLEL_FROM = 16_000  # files; below, starting processes costs what they save
_MAX_PROCESSES = 16
Result = TypeVar("Result")
Remarks = tuple[list[str], list[str]]
"""Of files in their order: why one is no patch, "" where it is one; what a patch was before it was 8-bit RGB."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Patches of a list of files.

    Attributes:
        pixels: (K, S, S, 3) uint8 of those that are patches, in the order of the files; S is the commonest side.
        kept: (N,) whether a file is one of them.
        problems: (N,) why it is not, as ``read_picture`` says it; "" where it is.
        was: (N,) what it was before it was 8-bit RGB, names of ``CONVERSIONS`` with + between.
    """

    pixels: Pixels
    kept: Bools
    problems: Strings
    was: Strings


def decode(
    root: Path,
    files: Sequence[ImageFile],
    *,
    progress: Progress | None,
    into: Path | None,
    pieces: Path | None = None,
) -> Decoded:
    """Decodes all files of one side, the commonest; the others are no patches.

    Args:
        root: the folder or the archive.
        files: what to decode.
        progress: called with (files done, all) after each piece.
        into: a new ``.npy`` file for the pixels; in memory by default.
        pieces: a folder beside ``into`` that holds the pixels until all are there. One that an interrupted call for the
            very same files has left is made use of; it is removed when all is done. None by default, and of use only
            where several processes decode into a file.
    """
    side = _commonest(_first_sides(root, files)) or USUAL_SIDE
    decoded = _decode(root, files, side, progress, into, pieces)
    other = _commonest(_sides_met(decoded, side))
    if other is None or other == side:
        return decoded
    del decoded  # the first files looked like others than most are: its mapped file is written anew
    return _decode(root, files, other, progress, into, pieces)


def _decode(
    root: Path,
    files: Sequence[ImageFile],
    side: int,
    progress: Progress | None,
    into: Path | None,
    pieces: Path | None,
) -> Decoded:
    if into is None or len(files) < _PARALLEL_FROM:
        pixels, remarks = _one_by_one(root, files, side, progress, into)
    else:
        pixels, remarks = _side_by_side(root, files, side, progress, into, pieces)
    problems, was = (np.array(words, dtype=np.str_) for words in remarks)
    return Decoded(pixels, problems == "", problems, was)


def _commonest(sides: Counter[tuple[int, int]]) -> int | None:
    """The side that most squares have, of two that are as common the larger one; None where no patch is among them."""
    squares = {width: count for (width, height), count in sides.items() if is_square(height, width)}
    return max(squares, key=lambda side: (squares[side], side), default=None)


def _first_sides(root: Path, files: Sequence[ImageFile]) -> Counter[tuple[int, int]]:
    """(width, height) of some files, taken evenly, or of all where they are few; nothing is decoded."""
    rows = np.linspace(0, len(files) - 1, min(len(files), _LOOKED_AT)).astype(np.int64)
    with _opened(root) as archive:
        found = (sides_of(_bytes(root, archive, files[row])) for row in rows.tolist())
        return Counter(sides for sides in found if sides is not None)


def _sides_met(decoded: Decoded, side: int) -> Counter[tuple[int, int]]:
    """(width, height) of all files, those that were not decoded among them."""
    others = decoded.problems[np.char.startswith(decoded.problems, OTHER_SIZE)].tolist()
    told = Counter(str(problem).rpartition(" ")[2] for problem in others)
    met = Counter({(int(sides.split("x")[0]), int(sides.split("x")[1])): count for sides, count in told.items()})
    met[side, side] += int(decoded.kept.sum())
    return met


def _one_by_one(
    root: Path, files: Sequence[ImageFile], side: int, progress: Progress | None, into: Path | None
) -> tuple[Pixels, Remarks]:
    """Pixels of those files that are patches, and what there is to say of each file."""
    room, filled = new_pixels(len(files), side, into), 0
    problems: list[str] = []
    was: list[str] = []
    for pixels, said in _pieces(root, files, side):
        room[filled : filled + len(pixels)] = pixels
        filled += len(pixels)
        problems += said[0]
        was += said[1]
        if progress:
            progress(len(problems), len(files))
    return room[:filled], (problems, was)


def _pieces(root: Path, files: Sequence[ImageFile], side: int) -> Iterator[tuple[Pixels, Remarks]]:
    slices = [files[piece] for piece in chunks(len(files), _PIECE, side)]
    if len(files) < _PARALLEL_FROM:
        yield from map(partial(_decode_piece, root, side), slices)
    else:
        with _by_processes(partial(_decode_piece, root, side), slices) as results:
            yield from results


# --- several processes that write into one file ---------------------------------------------------------------------


def _side_by_side(
    root: Path, files: Sequence[ImageFile], side: int, progress: Progress | None, into: Path, kept: Path | None
) -> tuple[Pixels, Remarks]:
    """The same by processes that each map the file and fill rows of their own; no pixel travels between them."""
    file = into if kept is None else kept / "pixels.npy"
    room = _room(len(files), side, file, begun=kept is not None)
    pieces = list(chunks(len(files), _PIECE, side))
    starts, slices = [piece.start for piece in pieces], [files[piece] for piece in pieces]
    said: list[Remarks] = []
    with _by_processes(partial(_fill, root, file, kept, side), starts, slices) as results:
        for piece, remarks in zip(pieces, results, strict=True):
            said.append(remarks)
            if progress:
                progress(piece.stop, len(files))
    filled = 0
    # files that are no patches left gaps: the rest moves up
    for start, (problems, _) in zip(starts, said, strict=True):
        count = problems.count("")
        if filled < start:
            room[filled : filled + count] = room[start : start + count]
        filled += count
    if kept is not None:
        shutil.move(file, into)
        shutil.rmtree(kept, ignore_errors=True)
    return room[:filled], ([one for problems, _ in said for one in problems], [one for _, was in said for one in was])


def _room(count: int, side: int, file: Path, *, begun: bool) -> Pixels:
    """A mapped file for so many patches: the one that an interrupted reading has left, or a new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    room = _begun(count, side, file) if begun else None
    if room is None:
        return new_pixels(count, side, file)
    reserve(file)  # the disk may have been full when it was made
    return room


def _begun(count: int, side: int, file: Path) -> Pixels | None:
    with suppress(OSError, ValueError, EOFError):
        room: Pixels = np.load(file, mmap_mode="r+", allow_pickle=False)
        if room.shape == (count, side, side, 3) and room.dtype == np.uint8:
            return room
    return None


def _fill(root: Path, file: Path, kept: Path | None, side: int, start: int, files: Sequence[ImageFile]) -> Remarks:
    """Decodes files into the rows from ``start`` on, unless that was done before; what there is to say of each."""
    rows = np.load(file, mmap_mode="r+", allow_pickle=False)[start : start + len(files)]
    mark = None if kept is None else kept / f"{start:07d}.json"
    done = None if mark is None else _done_before(mark, rows)
    if done is not None:
        return done
    pixels, remarks = _decode_piece(root, side, files)
    rows[: len(pixels)] = pixels
    if mark is not None:
        with suppress(OSError):  # a full disk costs only the going on
            draft = mark.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps([zlib.crc32(pixels.data), *remarks]), encoding="utf-8")
            draft.replace(mark)
    return remarks


def _done_before(mark: Path, rows: Pixels) -> Remarks | None:
    """What a piece had to say when it was decoded, if its rows are still what it put there."""
    with suppress(OSError, ValueError, TypeError):
        checksum, problems, was = json.loads(mark.read_text(encoding="utf-8"))
        whole = len(problems) == len(was) == len(rows)
        if whole and zlib.crc32(rows[: problems.count("")].data) == checksum:
            return [str(one) for one in problems], [str(one) for one in was]
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


def _decode_piece(root: Path, side: int, files: Sequence[ImageFile]) -> tuple[Pixels, Remarks]:
    pixels = new_pixels(len(files), side, None)
    problems: list[str] = []
    was: list[str] = []
    filled = 0
    with _opened(root) as archive:
        for file in files:
            read = read_picture(_bytes(root, archive, file), file.size, side)
            if isinstance(read, str):
                problems.append(read)
                was.append("")
            else:
                pixels[filled], before = read
                filled += 1
                problems.append("")
                was.append(before)
    return pixels[:filled], (problems, was)


def _opened(root: Path) -> AbstractContextManager[BinaryIO | None]:
    """The archive; None for a folder."""
    return root.open("rb") if root.is_file() else nullcontext()


def _bytes(root: Path, archive: BinaryIO | None, file: ImageFile) -> bytes | str:
    """The first bytes of a file, as many as a patch may have, or why they cannot be read."""
    if archive is not None and file.member is not None:
        return file.member.read(archive, LARGEST)
    try:
        # no pathlib, no buffer: each takes as long as the system does to open the file
        with open(f"{root}/{file.path}", "rb", buffering=0) as plain:  # noqa: PTH123
            return plain.read(min(file.size, LARGEST))
    except OSError as error:
        return str(error.strerror)
