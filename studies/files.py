"""Files that are never half there, also where the disk is full."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from studies.errors import NotWrittenError, RecordError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None}  # None: NumPy's own "n requested and m written"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to: moved there at the end of the block, removed where the block failed.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there; ``path`` is as it was before.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_whole(path: Path, content: str | bytes) -> Path:
    """Writes a file, whole or not at all; returns ``path``.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there; ``path`` is as it was before.
    """
    with whole(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Says which place has no room left: the system's own error does not.

    Raises:
        NotWrittenError: the block found the disk full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> NotWrittenError:
    return NotWrittenError(
        f"{path} cannot be written ({error.strerror or error}): make room there or allow it, then run this again; "
        "what was there before is unchanged"
    )


def file_size(path: Path, most: int | None = None) -> int:
    """Bytes of a plain file that may be read; a pipe in its place would keep a reader waiting for ever.

    Raises:
        RecordError: it is missing, no plain file, or larger than ``most`` bytes.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"{path} cannot be read ({reason}); put the original back") from error
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.R_OK):
        raise RecordError(f"{path} is no file that you may read; expected one: put the original back")
    if most is not None and found.st_size > most:
        raise RecordError(f"{path} has {found.st_size} bytes; expected at most {most}: put the original back")
    return found.st_size


def read_file(path: Path, most: int) -> bytes:
    """The content of a plain file of at most so many bytes.

    Raises:
        RecordError: as ``file_size``.
    """
    file_size(path, most)
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror}); put the original back") from error
