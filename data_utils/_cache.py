"""A cache: a folder with one ``.npy`` file per array and a ``meta.json``, which is written last."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils._patchset import PatchSet, Rows, Strings, copy_rows
from data_utils.errors import FormatError

META = "meta.json"
PIXELS = "pixels.npy"


def write_cache(folder: Path, patches: PatchSet, part: Strings, rows: Rows) -> str:
    """Writes these rows of labelled patches; returns the digest of which patches they are.

    Files: ``pixels`` (N, 50, 50, 3) uint8, ``labels``, ``patients`` (absent where unknown), ``names``, ``xy`` (N, 2),
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
    try:
        pixels, xy = np.load(folder / PIXELS, mmap_mode="r"), _column(folder, "xy")
        patients = _column(folder, "patients") if (folder / "patients.npy").exists() else None
        patches = PatchSet(
            pixels=pixels,
            labels=_column(folder, "labels"),
            patients=patients,
            names=_column(folder, "names"),
            x=xy[:, 0],
            y=xy[:, 1],
            source=meta["source"],
            synthetic=meta["synthetic"],
            found=len(pixels),
            exclusions=(),
        )
        return patches, _column(folder, "part"), meta
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise _not_whole(folder, error) from error


def read_digests(folder: Path) -> Strings:
    """(N,) sha256 of each patch's pixels, without the pixels.

    Raises:
        FormatError: not a whole cache.
    """
    try:
        return _column(folder, "digests")
    except (OSError, ValueError, EOFError) as error:
        raise _not_whole(folder, error) from error


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
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_whole(folder, error) from error
    return meta


def _not_whole(folder: Path, error: Exception) -> FormatError:
    return FormatError(f"{folder} is not a whole cache ({error}); delete it and run the same command again")


def _column(folder: Path, name: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = np.load(folder / f"{name}.npy", allow_pickle=False)
    return column
