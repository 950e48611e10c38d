"""Several sources, for prediction: each in a form of ``read_patches``, a single picture, or a pattern of paths."""

import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from itertools import groupby
from pathlib import Path

from data_utils.errors import NotFoundError
from data_utils.files import shown
from data_utils.readers._folder import read_pictures
from data_utils.readers._listing import is_picture
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import PatchSet, Progress


def read_sources(named: Sequence[str], folder: Path, progress: Progress | None = None) -> Iterator[PatchSet]:
    """The patches of each source in turn, without the need for labels; pictures that follow each other are one set.

    Args:
        named: as typed; a pattern with ``*``, ``?`` or ``[`` stands for the paths that it matches.
        folder: for pixels that have to be decoded, memory-mapped, so that any number fits into memory.
        progress: called with (files done, all) of a source while pictures are decoded.

    Raises:
        NotFoundError: a pattern matches nothing, or nothing is there.
        FormatError: as ``read_patches``.
    """
    found = [path for one in named for path in matched(one)]
    for number, (single, group) in enumerate(groupby(found, key=_is_single)):
        into = folder / f"{number}.npy"
        if single:
            yield read_pictures(list(group), progress=progress, into=into)
            continue
        for place, source in enumerate(group):
            room = into.with_stem(f"{number}-{place}")
            yield read_patches(source, labelled=False, progress=progress, into=room)


def matched(text: str) -> list[str]:
    """The paths that a pattern stands for, in order; the text itself where it is the name of something, or no pattern.

    Raises:
        NotFoundError: nothing matches.
    """
    if os.path.lexists(text) or not has_magic(text):
        return [text]
    paths = sorted(glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not paths:
        raise NotFoundError(f"{shown(text)} matches nothing; expected files or folders: check the pattern")
    return paths


def _is_single(path: str) -> bool:
    """Whether it is one picture."""
    return is_picture(path) and os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for a name that is too long
