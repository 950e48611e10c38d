"""A cache: a folder with one ``.npy`` file per array and a ``meta.json``, which is written last."""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError
from data_utils.files import parse_json, read_small
from data_utils.readers.array_file import map_array
from data_utils.readers.patchset import LARGEST_SIDE, SMALLEST_SIDE, USUAL_SIDE, PatchSet, Rows, Strings, copy_rows

META = "meta.json"
_LARGEST_META = 16 * 2**20  # bytes; it lists development patients
_MOST_VALUES = 500_000  # in it
_COLUMNS = {"pixels": "u", "labels": "i", "patients": "U", "names": "U", "xy": "i", "part": "U"}
"""Name of an array -> the kind of NumPy's types that it holds."""
PIXELS = "pixels.npy"


def write_cache(folder: Path, patches: PatchSet, part: Strings, rows: Rows) -> str:
    """Writes these rows of labelled patches; returns the digest of which patches they are.

    Files: ``pixels`` (N, S, S, 3) uint8, ``labels``, ``patients`` (absent where unknown), ``names``, ``xy`` (N, 2),
    ``part`` and ``digests`` (sha256 of each patch's pixels).
    """
    folder.mkdir()
    copy_rows(patches.pixels, rows, folder / PIXELS)
    columns = {
        "labels": patches.labels,
        "patients": patches.patients,
        "names": patches.names,
        "xy": np.stack([patches.x, patches.y], axis=1),
        "part": part,
        "digests": patches.digests,
    }
    for name, column in columns.items():
        if column is not None:
            np.save(folder / f"{name}.npy", column[rows], allow_pickle=False)
    digest = set_digest(patches.digests[rows])
    write_meta(folder, {"source": patches.source, "synthetic": patches.synthetic, "digest": digest})
    return digest


def read_cache(folder: Path) -> tuple[PatchSet, Strings, dict[str, Any]]:
    """The patches (pixels memory-mapped, read-only), their part, and the cache's meta.

    Raises:
        FormatError: not a whole cache.
    """
    meta = read_meta(folder)
    known = [name for name in _COLUMNS if name != "patients" or os.path.lexists(folder / "patients.npy")]
    columns = {name: _column(folder, name) for name in known}
    count = columns["names"].size  # also of an array without dimensions
    for name, column in columns.items():
        if column.shape != (count, *_row(name, column)) or column.dtype.kind != _COLUMNS[name]:
            raise not_whole(folder, f"{name} has the shape {column.shape} and holds {column.dtype}")
    if not isinstance(meta.get("source"), str) or not isinstance(meta.get("digest"), str):
        raise not_whole(folder, f"{META} names no source and digest")
    patches = PatchSet(
        pixels=columns["pixels"],
        labels=columns["labels"],
        patients=columns.get("patients"),
        names=columns["names"],
        x=columns["xy"][:, 0],
        y=columns["xy"][:, 1],
        source=meta["source"],
        synthetic=bool(meta.get("synthetic")),
        found=count,
        exclusions=(),
    )
    return patches, columns["part"], meta


def read_digests(folder: Path) -> Strings:
    """(N,) sha256 of each patch's pixels, without the pixels.

    Raises:
        FormatError: not a whole cache.
    """
    digests = _column(folder, "digests")
    if digests.ndim != 1 or digests.dtype != np.dtype("U64"):
        raise not_whole(folder, f"digests has the shape {digests.shape} and holds {digests.dtype}")
    return digests


def set_digest(digests: Strings) -> str:
    """Sha256 of sorted pixel digests: which patches a set holds, whatever their order."""
    return sha256("\n".join(sorted(digests.tolist())).encode()).hexdigest()


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Writes ``meta.json`` in one piece: it is there whole or not at all."""
    partial = folder / f"{META}.partial"
    partial.write_text(json.dumps(meta, indent=1), encoding="utf-8")
    partial.replace(folder / META)


def read_meta(folder: Path) -> dict[str, Any]:
    """The content of ``meta.json``.

    Raises:
        FormatError: there is none, or it cannot be read.
    """
    try:
        meta = parse_json(read_small(folder / META, _LARGEST_META), _MOST_VALUES)
    except (FormatError, ValueError) as error:
        raise not_whole(folder, error) from error
    if not isinstance(meta, dict):
        raise not_whole(folder, f"{META} holds no fields")
    return meta


def way_out(folder: Path) -> str:
    """What to do about a cache that is not what it was: its summary goes, and nothing that a seal rests on."""
    summary = folder.parent / META
    return f"delete {summary}, and the next search.launch or search.finalize of this name reads the patches anew"


def not_whole(folder: Path, reason: object) -> FormatError:
    """An error that says so."""
    return FormatError(f"{folder} is not a whole cache ({reason}); {way_out(folder)}")


def _row(name: str, column: npt.NDArray[Any]) -> tuple[int, ...]:
    """The shape that a row of an array must have; patches are squares of any side that is allowed."""
    if name != "pixels":
        return (2,) if name == "xy" else ()
    side = int(np.clip(column.shape[1], SMALLEST_SIDE, LARGEST_SIDE)) if column.ndim == 4 else USUAL_SIDE
    return side, side, 3


def _column(folder: Path, name: str) -> npt.NDArray[Any]:
    """An array; in memory but for the pixels, which stay on disk."""
    try:
        column = map_array(folder / f"{name}.npy")
    except FormatError as error:
        raise not_whole(folder, error) from error
    return column if name == "pixels" else np.array(column)
