"""The development pixels as networks see them: transformed once, in a file beside the cache that every worker maps.

The cache itself stays as it was read: digests, pictures, exploration and colour baselines are of raw pixels.
"""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from data_utils.colour.preprocessing import Preprocessing, fit
from data_utils.errors import FormatError
from data_utils.readers.array_file import map_array
from data_utils.readers.patchset import Pixels, Progress
from data_utils.split import cache
from data_utils.split.prepare import DevelopmentSet, load_development, replacing

_FITTED = TypeAdapter(Preprocessing)


def derive(kind: str, development: Path, folder: Path, progress: Progress | None = None) -> Preprocessing:
    """Fits on the training part and writes the development pixels transformed, unless ``folder`` holds them already.

    Args:
        kind: one of ``preprocessing.KINDS``; "none" writes nothing.
        development: ``Prepared.development``.
        folder: of the result, ``pixels.npy`` and ``meta.json``; replaced as a whole.
        progress: called with (patches done, all).

    Raises:
        FormatError: see ``preprocessing.fit``.
        OSError: the disk has no room.
    """
    if kind == "none":
        return Preprocessing()
    patches = load_development(development)
    stored = _stored(folder, kind, patches)
    if stored is not None:
        return stored
    fitted = fit(kind, patches.pixels, np.flatnonzero(patches.part == "train"))
    with replacing(folder) as partial:
        fitted.apply(patches.pixels, partial / cache.PIXELS, progress)
        cache.write_meta(partial, {"digest": patches.digest, "fitted": _FITTED.dump_python(fitted, mode="json")})
    return fitted


def load_derived(folder: Path, patches: DevelopmentSet) -> tuple[Pixels, Preprocessing]:
    """Transformed pixels of these patches, row by row, memory-mapped and read-only, and how they were transformed.

    Raises:
        FormatError: they are not whole, or of other patches.
    """
    meta = cache.read_meta(folder)
    pixels = map_array(folder / cache.PIXELS)
    try:
        fitted = _FITTED.validate_python(meta.get("fitted"))
    except ValidationError as error:
        raise _not_of_these(folder, "it does not say what was fitted") from error
    if meta.get("digest") != patches.digest:
        raise _not_of_these(folder, "it was made of other patches")
    if pixels.shape != patches.pixels.shape or pixels.dtype != patches.pixels.dtype:
        raise _not_of_these(folder, f"its pixels have the shape {pixels.shape} and are {pixels.dtype}")
    return pixels, fitted


def _stored(folder: Path, kind: str, patches: DevelopmentSet) -> Preprocessing | None:
    """What was fitted for the pixels in ``folder``; None where they must be written (again)."""
    try:
        _, fitted = load_derived(folder, patches)
    except FormatError:  # not there, cut off, of other patches or of another version: made again from the cache
        return None
    return fitted if fitted.kind == kind else None


def _not_of_these(folder: Path, reason: str) -> FormatError:
    return FormatError(f"{folder} does not hold these patches ({reason}); delete it and run the same command again")
