"""What is sealed under which name: by the locks of the database, and by those of folders of results that it lacks.

Patches are known by the sha256 of their pixels, whatever the name under which somebody meets them. A lock of which
nobody knows any more what it sealed has sealed it all the same: then any patch may be meant, and all are refused.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_utils.errors import DataError, FormatError
from data_utils.quality.measures import one_colour
from data_utils.readers.array_file import map_array
from data_utils.readers.patches import PatchSet
from data_utils.readers.patchset import Bools, Strings
from data_utils.split.cache import read_digests
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import SEALED, digests_by_part
from search.comparison import LOCK_FILE, Comparison, holds_lock
from search.errors import UsageError
from studies.ledger.ledger import Ledger
from studies.ledger.patches import opened_patches, patches_of, sealed_patches

SEALED_FILE = "sealed_digests.npy"
"""Beside a final model: the sealed patches of its comparison, whose opening is closed by then."""
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Met:
    """A comparison that has sealed some of the patches at hand.

    Attributes:
        study: its name.
        rows: (N,) which patches they are.
        opened: whether its opening is closed, so that a look at them is no first one.
        recordable: whether the database at hand holds its lock, and so the log of looks at them.
    """

    study: str
    rows: Bools
    opened: bool
    recordable: bool

    @property
    def count(self) -> int:
        """Of the patches at hand."""
        return int(self.rows.sum())


@dataclass(frozen=True, eq=False)
class _Lock:
    """A split lock, and where it may be known from what it has sealed.

    Attributes:
        study: name of the comparison.
        folder: of its results; None where another lock lies there.
        ledger: of the database that holds it; None where a folder alone does.
    """

    study: str
    folder: Path | None
    ledger: Ledger | None


def sealed_among(runs: Path, ledger: Ledger | None, patches: PatchSet) -> list[Met]:
    """The comparisons that have sealed some of these patches, in the order of names; those of one colour are nobody's.

    Args:
        runs: folder of results.
        ledger: of the database at hand; None where there is none.
        patches: N of them.

    Raises:
        UsageError: it is not known what one of them has sealed.
    """
    showing = ~one_colour(patches.pixels)
    found = []
    for lock in _locks(runs, ledger):
        rows = showing & np.isin(patches.digests, _sealed(lock))
        if rows.any():
            found.append(Met(lock.study, rows, opened=_is_opened(lock), recordable=lock.ledger is not None))
    return sorted(found, key=lambda met: met.study)


def known_parts(comparison: Comparison, lock: SplitLock) -> Mapping[str, Strings]:
    """Part of a comparison -> its patches, as far as they are known: all parts, the test alone, or none.

    Args:
        comparison: in the database.
        lock: its own.
    """
    engine, study = comparison.ledger.engine, comparison.name
    recorded = patches_of(engine, study)
    if recorded is not None:
        return {part: _array(digests) for part, digests in recorded.items()}
    if lock.by != "patient":
        return {part: _array([key for key, of in lock.assignment.items() if of == part]) for part in PARTS}
    if _is_of(comparison.ledger, study, comparison.folder):
        with suppress(FormatError):  # gone or damaged
            return digests_by_part(comparison.folder / "data")
    opened = opened_patches(engine, study)
    return {"test": _array(opened)} if opened else {}


def _locks(runs: Path, ledger: Ledger | None) -> Iterator[_Lock]:
    known: set[Path | None] = set()
    if ledger is not None:
        for study in ledger.locked():
            folder = runs / study if _is_of(ledger, study, runs / study) else None
            known.add(folder)
            yield _Lock(study, folder, ledger)
    sealing = {file.parent for file in runs.glob(f"*/{LOCK_FILE}")}
    sealing |= {cache.parents[1] for cache in runs.glob(f"*/data/{SEALED}")}
    for folder in sealing - known:
        yield _Lock(folder.name, folder, None)


def _is_of(ledger: Ledger, study: str, folder: Path) -> bool:
    """Whether a folder holds what a lock of the database is about, also where its own copy of the lock was lost."""
    return not os.path.lexists(folder / LOCK_FILE) or holds_lock(folder, ledger.lock(study))


def _sealed(lock: _Lock) -> Strings:
    """What a lock has sealed: as it is on record, lies there, or was opened.

    Raises:
        UsageError: none of these is at hand.
    """
    recorded = None if lock.ledger is None else sealed_patches(lock.ledger.engine, lock.study)
    if recorded is not None:
        return _array(recorded)
    problem = "its prepared patches are gone"
    try:
        found = None if lock.folder is None else _in_folder(lock.folder)
    except DataError as error:
        found, problem = None, str(error)
    if found is None and lock.ledger is not None:
        found = _array(opened_patches(lock.ledger.engine, lock.study))
    if found is None or not found.size:
        raise UsageError(
            f"a split is locked for {lock.study}, and what it has sealed is on record nowhere ({problem}): it may be "
            "among these patches; run its search.launch again, with its patches and settings, which writes it down, or "
            "name the database that has it by --storage"
        )
    return found


def _in_folder(folder: Path) -> Strings | None:
    """What is sealed in ``runs/NAME``; None where its caches were removed before a model was published.

    Raises:
        FormatError: it cannot be read.
    """
    if os.path.lexists(folder / "data" / SEALED):
        return read_digests(folder / "data" / SEALED)
    published = _published(folder)
    return None if published is None else np.array(map_array(published), dtype=np.str_)


def _is_opened(lock: _Lock) -> bool:
    if lock.ledger is not None and lock.ledger.was_opened(lock.study):
        return True
    return lock.folder is not None and _published(lock.folder) is not None


def _published(folder: Path) -> Path | None:
    """What lies beside a final model of ``runs/NAME``."""
    return next(iter(sorted(folder.glob(f"*/{SEALED_FILE}"))), None)


def _array(digests: Sequence[str]) -> Strings:
    return np.array(digests, dtype="U64")
