"""Patches on disk into a PatchSet, whatever their form; where they are, and whether they are still the same.

Forms: ``synthetic[:N[@SIDE][:SEED]]``; a folder with ``X.npy`` and ``Y.npy``; a folder of pictures; a zip or a tar of
either.
"""

import json
import stat
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from data_utils.errors import FormatError, LabelError, NotFoundError
from data_utils.files import kind, shown
from data_utils.readers import _folder, _hdf5, _table, synthetic
from data_utils.readers import npy as _npy
from data_utils.readers._listing import beside_arrays
from data_utils.readers._packed import leaving_out
from data_utils.readers.array_pixels import told_dark
from data_utils.readers.patchset import (
    Bools,
    PatchSet,
    Pixels,
    Progress,
    known,
    patch_digests,
)

__all__ = [
    "FORMS",
    "PatchSet",
    "Pixels",
    "Progress",
    "check_classes",
    "check_there",
    "fingerprint",
    "patch_digests",
    "read_patches",
    "signature",
    "where_is_data",
]

FORMS = (
    "a folder with X.npy and Y.npy (and patients.npy where known), a folder of pictures (PNG, JPEG, TIFF) in "
    "PATIENT/CLASS/, in CLASS/ or with the public set's names, a zip, .tar or .tar.gz of one of them, a .npz or .h5 "
    "with x and y, a .csv with path, label and patient, or synthetic[:N[@SIDE]]"
)
PUBLIC_SET = "Kaggle's paultimothymooney/breast-histopathology-images"


def read_patches(
    source: str,
    *,
    labelled: bool = True,
    positive: str = "",
    progress: Progress | None = None,
    into: Path | None = None,
    pieces: Path | None = None,
) -> PatchSet:
    """Reads all patches of a source.

    Args:
        source: a path, or "synthetic", "synthetic:600", "synthetic:600:7" (count, seed).
        labelled: whether labels are needed. Without, they are read where there are any, files are named freely, and
            a patch is left out only when it cannot be scored.
        positive: the class with IDC, as its folder or label is called; "" where classes are 0 and 1.
        progress: called now and then with (done, all).
        into: a new ``.npy`` file for pixels that have to be decoded; in memory by default.
        pieces: a folder beside ``into`` that lets a reading of many files go on where it was interrupted; named after
            what is read (``signature``), as it must never serve another source.

    Raises:
        NotFoundError: nothing of an accepted form is there.
        FormatError: a file is not what its name promises.
        LabelError: labels other than 0 and 1, or a class without patches.
    """
    patches = _read(source, labelled, positive, progress, into, pieces)
    if dark := told_dark(patches.pixels, shown(source)):
        patches = replace(patches, notes=(*patches.notes, *dark))
    if labelled:
        check_classes(patches)
    return patches


def signature(source: str) -> str:
    """A cheap sign of change, as sha256: sizes and times; no pixel is read.

    Raises:
        NotFoundError: nothing of an accepted form is there.
        FormatError: files that cannot be read as what their names promise.
    """
    request = synthetic.parse(source)
    if request is not None:
        return _sha256(["synthetic", synthetic.VERSION, *request.identity])
    path = _existing(source)
    if _npy.is_array_folder(path):
        return _sha256(["arrays", _npy.array_stamps(path), *beside_arrays(path)])
    for form in (_hdf5, _table):
        if form.is_this(path):
            return _sha256(["files", form.stamps(path)])
    return _sha256(["files", _folder.stamps(path)])


def check_there(source: str) -> None:
    """Refuses a source in which there is nothing of an accepted form; no picture is read.

    Raises:
        NotFoundError, FormatError: as ``signature``, or a folder holds no picture.
    """
    if synthetic.parse(source) is None:
        path = _existing(source)
        if not _npy.is_array_folder(path):
            _folder.check_there(path, source)


def fingerprint(patches: PatchSet, rows: Bools | None = None) -> str:
    """Sha256 over pixels, and so their side, labels and patients; the order of files and rows makes no difference.

    Args:
        patches: a set.
        rows: (N,) which of them count; all by default.
    """
    chosen = np.ones(len(patches), dtype=np.bool_) if rows is None else rows
    count = int(chosen.sum())
    labels = [""] * count if patches.labels is None else patches.labels[chosen].tolist()
    patients = [""] * count if patches.patients is None else patches.patients[chosen].tolist()
    # the patient comes last, so that no id can pass for a digest or a label
    records = sorted(
        f"{digest} {label} {patient}"
        for digest, label, patient in zip(patches.digests[chosen].tolist(), labels, patients, strict=True)
    )
    return _sha256(records)


def where_is_data(option: str | None, environ: Mapping[str, str]) -> str:
    """The source to read: ``--data``, else ``$HISTOTUNE_DATA``, else ``data/`` where it exists.

    Raises:
        NotFoundError: none of the three; the message says what could be given.
    """
    named = option or environ.get("HISTOTUNE_DATA")
    if named:
        return named
    if Path("data").is_dir():
        return "data"
    raise NotFoundError(
        "no patches: neither --data nor $HISTOTUNE_DATA is given and there is no folder data/; "
        f"try --data synthetic, or give {FORMS}; the public set is {PUBLIC_SET}"
    )


def check_classes(patches: PatchSet) -> None:
    """Refuses a set in which a class has no patches.

    Raises:
        LabelError: the class and the number of patches.
    """
    counts = np.bincount(known(patches), minlength=2)
    for label, name in ((0, "no IDC"), (1, "IDC")):
        if counts[label] == 0:
            raise LabelError(
                f"{patches.source} has no patches of class {label} ({name}) among {len(patches)}; "
                "expected patches of both classes"
            )


def _read(
    source: str, labelled: bool, positive: str, progress: Progress | None, into: Path | None, pieces: Path | None
) -> PatchSet:
    request = synthetic.parse(source)
    if request is not None:
        _check_numbers(source, positive)
        return synthetic.make_patches(request, source)
    path = _existing(source)
    if _npy.is_array_folder(path):
        read = _npy.read_arrays(path, source, labelled=labelled, positive=positive, progress=progress, into=into)
        return leaving_out(read, beside_arrays(path))
    if _hdf5.is_this(path):
        return _hdf5.read_hdf5(path, source, labelled=labelled, positive=positive, progress=progress, into=into)
    if _table.is_this(path):
        return _table.read_table(
            path, source, labelled=labelled, positive=positive, progress=progress, into=into, pieces=pieces
        )
    return _folder.read_files(
        path, source, labelled=labelled, positive=positive, progress=progress, into=into, pieces=pieces
    )


def _check_numbers(source: str, positive: str) -> None:
    if positive:
        raise FormatError(f"--positive {shown(positive)}: the classes of {source} are 0 and 1; leave it out")


def _existing(source: str) -> Path:
    try:
        path = Path(source).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise NotFoundError(f"{shown(source)} does not exist; expected {FORMS}") from error
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a folder that is closed, no such home
        reason = error.strerror if isinstance(error, OSError) else error
        raise NotFoundError(f"{shown(source)} cannot be reached ({reason}); expected {FORMS}") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise FormatError(f"{shown(source)} is {kind(mode)}; expected {FORMS}")
    if path.is_file() and path.suffix.lower() == ".npy":
        raise FormatError(f"{shown(source)} is one array; give the folder that holds X.npy and Y.npy: {path.parent}")
    return path


def _sha256(content: object) -> str:
    return sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
