"""Patches as pictures: in patient folders, or in a zip or tar of them that is never unpacked to files.

The archive of the public set holds every patch twice, once more under ``IDC_regular_ps50_idx5/``.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_utils.errors import FormatError, NotFoundError
from data_utils.files import NO_TEXT, file_size, shown
from data_utils.pictures.picture import CONVERSIONS, OTHER_COLOURS, OTHER_FORM, OTHER_SIZE, UNREADABLE
from data_utils.readers import _tar
from data_utils.readers._decode import Decoded, decode
from data_utils.readers._listing import Counts, ImageFile, counted, list_files, steps, walk
from data_utils.readers._names import EXPECTED, FileFacts, check_names, classes_of, facts_of, notes
from data_utils.readers._packed import read_packed
from data_utils.readers.ids import read_ids, without_names
from data_utils.readers.npy import PIXELS
from data_utils.readers.patchset import LARGEST_SIDE, SMALLEST_SIDE, PatchSet, Progress, Strings

DOUBLED = "doubled copy"


def read_files(
    path: Path,
    source: str,
    *,
    labelled: bool,
    positive: str = "",
    progress: Progress | None,
    into: Path | None,
    pieces: Path | None = None,
) -> PatchSet:
    """Reads a folder, a zip or a tar; ``pieces`` lets an interrupted reading go on (``_decode.decode``).

    ``positive`` is the folder of the patches with IDC, where classes are not called 0 and 1.

    Raises:
        NotFoundError: neither a picture nor ``X.npy`` is there.
        FormatError: names that do not parse, a damaged archive or (where labels are needed) damaged pictures.
        LabelError: classes other than 0 and 1.
    """
    with _tar.plain(path, into) if path.is_file() and _tar.is_tar(path) else nullcontext(path) as root:
        listing = list_files(root, path)
        if listing.arrays:
            return read_packed(
                root, listing, source, labelled=labelled, positive=positive, progress=progress, into=into
            )
        if not listing.pictures:
            raise _nothing(source)
        _check_text(listing.pictures, source)
        said = _said(listing.pictures, positive, source)
        if labelled:
            said = _unwrapped(said)
        files = _without_doubles(listing.pictures, said, source) if labelled else listing.pictures
        paths, facts = [file.path for file in files], [said[file.path] for file in files]
        if labelled:
            check_names(paths, facts, source)
        decoded = decode(root, files, progress=progress, into=into, pieces=pieces)
    doubled = len(listing.pictures) - len(files)
    told = tuple(notes(paths, facts, labelled=labelled))
    read = as_patches(source, files, facts, decoded, labelled=labelled, doubled=doubled, told=told)
    skipped = sum(count for _, count in listing.skipped)
    return replace(read, found=read.found + skipped, exclusions=(*read.exclusions, *listing.skipped))


def as_patches(
    source: str,
    files: Sequence[ImageFile],
    facts: Sequence[FileFacts],
    decoded: Decoded,
    *,
    labelled: bool,
    doubled: int = 0,
    told: tuple[str, ...] = (),
) -> PatchSet:
    """The set of those files that are patches.

    Args:
        source: as the user typed it.
        files: all that were decoded.
        facts: what is known of each.
        decoded: of them.
        labelled: whether labels are needed; then nothing may be damaged, and ids that name patches are forgotten.
        doubled: files that were left out as copies.
        told: sentences about how facts were found.

    Raises:
        FormatError: none is a patch, or (where labels are needed) one cannot be read.
    """
    if labelled:
        _check_readable(files, decoded, source)
    read = _patch_set(source, files, facts, decoded, _left_out(decoded, doubled))
    by_folders = labelled and not any(fact.named for fact in facts)  # a public name says whose patch it is
    patients, of_ids = _patients(read.patients, source, doubted=by_folders)
    return replace(read, patients=patients, notes=(*told, *_converted(decoded), *of_ids))


def _said(files: Sequence[ImageFile], positive: str, source: str) -> dict[str, FileFacts]:
    """What each path says.

    Raises:
        FormatError: folders do not tell classes apart as ``positive`` would have it.
    """
    classes = classes_of([file.path for file in files], positive, source)
    said = {file.path: facts_of(file.path, classes) for file in files}
    if positive and any(fact.named for fact in said.values()):
        raise FormatError(
            f"--positive {shown(positive)}: the names of pictures in {source} say their class (_class0, _class1); "
            "leave it out"
        )
    return said


def _unwrapped(said: dict[str, FileFacts]) -> dict[str, FileFacts]:
    """Without the patient where that is one folder around all of them, as packing a folder of classes makes it."""
    if any(fact.named for fact in said.values()) or len({fact.patient for fact in said.values()}) > 1:
        return said
    return {path: replace(fact, patient="", at_home=False) for path, fact in said.items()}


def read_pictures(paths: Sequence[str], *, progress: Progress | None, into: Path | None) -> PatchSet:
    """Reads single pictures, of which only their own names say anything; labels are not needed.

    Raises:
        FormatError: a name that is no text, or none of them is a patch.
    """
    source = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    files = [ImageFile(path, file_size(Path(path))) for path in paths]
    _check_text(files, source)
    facts = [facts_of(_base(path)) for path in paths]
    placed = [replace(file, path=os.path.abspath(file.path)[1:]) for file in files]  # noqa: PTH100 - a link stays one
    decoded = decode(Path("/"), placed, progress=progress, into=into)
    return as_patches(source, files, facts, decoded, labelled=False)


def check_there(path: Path, source: str) -> None:
    """Looks for the first picture of a folder; an archive's directory takes seconds to read, and is left for later.

    Raises:
        NotFoundError: there is none.
    """
    if path.is_dir() and next(walk(path, Counter()), None) is None:
        raise _nothing(source)


def _nothing(source: str) -> NotFoundError:
    return NotFoundError(f"{source} holds neither {PIXELS} nor pictures (PNG, JPEG, TIFF); expected {EXPECTED}")


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """What changes with the files: (path, bytes, modification time in ns) of each, or of the archive.

    An archive's own directory would say more, but takes seconds to read where it names 277,524 files. Files that are no
    pictures are counted.
    """
    if path.is_file():
        found = path.stat()
        return [("", found.st_size, found.st_mtime_ns)]
    skipped: Counter[str] = Counter()
    pictures = sorted((name, found.st_size, found.st_mtime_ns) for name, found in walk(path, skipped))
    return [*pictures, *((reason, count, 0) for reason, count in counted(skipped))]


def _patch_set(
    source: str, files: Sequence[ImageFile], facts: Sequence[FileFacts], decoded: Decoded, left_out: Counts
) -> PatchSet:
    rows = np.flatnonzero(decoded.kept).tolist()
    if not rows:
        raise FormatError(
            f"{source}: none of {len(files)} pictures is a patch, a square of {SMALLEST_SIDE} to {LARGEST_SIDE} "
            f"pixels; first: {decoded.problems[0]}"
        )
    kept = [facts[row] for row in rows]
    labels = np.array([fact.label for fact in kept], dtype=np.int64)
    parts = np.array([fact.part for fact in kept], dtype=np.str_)
    return PatchSet(
        pixels=decoded.pixels,
        labels=labels if (labels >= 0).all() else None,
        patients=np.array([fact.patient for fact in kept], dtype=np.str_),
        names=_file_names([files[row] for row in rows]),
        x=np.array([fact.x for fact in kept], dtype=np.int64),
        y=np.array([fact.y for fact in kept], dtype=np.int64),
        source=source,
        synthetic=False,
        found=len(rows) + sum(count for _, count in left_out),
        exclusions=left_out,
        parts=parts if (parts != "").any() else None,
    )


def _patients(named: Strings | None, source: str, *, doubted: bool) -> tuple[Strings | None, tuple[str, ...]]:
    """(N,) ids, None where no path names one, and what is to be said of them; those in doubt may name patches."""
    if named is None or not (named != "").any():
        return None, ()
    ids, said = read_ids(named, source)
    kept, forgotten = without_names(ids, source) if doubted else (ids, ())
    return kept, (*said, *forgotten)


def _file_names(files: Sequence[ImageFile]) -> Strings:
    """File names; whole paths where file names repeat."""
    names = [_base(file.path) for file in files]
    return np.array(names if len(set(names)) == len(names) else [file.path for file in files], dtype=np.str_)


def _left_out(decoded: Decoded, doubled: int) -> Counts:
    reasons = Counter(str(problem).partition(": ")[0] for problem in decoded.problems[~decoded.kept].tolist())
    ranked = (entry for begin in _NO_PATCH for entry in reasons.items() if entry[0].startswith(begin))
    return tuple((reason, count) for reason, count in ((DOUBLED, doubled), *ranked) if count)


def _converted(decoded: Decoded) -> Iterator[str]:
    """What pictures were before they were 8-bit RGB, counted."""
    counts = Counter(kind for was in decoded.was[decoded.kept].tolist() if was for kind in was.split("+"))
    for kind, words in CONVERSIONS.items():
        if counts[kind]:
            yield f"{counts[kind]} of {len(decoded.kept)} pictures {words}"


# --- before and after decoding --------------------------------------------------------------------------------------


def _check_text(files: Sequence[ImageFile], source: str) -> None:
    """Names travel into tables, databases and terminals: they must be text."""
    wrong = [file.path for file in files if NO_TEXT.search(file.path)]
    if wrong:
        raise FormatError(
            f"{shown(source)}: {len(wrong)} of {len(files)} names are no printable UTF-8 (first: {shown(wrong[0])}); "
            "expected plain text: rename the files"
        )


def _check_readable(files: Sequence[ImageFile], decoded: Decoded, source: str) -> None:
    """Where labels are needed, nothing is missing but what lies at the border of a slide."""
    for reason, words, advice in _REFUSED:
        rows = np.flatnonzero(np.char.startswith(decoded.problems, reason))
        if len(rows):
            raise FormatError(
                f"{source}: {len(rows)} of {len(files)} pictures {words} (first: {shown(files[rows[0]].path)}, "
                f"{decoded.problems[rows[0]]}); {advice}"
            )


_NO_PATCH = (OTHER_SIZE, UNREADABLE, OTHER_COLOURS, OTHER_FORM)
_REFUSED = (
    (UNREADABLE, "cannot be read", "fetch them again or take them away"),
    (OTHER_COLOURS, "cannot become 8-bit RGB without loss", "save them as 8-bit RGB or take them away"),
    (OTHER_FORM, "are neither PNG, JPEG nor TIFF", "save them as PNG or take them away"),
)


def _without_doubles(files: Sequence[ImageFile], said: Mapping[str, FileFacts], source: str) -> list[ImageFile]:
    """One file of each public name, the one nearest to the root; another name says nothing of what the file is."""
    kept: dict[str, ImageFile] = {}
    for file in sorted(files, key=lambda file: (len(steps(file.path)), file.path)):
        first = kept.setdefault(_base(file.path) if said[file.path].named else file.path, file)
        if _content(first) != _content(file):
            raise FormatError(
                f"{source}: {shown(first.path)} and {shown(file.path)} have the same name but another content; "
                "expected copies: take the wrong one away"
            )
    return sorted(kept.values(), key=lambda file: file.path)


def _content(file: ImageFile) -> tuple[int, int]:
    """What can be known of a file's content without reading it."""
    return file.size, file.member.crc if file.member else 0


def _base(path: str) -> str:
    return steps(path)[-1]
