"""The test rows. Only ``search.opening`` may import this file (import-linter holds it)."""

from pathlib import Path

from data_utils import _cache
from data_utils._patchset import PatchSet, Strings
from data_utils.errors import FormatError, SealError


def open_sealed(folder: Path) -> PatchSet:
    """Opens the sealed cache and verifies that it holds the very patches that were sealed.

    Args:
        folder: ``Prepared.sealed``.

    Raises:
        SealError: the cache is not whole, or its patches are not those of its digest.
    """
    try:
        patches, part, meta = _cache.read_cache(folder)
    except FormatError as error:
        raise SealError(f"the sealed test patches cannot be read: {error}") from error
    found = _cache.set_digest(patches.digests)
    if found != meta["digest"] or (part != "test").any():
        raise SealError(
            f"{folder} does not hold the patches that were sealed: digest {found[:12]}, sealed {meta['digest'][:12]}; "
            "delete the folder above it and run the same command again"
        )
    return patches


def sealed_digests(folder: Path) -> Strings:
    """(N,) which patches are sealed, as sha256 of their pixels; what they show is not read."""
    return _cache.read_digests(folder)
