"""The test rows. Only ``search.final.opening`` may import this file (import-linter holds it)."""

from pathlib import Path

from data_utils.errors import FormatError, SealError
from data_utils.readers.patches import fingerprint
from data_utils.readers.patchset import PatchSet, Strings
from data_utils.split import cache


def open_sealed(folder: Path, sealed: str) -> PatchSet:
    """Opens the sealed cache and verifies that it holds the very patches that were sealed.

    Args:
        folder: ``Prepared.sealed``.
        sealed: their fingerprint as the lock has it, which does not lie in the folder; "" of a lock from before that.

    Raises:
        SealError: the cache is not whole, or its patches, labels or patients are not those that were sealed.
    """
    try:
        patches, part, meta = cache.read_cache(folder)
    except FormatError as error:
        raise SealError(f"the sealed test patches cannot be read: {error}") from error
    _check(folder, patches.digests, meta["digest"])
    if sealed and fingerprint(patches) != sealed:
        raise SealError(
            f"{folder} does not hold what was sealed: pixels, labels or patients were changed since; "
            f"{cache.way_out(folder)}"
        )
    if (part != "test").any():
        raise SealError(f"{folder} holds rows of other parts than the test split; {cache.way_out(folder)}")
    return patches


def sealed_digests(folder: Path) -> Strings:
    """(N,) sha256 of the pixels of each sealed patch, without opening a patch: for counting openings.

    Args:
        folder: ``Prepared.sealed``.

    Raises:
        SealError: they cannot be read, or are not those that were sealed.
    """
    try:
        digests, meta = cache.read_digests(folder), cache.read_meta(folder)
    except FormatError as error:
        raise SealError(f"the digests of the sealed test patches cannot be read: {error}") from error
    _check(folder, digests, meta["digest"])
    return digests


def _check(folder: Path, digests: Strings, sealed: str) -> None:
    found = cache.set_digest(digests)
    if found != sealed:
        raise SealError(
            f"{folder} does not hold the patches that were sealed: digest {found[:12]}, sealed {sealed[:12]}; "
            f"{cache.way_out(folder)}"
        )
