"""Files in a tar of unknown origin, read by their places; pictures are never unpacked to disk.

``tarfile`` reads the headers, one after the other, no further than the file goes. What it passes over in silence is
looked at here: an end without its mark, a header that is damaged. A compressed tar has no places: it becomes a plain
one first, in one scratch file that is no larger than patches are.
"""

import gzip
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, ClassVar

from data_utils.errors import FormatError
from data_utils.files import beginning, form_of, kind, of_other_form, shown
from data_utils.readers._zip import check_names, in_pieces, most_unpacked

_LARGEST_HEADER = 2**20  # bytes of a name or of what else is said of a file
_BLOCK = tarfile.BLOCKSIZE
_COMPRESSED = b"\x1f\x8b"
_MAGIC_AT, _MAGIC = 257, b"ustar"
_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: kind(stat.S_IFCHR),
    tarfile.BLKTYPE: kind(stat.S_IFBLK),
    tarfile.FIFOTYPE: kind(stat.S_IFIFO),
}
_CUT_OFF = "it ends before its end"


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a tar holds a file's bytes; it keeps no checksum of them."""

    crc: ClassVar[int] = 0
    offset: int
    size: int

    def read(self, archive: BinaryIO, most: int) -> bytes | str:
        """Its first bytes, or why they cannot be read."""
        try:
            archive.seek(self.offset)
            content = archive.read(min(self.size, most))
        except OSError as error:
            return str(error)
        return content if len(content) == min(self.size, most) else _CUT_OFF

    def copy(self, archive: BinaryIO, target: BinaryIO) -> str:
        """Copies it; why that cannot be done, "" where it was."""
        archive.seek(self.offset)
        written = sum(target.write(piece) for piece in in_pieces(archive, self.size))
        return "" if written == self.size else _CUT_OFF


def is_tar(path: Path) -> bool:
    """Whether a file is meant to be a tar, compressed or not: by its name, or by its first bytes.

    Raises:
        FormatError: it cannot be read.
    """
    start = beginning(path)
    named = path.name.lower().endswith((".tar", ".tar.gz", ".tgz")) and not start.startswith(b"PK")
    return named or start.startswith(_COMPRESSED) or start.startswith(_MAGIC, _MAGIC_AT)


@contextmanager
def plain(path: Path, beside: Path | None) -> Iterator[Path]:
    """The tar itself where it is not compressed; else a plain one in a scratch folder, removed after the block.

    Args:
        path: of a tar, compressed or not.
        beside: a file in whose folder the scratch folder lies; the system's by default.

    Raises:
        FormatError: it is damaged, or becomes much larger than patches are.
    """
    if not beginning(path).startswith(_COMPRESSED):
        yield path
        return
    with TemporaryDirectory(prefix="histotune-", dir=None if beside is None else beside.parent) as scratch:
        yield _inflated(path, Path(scratch) / "plain.tar")


def _inflated(path: Path, target: Path) -> Path:
    own, left = path.stat().st_size, most_unpacked(path.stat().st_size)
    try:
        with gzip.open(path) as packed, target.open("wb") as file:
            while piece := packed.read(2**20):
                left -= len(piece)
                if left < 0:
                    raise FormatError(
                        f"{shown(path)} has {own} bytes and unpacks to more than {most_unpacked(own)}; expected "
                        "pictures, which hardly compress: it is a bomb, or damaged"
                    )
                file.write(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    return target


def list_members(path: Path, wanted: Callable[[str], bool], told: Path) -> Iterator[tuple[str, Slice | None]]:
    """(name, place) of each file in a plain tar; no place of those that are not wanted.

    Args:
        path: of the tar.
        wanted: whether a file of this name is to be read.
        told: what the user knows it as.

    Raises:
        FormatError: it is damaged, or what is wanted is no plain file.
    """
    for entry in _entries(path, told):
        check_names(told, [entry.name])
        if entry.isdir():
            continue
        if wanted(entry.name):
            _check_kind(told, entry)
            yield entry.name, Slice(entry.offset_data, entry.size)
        else:
            yield entry.name, None


class _Bounded(FileIO):
    """A file of which no more is read at once than a header has; its length is the tar's own claim."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size)


def _entries(path: Path, told: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with _Bounded(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            at = -1
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                if entry.size < 0 or not at < entry.offset < archive.offset:
                    raise tarfile.ReadError(f"{shown(entry.name)} claims {entry.size} bytes")
                at = entry.offset
                yield entry
            file.seek(archive.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("what follows its last file is neither a file nor the mark of its end")
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
        if named := form_of(beginning(path)):
            raise of_other_form(told, f"{named}{' in gzip' if path != told else ''}") from error
        raise _damaged(told, error) from error


def _check_kind(told: Path, entry: tarfile.TarInfo) -> None:
    if not entry.isreg() or entry.issparse():
        what = _KINDS.get(entry.type, "no plain file")
        raise FormatError(f"{shown(told)}: {shown(entry.name)} is {what}; expected the file itself: pack it anew")


def _damaged(path: Path, error: Exception) -> FormatError:
    return FormatError(
        f"{shown(path)} ({path.stat().st_size} bytes) cannot be read as a tar ({shown(error)}), it may be truncated: "
        "fetch it again"
    )
