"""Patches as PNG files: the public patient folder, and a zip of it that is never unpacked to disk.

The public form is ``PATIENT/CLASS/PATIENT_idx5_xX_yY_classCLASS.png``, under any folders; its archive holds every patch
twice, once more under ``IDC_regular_ps50_idx5/``.
"""

import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

import numpy as np

from data_utils._decode import OTHER_SIZE, UNREADABLE, Decoded, ImageFile, Member, decode, readable
from data_utils._patchset import PatchSet, Progress, Strings
from data_utils.errors import FormatError, LabelError, NotFoundError

DOUBLED = "doubled copy"

_NAME = re.compile(r"(?P<patient>[^/]+)_idx\d+_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>\d+)\.png", re.IGNORECASE)
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class FileFacts:
    """What a file's name says; patient "", position -1 and label -1 where it says nothing."""

    patient: str
    x: int
    y: int
    label: int


def read_files(path: Path, source: str, *, labelled: bool, progress: Progress | None, into: Path | None) -> PatchSet:
    """Reads a folder or a zip of PNG files.

    Raises:
        NotFoundError: no PNG file is there.
        FormatError: names that do not parse, a damaged zip or (where labels are needed) damaged pictures.
        LabelError: classes other than 0 and 1.
    """
    listed = sorted(_list(path), key=lambda file: file.path)
    if not listed:
        raise NotFoundError(f"{source} holds neither X.npy nor PNG files; expected PATIENT/CLASS/*.png")
    files = _without_doubles(listed, source) if labelled else listed
    facts = [_facts(file.path) for file in files]
    if labelled:
        _check_names(files, facts, source)
    decoded = decode(path, files, progress=progress, into=into)
    if labelled:
        _check_readable(files, decoded, source)
    return _patch_set(source, files, facts, decoded, len(listed))


def stamps(path: Path) -> list[tuple[str, int, int | str]]:
    """What changes with the files: (path, bytes, modification time in ns) of each; of a zip, its directory's sha256."""
    if path.is_file():
        with _opened(path) as archive, path.open("rb") as file:
            file.seek(archive.start_dir)
            return [("directory", path.stat().st_size, sha256(file.read()).hexdigest())]
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in _walk(path, path))


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
            f"{source}: {len(unparsed)} of {len(files)} names do not parse (first: {unparsed[0]}); "
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
            f"says (first: {moved[0]}); move them back"
        )


def _in_its_folder(path: str, fact: FileFacts) -> bool:
    folders = PurePosixPath(path).parts[:-1]
    return folders[-2:] == (fact.patient, str(fact.label))


def _check_readable(files: Sequence[ImageFile], decoded: Decoded, source: str) -> None:
    damaged = np.flatnonzero(~decoded.kept & (decoded.problems != OTHER_SIZE))
    if len(damaged):
        first = damaged[0]
        raise FormatError(
            f"{source}: {len(damaged)} of {len(files)} PNG files cannot be read (first: {files[first].path}, "
            f"{decoded.problems[first]}); fetch them again or take them away"
        )


def _without_doubles(files: Sequence[ImageFile], source: str) -> list[ImageFile]:
    """One file of each name, the one nearest to the root."""
    kept: dict[str, ImageFile] = {}
    for file in sorted(files, key=lambda file: (file.path.count("/"), file.path)):
        first = kept.setdefault(_base(file.path), file)
        if _content(first) != _content(file):
            raise FormatError(
                f"{source}: {first.path} and {file.path} have the same name but another content; "
                "expected copies: take the wrong one away"
            )
    return sorted(kept.values(), key=lambda file: file.path)


def _content(file: ImageFile) -> tuple[int, int]:
    """What can be known of a file's content without reading it."""
    return file.size, file.member.crc if file.member else 0


# --- listing --------------------------------------------------------------------------------------------------------


def _list(path: Path) -> Iterator[ImageFile]:
    if path.is_dir():
        return (ImageFile(name, stat.st_size) for name, stat in _walk(path, path))
    return _list_zip(path)


def _walk(root: Path, folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if not _hidden(entry.name):
                    yield from _walk(root, Path(entry.path))
            elif _is_picture(entry.name):
                yield Path(entry.path).relative_to(root).as_posix(), entry.stat()


def _list_zip(path: Path) -> Iterator[ImageFile]:
    with _opened(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or not _is_picture(info.filename):
                continue
            if info.flag_bits & _ENCRYPTED or not readable(info.compress_type):
                raise FormatError(
                    f"{path}: {info.filename} is encrypted or compressed by method {info.compress_type}; "
                    "expected a plain zip (stored or deflated)"
                )
            member = Member(info.header_offset, info.compress_size, info.compress_type, info.CRC)
            yield ImageFile(info.filename, info.file_size, member)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise FormatError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a zip ({error}), it may be truncated"
        ) from error


def _is_picture(path: str) -> bool:
    parts = path.split("/")
    return parts[-1].lower().endswith(".png") and not any(_hidden(part) for part in parts)


def _hidden(name: str) -> bool:
    """Files and folders that macOS and editors add."""
    return name.startswith(".") or name == "__MACOSX"


def _base(path: str) -> str:
    return path.rpartition("/")[2]
