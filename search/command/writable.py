"""Whether a folder can be written in, told without leaving anything."""

import os
import tempfile
from pathlib import Path


def why_not_writable(folder: Path) -> str | None:
    """Why nothing can be written in a folder that is there or is to be made, in words; None where it can.

    A file without a name is made and gone: what the system says of permissions alone is not true of every file system.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        return f"{there} is no folder"
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return f"{there} cannot be written in ({error.strerror})"
    return None
