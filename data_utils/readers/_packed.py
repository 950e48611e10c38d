"""``X.npy``, ``Y.npy`` and so on in an archive, or in the ``.npz`` that ``np.savez`` makes.

They are unpacked to a scratch folder, mapped, and the folder is removed at once: a file that is mapped stays until
nobody maps it any more, also without a name, so that nothing is left behind.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from data_utils.errors import DataError, FormatError
from data_utils.files import shown
from data_utils.readers._listing import Counts, ImageFile, Listing, array_name, beside, steps
from data_utils.readers.npy import PIXELS, read_arrays
from data_utils.readers.patchset import PatchSet, Progress


def read_packed(
    root: Path,
    listing: Listing,
    source: str,
    *,
    labelled: bool,
    positive: str = "",
    progress: Progress | None,
    into: Path | None,
) -> PatchSet:
    """Reads the arrays of an archive.

    Args:
        root: the zip, or the plain tar.
        listing: of it; one of its arrays is ``X.npy``.
        source: as the user typed it.
        labelled: whether labels are needed.
        positive: the label of IDC, where labels are words.
        progress: called with (patches done, all) where pixels have to be converted.
        into: a new ``.npy`` file for pixels that have to be converted, in whose folder the scratch folder lies too; in
            memory and in the system's by default.

    Raises:
        DataError: several ``X.npy``, one that is damaged, or as ``read_arrays``.
    """
    folder, arrays = _of_one_folder(listing, source)
    known_as = "/".join((shown(source), *folder))  # by the user; what is said names no scratch folder
    with TemporaryDirectory(prefix="histotune-", dir=None if into is None else into.parent) as scratch:
        for file in arrays:
            _unpack(root, file, Path(scratch, array_name(file.path)), source)
        try:
            read = read_arrays(
                Path(scratch), source, labelled=labelled, positive=positive, progress=progress, into=into
            )
        except DataError as error:
            raise type(error)(str(error).replace(scratch, known_as)) from error
        read = replace(read, notes=tuple(note.replace(scratch, known_as) for note in read.notes))
    others = [steps(file.path)[-1] for file in (*listing.pictures, *listing.arrays) if file not in arrays]
    more = tuple((reason, count) for reason, count in listing.skipped if reason.endswith((".npy", ".npz")))
    return leaving_out(read, beside(others) + more)


def leaving_out(read: PatchSet, counts: Counts) -> PatchSet:
    """The same, with what was found beside the arrays and left out."""
    return replace(read, found=read.found + sum(count for _, count in counts), exclusions=read.exclusions + counts)


def _of_one_folder(listing: Listing, source: str) -> tuple[list[str], list[ImageFile]]:
    """The folder of the only ``X.npy``, and the arrays in it."""
    pixels = [file.path for file in listing.arrays if array_name(file.path) == PIXELS]
    if len(pixels) > 1:
        raise FormatError(
            f"{source} holds {len(pixels)} files {PIXELS} (first: {shown(pixels[0])} and {shown(pixels[1])}); expected "
            "one: join the arrays, or pack the folder of one of them"
        )
    folder = steps(pixels[0])[:-1]
    return folder, [file for file in listing.arrays if steps(file.path)[:-1] == folder]


def _unpack(root: Path, file: ImageFile, target: Path, source: str) -> None:
    assert file.member is not None, "a file of an archive"
    with root.open("rb") as archive, target.open("wb") as unpacked:
        problem = file.member.copy(archive, unpacked)
    if problem:
        raise FormatError(f"{source}: {shown(file.path)} cannot be unpacked ({problem}); fetch the archive again")
