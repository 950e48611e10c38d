"""Patches as PNG files: the public patient folder, and a zip of it that is never unpacked to disk.

The public form is ``PATIENT/CLASS/PATIENT_idx5_xX_yY_classCLASS.png``, under any folders; its archive holds every patch
twice, once more under ``IDC_regular_ps50_idx5/``.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_utils.errors import FormatError, LabelError, NotFoundError
from data_utils.readers._decode import OTHER_SIZE, UNREADABLE, Decoded, ImageFile, decode
from data_utils.readers._zip import is_hidden, list_pictures
from data_utils.readers.files import NO_TEXT, check_within, kind, shown, unreadable
from data_utils.readers.patchset import PatchSet, Progress, Strings

DOUBLED = "doubled copy"

_NAME = re.compile(
    r"(?P<patient>[^/]+)_idx\d+_x(?P<x>\d{1,9})_y(?P<y>\d{1,9})_class(?P<label>\d{1,9})\.png", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class FileFacts:
    """What a file's name says; patient "", position -1 and label -1 where it says nothing."""

    patient: str
    x: int
    y: int
    label: int


def read_files(
    path: Path,
    source: str,
    *,
    labelled: bool,
    progress: Progress | None,
    into: Path | None,
    pieces: Path | None = None,
) -> PatchSet:
    """Reads a folder or a zip of PNG files; ``pieces`` lets an interrupted reading go on (``_decode.decode``).

    Raises:
        NotFoundError: no PNG file is there.
        FormatError: names that do not parse, a damaged zip or (where labels are needed) damaged pictures.
        LabelError: classes other than 0 and 1.
    """
    listed = sorted(_list(path), key=lambda file: file.path)
    if not listed:
        raise _nothing(source)
    _check_text(listed, source)
    files = _without_doubles(listed, source) if labelled else listed
    facts = [_facts(file.path) for file in files]
    if labelled:
        _check_names(files, facts, source)
    decoded = decode(path, files, progress=progress, into=into, pieces=pieces)
    if labelled:
        _check_readable(files, decoded, source)
    return _patch_set(source, files, facts, decoded, len(listed))


def check_there(path: Path, source: str) -> None:
    """Looks for the first PNG file of a folder; a zip's directory takes seconds to read, and is left for later.

    Raises:
        NotFoundError: there is none.
    """
    if path.is_dir() and next(_walk(path), None) is None:
        raise _nothing(source)


def _nothing(source: str) -> NotFoundError:
    return NotFoundError(f"{source} holds neither X.npy nor PNG files; expected PATIENT/CLASS/*.png")


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """What changes with the files: (path, bytes, modification time in ns) of each, or of the zip.

    A zip's own directory would say more, but takes seconds to read where it names 277,524 files.
    """
    if path.is_file():
        found = path.stat()
        return [("", found.st_size, found.st_mtime_ns)]
    return sorted((name, found.st_size, found.st_mtime_ns) for name, found in _walk(path))


def _patch_set(
    source: str, files: Sequence[ImageFile], facts: Sequence[FileFacts], decoded: Decoded, found: int
) -> PatchSet:
    rows = np.flatnonzero(decoded.kept).tolist()
    if not rows:
        raise FormatError(
            f"{source}: none of {found} PNG files is a patch of 50x50 pixels; first: {decoded.problems[0]}"
        )
    kept = [facts[row] for row in rows]
    labels = np.array([fact.label for fact in kept], dtype=np.int64)
    patients = np.array([fact.patient for fact in kept], dtype=np.str_)
    return PatchSet(
        pixels=decoded.pixels,
        labels=labels if (labels >= 0).all() else None,
        patients=patients if (patients != "").any() else None,
        names=_names([files[row] for row in rows]),
        x=np.array([fact.x for fact in kept], dtype=np.int64),
        y=np.array([fact.y for fact in kept], dtype=np.int64),
        source=source,
        synthetic=False,
        found=found,
        exclusions=_exclusions(decoded, found - len(files)),
    )


def _names(files: Sequence[ImageFile]) -> Strings:
    """File names; whole paths where file names repeat."""
    names = [_base(file.path) for file in files]
    return np.array(names if len(set(names)) == len(names) else [file.path for file in files], dtype=np.str_)


def _exclusions(decoded: Decoded, doubled: int) -> tuple[tuple[str, int], ...]:
    sizes = int((decoded.problems == OTHER_SIZE).sum())
    damaged = int((~decoded.kept).sum()) - sizes
    counts = ((DOUBLED, doubled), (OTHER_SIZE, sizes), (UNREADABLE, damaged))
    return tuple((reason, count) for reason, count in counts if count)


# --- names ----------------------------------------------------------------------------------------------------------


def _check_text(files: Sequence[ImageFile], source: str) -> None:
    """Names travel into tables, databases and terminals: they must be text."""
    wrong = [file.path for file in files if NO_TEXT.search(file.path)]
    if wrong:
        raise FormatError(
            f"{shown(source)}: {len(wrong)} of {len(files)} names are no printable UTF-8 (first: {shown(wrong[0])}); "
            "expected plain text: rename the files"
        )


def _facts(path: str) -> FileFacts:
    found = _NAME.fullmatch(_base(path))
    if found is None:
        return FileFacts("", -1, -1, -1)
    label = int(found["label"])
    return FileFacts(found["patient"], int(found["x"]), int(found["y"]), label)


def _check_names(files: Sequence[ImageFile], facts: Sequence[FileFacts], source: str) -> None:
    """Patient and class must be in the name, and the two folders above must say the same."""
    unparsed = [file.path for file, fact in zip(files, facts, strict=True) if not fact.patient]
    if unparsed:
        raise FormatError(
            f"{source}: {len(unparsed)} of {len(files)} names do not parse (first: {shown(unparsed[0])}); "
            "expected PATIENT/CLASS/PATIENT_idx5_x1001_y751_class0.png"
        )
    others = sorted({fact.label for fact in facts} - {0, 1})
    if others:
        count = sum(fact.label in others for fact in facts)
        raise LabelError(f"{source}: {count} files of class {others[0]}; expected classes 0 (no IDC) and 1 (IDC)")
    moved = [file.path for file, fact in zip(files, facts, strict=True) if not _in_its_folder(file.path, fact)]
    if moved:
        raise FormatError(
            f"{source}: {len(moved)} of {len(files)} files lie in a folder of another patient or class than their name "
            f"says (first: {shown(moved[0])}); move them back"
        )


def _in_its_folder(path: str, fact: FileFacts) -> bool:
    return path.split("/")[-3:-1] == [fact.patient, str(fact.label)]


def _check_readable(files: Sequence[ImageFile], decoded: Decoded, source: str) -> None:
    damaged = np.flatnonzero(~decoded.kept & (decoded.problems != OTHER_SIZE))
    if len(damaged):
        first = damaged[0]
        raise FormatError(
            f"{source}: {len(damaged)} of {len(files)} PNG files cannot be read (first: {shown(files[first].path)}, "
            f"{decoded.problems[first]}); fetch them again or take them away"
        )


def _without_doubles(files: Sequence[ImageFile], source: str) -> list[ImageFile]:
    """One file of each name, the one nearest to the root."""
    kept: dict[str, ImageFile] = {}
    for file in sorted(files, key=lambda file: (file.path.count("/"), file.path)):
        first = kept.setdefault(_base(file.path), file)
        if _content(first) != _content(file):
            raise FormatError(
                f"{source}: {shown(first.path)} and {shown(file.path)} have the same name but another content; "
                "expected copies: take the wrong one away"
            )
    return sorted(kept.values(), key=lambda file: file.path)


def _content(file: ImageFile) -> tuple[int, int]:
    """What can be known of a file's content without reading it."""
    return file.size, file.member.crc if file.member else 0


# --- listing --------------------------------------------------------------------------------------------------------


def _list(path: Path) -> Iterator[ImageFile]:
    if path.is_dir():
        return (ImageFile(name, found.st_size) for name, found in _walk(path))
    return (ImageFile(name, member.size, member) for name, member in list_pictures(path))


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(relative path, what the system says) of every picture below a folder."""
    left, skip = [os.fspath(root)], len(os.path.join(root, ""))  # noqa: PTH118 - the root with a separator at its end
    while left:  # no recursion: folders may be nested deeper than Python's stack
        folder = left.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        left += _below(entry, root)
                    elif entry.name[-4:].lower() == ".png" and not is_hidden(entry.name):
                        yield entry.path[skip:], _picture(entry, root)
        except OSError as error:
            raise unreadable(Path(error.filename or folder), error) from error


def _below(entry: os.DirEntry[str], root: Path) -> list[str]:
    if is_hidden(entry.name):
        return []
    if entry.is_symlink():
        check_within(Path(entry.path), root)
        raise FormatError(
            f"{shown(entry.path)} is a link to a folder, which may go round in circles; expected the folder itself: "
            "put it in the place of the link"
        )
    return [entry.path]


def _picture(entry: os.DirEntry[str], root: Path) -> os.stat_result:
    if entry.is_symlink():
        check_within(Path(entry.path), root)
    found = entry.stat()
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{shown(entry.path)} is {kind(found.st_mode)}; expected a PNG file: take it away")
    return found


def _base(path: str) -> str:
    return path.rpartition("/")[2]
