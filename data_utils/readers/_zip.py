"""Pictures in a zip of unknown origin, read by their places and never unpacked to disk.

Whatever its directory claims is checked before a byte is unpacked: where members lie, what they are, how large they
are to become. A member is then unpacked no further than it may be large.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from data_utils.errors import FormatError
from data_utils.readers.files import kind, shown

_LARGEST_DIRECTORY = 128 * 2**20  # bytes; the public archive, which holds every patch twice, has about 75 MB
_MOST_UNPACKED = 10  # times the zip's own size: PNG files hardly compress
_ALWAYS_UNPACKED = 64 * 2**20  # bytes that may come out of any zip
_OUTSIDE = re.compile(r"^(?:[/\\]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)")  # absolute, or upwards
_ENCRYPTED = 0x1
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, ..., lengths of name and extra field
_LOCAL_MAGIC = b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8


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


def list_pictures(path: Path) -> Iterator[tuple[str, Member]]:
    """(name, place) of each PNG file in a zip, hidden ones left out.

    Raises:
        FormatError: it is damaged, encrypted, or its directory claims what no zip of patches has.
    """
    with _opened(path) as archive:
        entries = archive.infolist()
        _check_names(path, entries)
        _check_places(path, entries, archive.start_dir)
        pictures = [entry for entry in entries if is_picture(entry.filename)]
        _check_sizes(path, pictures)
        for entry in pictures:
            _check_kind(path, entry)
            place = (entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC)
            yield entry.filename, Member(*place)


def read_member(archive: BinaryIO, member: Member, most: int) -> bytes | str:
    """A member's first bytes, or why they cannot be read; ``zipfile`` would read the directory again in every process.

    Args:
        archive: the zip, opened.
        member: what to read.
        most: bytes to unpack; the checksum is compared where that is all of it.
    """
    try:
        content = _unpacked(archive, member, most)
    except (OSError, struct.error, zlib.error) as error:
        return str(error)
    whole = member.size <= most
    if content is None or (whole and (len(content) != member.size or zlib.crc32(content) != member.crc)):
        return "its checksum in the zip is another"
    return content


def is_picture(path: str) -> bool:
    """Whether a path names a PNG file that nobody has hidden."""
    parts = path.split("/")
    return parts[-1].lower().endswith(".png") and not any(is_hidden(part) for part in parts)


def is_hidden(name: str) -> bool:
    """Files and folders that macOS and editors add."""
    return name.startswith(".") or name == "__MACOSX"


def _unpacked(archive: BinaryIO, member: Member, most: int) -> bytes | None:
    archive.seek(member.offset)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
    if magic != _LOCAL_MAGIC:
        return None
    archive.seek(name_length + extra_length, os.SEEK_CUR)
    content = archive.read(min(member.compressed, 2 * most))  # deflate never needs twice the room
    if member.method == _DEFLATED:
        return zlib.decompressobj(wbits=-15).decompress(content, max_length=most + 1)
    return content[: most + 1]


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
        raise FormatError(
            f"{shown(path)} ({path.stat().st_size} bytes) cannot be read as a zip ({shown(error)}), it may be "
            "truncated: fetch it again"
        ) from error


def _check_names(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if _OUTSIDE.search(entry.filename):
            raise FormatError(
                f"{shown(path)} names a file outside of itself, {shown(entry.filename)}; expected names below the zip: "
                "do not unpack it, ask where it comes from"
            )


def _check_places(path: Path, entries: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Every member has bytes of its own before the directory: a bomb lets many members share the same ones."""
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        if not 0 <= entry.header_offset <= end - _LOCAL_HEADER.size - entry.compress_size:
            raise FormatError(
                f"{shown(path)} is no sound zip: {shown(entry.filename)} claims {entry.compress_size} bytes that lie "
                "outside of it or belong to another file in it; fetch it again"
            )
        end = entry.header_offset


def _check_sizes(path: Path, pictures: Sequence[zipfile.ZipInfo]) -> None:
    claimed, own = sum(entry.file_size for entry in pictures), path.stat().st_size
    if claimed > _MOST_UNPACKED * own + _ALWAYS_UNPACKED:
        largest = max(pictures, key=lambda entry: entry.file_size)
        raise FormatError(
            f"{shown(path)} has {own} bytes and claims to unpack to {claimed} (most in {shown(largest.filename)}); "
            "expected PNG files, which hardly compress: it is a zip bomb, or damaged"
        )


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
