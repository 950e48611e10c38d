"""Files of unknown origin: opened where they are plain files of a size that can be read, refused in words elsewhere.

A pipe or a device in the place of a file would keep a reader waiting for ever, and a size that is only claimed would
take memory that nobody has.
"""

import os
import re
import stat
from pathlib import Path

from pydantic_core import from_json

from data_utils.errors import FormatError

NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which could rewrite a terminal's line, and what is left of bytes that are no UTF-8."""

_BEGINNING = 512  # bytes; a tar tells itself from 257 on
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


_FORMS = re.compile(
    rb"(?P<bzip2>BZh)|(?P<xz>\xfd7zXZ\0)|(?P<Zstandard>\x28\xb5\x2f\xfd)|(?P<_7z>7z\xbc\xaf)|(?P<RAR>Rar!\x1a)"
    rb"|(?P<HDF5>\x89HDF)|(?P<a_NumPy_array>\x93NUMPY)|(?P<PDF>%PDF)|(?P<a_PNG_picture>\x89PNG)"
    rb"|(?P<a_JPEG_picture>\xff\xd8\xff)|(?P<a_TIFF_picture>II\*\0|MM\0\*)|(?P<a_BigTIFF_picture>II\+\0|MM\0\+)"
    rb"|(?P<a_GIF_picture>GIF8)|(?P<a_BMP_picture>BM.{4}\0{4})|(?P<a_WebP_picture>RIFF.{4}WEBP)"
    rb"|(?P<a_JPEG_2000_picture>\0\0\0\x0cjP  )|(?P<an_AVIF_picture>.{4}ftypavif)",
    re.DOTALL,
)
"""Forms that people have, by their first bytes."""


def form_of(start: bytes) -> str:
    """What a file is by its first bytes, in words; "" where that is not known here."""
    found = _FORMS.match(start)
    return str(found.lastgroup).strip("_").replace("_", " ") if found else ""


def beginning(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING)
    except OSError as error:
        raise unreadable(path, error) from error


def of_other_form(path: Path, named: str) -> FormatError:
    """The error of a file that is given as patches, but is no archive that is read; ``named`` as by ``form_of``."""
    what = f"{named}, which" if named else "of a form that"
    return FormatError(
        f"{shown(path)} is {what} is not read as patches; expected a folder, a zip, .tar or .tar.gz: give the folder "
        "of the patches, unpacked"
    )


def file_size(path: Path, most: int | None = None) -> int:
    """Bytes of a plain file that may be read; links are followed.

    Args:
        path: of the file.
        most: bytes; no limit by default.

    Raises:
        FormatError: it is missing, no plain file, may not be read, or is larger.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{shown(path)} is {kind(found.st_mode)}; expected a file: put one in its place")
    if not os.access(path, os.R_OK):
        raise FormatError(f"{shown(path)} may not be read by you; expected a readable file: change its permissions")
    if most is not None and found.st_size > most:
        raise FormatError(
            f"{shown(path)} has {found.st_size} bytes; expected at most {most}: it is not what its name promises"
        )
    return found.st_size


def read_small(path: Path, most: int) -> bytes:
    """The content of a plain file of at most so many bytes.

    Raises:
        FormatError: as ``file_size``.
    """
    file_size(path, most)
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise unreadable(path, error) from error


def parse_json(text: str | bytes, most: int) -> object:
    """The content of a JSON text; numbers are finite but for those that overflow, and depth is bounded.

    Args:
        text: UTF-8.
        most: values, counted before anything is built of them: two bytes can become sixty.

    Raises:
        ValueError: no JSON, or more values.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    values = sum(content.count(sign) for sign in (b",", b"[", b"{"))
    if values > most:
        raise ValueError(f"it has about {values} values, expected at most {most}")
    return from_json(content, allow_inf_nan=False)


def check_within(path: Path, root: Path) -> None:
    """Refuses a link that leads out of the folder that was named as the data; what is no link leads nowhere else.

    Raises:
        FormatError: it does.
    """
    if not path.is_symlink():
        return
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(root)):
        raise FormatError(
            f"{shown(path)} is a link that leads out of {shown(root)}, to {shown(target)}; expected the file itself: "
            "copy it there, or give the folder that it lies in"
        )


def unreadable(path: Path, error: Exception) -> FormatError:
    """The error of a path that cannot be opened."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return FormatError(f"{shown(path)} cannot be read ({reason}); check that it exists and that you may read it")


def kind(mode: int) -> str:
    """What a path of this mode is, where it is no plain file."""
    return next((name for is_one, name in _KINDS if is_one(mode)), "no plain file")


def shown(text: object) -> str:
    """A name for a message: what could not be printed is escaped, and one without end is cut."""
    whole = NO_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))
    return whole if len(whole) <= 300 else f"{whole[:200]}...{whole[-80:]}"
