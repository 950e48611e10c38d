"""Files in a zip of unknown origin, read by their places; pictures are never unpacked to disk.

Whatever its directory claims is checked before a byte is unpacked: where members lie, what they are, how large they
are to become. A member is then unpacked no further than it may be large.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import compress
from pathlib import Path
from typing import BinaryIO

from data_utils.errors import FormatError
from data_utils.files import beginning, form_of, kind, of_other_form, shown

_LARGEST_DIRECTORY = 128 * 2**20  # bytes; the public archive, which holds every patch twice, has about 75 MB
_MOST_UNPACKED = 10  # times the archive's own size: pictures hardly compress
_ALWAYS_UNPACKED = 64 * 2**20  # bytes that may come out of any archive
_PIECE = 2**20  # bytes that are copied at a time
OUTSIDE = re.compile(r"^(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)")
"""A path that is absolute, or leads upwards."""
_ENCRYPTED = 0x1
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, ..., lengths of name and extra field
_LOCAL_MAGIC = b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8
OTHER_CHECKSUM = "its checksum in the zip is another"


@dataclass(frozen=True, slots=True)
class Member:
    """Where a zip holds a file's bytes.

    Attributes:
        offset: of its local header.
        compressed: bytes.
        size: bytes when unpacked, as the directory claims.
        method: of compression.
        crc: of the unpacked bytes.
    """

    offset: int
    compressed: int
    size: int
    method: int
    crc: int

    def read(self, archive: BinaryIO, most: int) -> bytes | str:
        """Its first bytes, or why they cannot be read; ``zipfile`` would read the directory again in every process.

        Args:
            archive: the zip, opened.
            most: bytes to unpack; the checksum is compared where that is all of it.
        """
        try:
            content = self._unpacked(archive, most)
        except (OSError, struct.error, zlib.error) as error:
            return str(error)
        whole = self.size <= most
        if content is None or (whole and (len(content) != self.size or zlib.crc32(content) != self.crc)):
            return OTHER_CHECKSUM
        return content

    def copy(self, archive: BinaryIO, target: BinaryIO) -> str:
        """Unpacks it, no further than its size, piece by piece; why that cannot be done, "" where it was.

        Args:
            archive: the zip, opened.
            target: where to.
        """
        written = checksum = 0
        try:
            for piece in self._in_pieces(archive):
                written, checksum = written + len(piece), zlib.crc32(piece, checksum)
                if written > self.size:
                    break
                target.write(piece)
        except (struct.error, zlib.error) as error:
            return str(error)
        return "" if (written, checksum) == (self.size, self.crc) else OTHER_CHECKSUM

    def _in_pieces(self, archive: BinaryIO) -> Iterator[bytes]:
        if not self._seek(archive):
            return
        inflate = zlib.decompressobj(wbits=-15)
        for packed in in_pieces(archive, self.compressed):
            if self.method == _STORED:
                yield packed
                continue
            while packed:
                yield inflate.decompress(packed, _PIECE)
                packed = inflate.unconsumed_tail

    def _unpacked(self, archive: BinaryIO, most: int) -> bytes | None:
        if not self._seek(archive):
            return None
        content = archive.read(min(self.compressed, 2 * most))  # deflate never needs twice the room
        if self.method == _DEFLATED:
            return zlib.decompressobj(wbits=-15).decompress(content, max_length=most + 1)
        return content[: most + 1]

    def _seek(self, archive: BinaryIO) -> bool:
        """Goes to where its bytes begin; False where there is no local header."""
        archive.seek(self.offset)
        magic, name_length, extra_length = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
        archive.seek(name_length + extra_length, os.SEEK_CUR)
        return bool(magic == _LOCAL_MAGIC)


def list_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Member | None]]:
    """(name, place) of each file in a zip; no place of those that are not wanted.

    Raises:
        FormatError: it is damaged, encrypted, or its directory claims what no zip of patches has.
    """
    with _opened(path) as archive:
        entries = archive.infolist()
        check_names(path, (entry.filename for entry in entries))
        _check_places(path, entries, archive.start_dir)
        chosen = [wanted(entry.filename) for entry in entries]
        check_unpacked(path, [(entry.filename, entry.file_size) for entry in compress(entries, chosen)])
        for entry, is_chosen in zip(entries, chosen, strict=True):
            if not is_chosen:
                yield entry.filename, None
                continue
            _check_kind(path, entry)
            place = (entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC)
            yield entry.filename, Member(*place)


def in_pieces(archive: BinaryIO, count: int) -> Iterator[bytes]:
    """The next bytes of a file, a piece at a time."""
    while count > 0 and (piece := archive.read(min(count, _PIECE))):
        count -= len(piece)
        yield piece


# --- what the directory may claim -----------------------------------------------------------------------------------


class _Bounded(FileIO):
    """A file of which no more is read at once than the largest directory has; its size is the zip's own claim."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory claims {size} bytes")
        return super().read(-1 if size is None else size)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        file = _Bounded(path)
        with file, zipfile.ZipFile(file) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, OverflowError, struct.error) as error:
        raise _no_zip(path, error) from error


def _no_zip(path: Path, error: Exception) -> FormatError:
    """One that was cut off, or something else: then to fetch it again would not help."""
    start = beginning(path)
    if start.startswith(_LOCAL_MAGIC[:2]) or not start:
        return FormatError(
            f"{shown(path)} ({path.stat().st_size} bytes) cannot be read as a zip ({shown(error)}), it may be "
            "truncated: fetch it again"
        )
    return of_other_form(path, form_of(start))


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuses an archive that names a file outside of itself.

    Raises:
        FormatError: it does.
    """
    for name in names:
        if OUTSIDE.search(name):
            raise FormatError(
                f"{shown(path)} names a file outside of itself, {shown(name)}; expected names below the archive: "
                "do not unpack it, ask where it comes from"
            )


def check_unpacked(path: Path, claims: Sequence[tuple[str, int]]) -> None:
    """Refuses an archive that is to become much larger than patches do.

    Args:
        path: of the archive.
        claims: (name, bytes when unpacked).

    Raises:
        FormatError: it is.
    """
    claimed, own = sum(size for _, size in claims), path.stat().st_size
    if claimed > most_unpacked(own):
        largest, _ = max(claims, key=lambda claim: claim[1])
        raise FormatError(
            f"{shown(path)} has {own} bytes and claims to unpack to {claimed} (most in {shown(largest)}); "
            "expected pictures, which hardly compress: it is a zip bomb, or damaged"
        )


def most_unpacked(own: int) -> int:
    """Bytes that may come out of an archive of so many bytes."""
    return _MOST_UNPACKED * own + _ALWAYS_UNPACKED


def _check_places(path: Path, entries: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Every member has bytes of its own before the directory: a bomb lets many members share the same ones."""
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        if not 0 <= entry.header_offset <= end - _LOCAL_HEADER.size - entry.compress_size:
            raise FormatError(
                f"{shown(path)} is no sound zip: {shown(entry.filename)} claims {entry.compress_size} bytes that lie "
                "outside of it or belong to another file in it; fetch it again"
            )
        end = entry.header_offset


def _check_kind(path: Path, entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (_STORED, _DEFLATED):
        raise FormatError(
            f"{shown(path)}: {shown(entry.filename)} is encrypted or compressed by method {entry.compress_type}; "
            "expected a plain zip (stored or deflated)"
        )
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        what = "a link" if stat.S_ISLNK(mode) else kind(mode)
        raise FormatError(f"{shown(path)}: {shown(entry.filename)} is {what}; expected the file itself: pack it anew")
