"""Reads everything once, splits it, and writes two caches: development (train, validation) and sealed (test).

Workers are given the development folder alone. Nothing here reads the sealed one; ``data_utils.split.holdout`` does.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from data_utils.errors import DataError, FormatError, LockMismatchError
from data_utils.quality.cleaning import clean
from data_utils.quality.measures import one_colour
from data_utils.readers.patches import check_classes, fingerprint, read_patches, signature
from data_utils.readers.patchset import Bools, PatchSet, Progress, Strings, known
from data_utils.scratch import of_dead_processes
from data_utils.split import cache
from data_utils.split.draw import (
    MOST_FOLDS,
    check_listed,
    count_folds,
    draw_lock,
    near_across,
    parts,
    published_lock,
    unlike_asked,
)
from data_utils.split.lock import Fractions, SplitLock, verify_fingerprint, verify_lists, verify_settings
from data_utils.split.split_file import PARTS, PatientLists, lists_of_folders

DEVELOPMENT, SEALED = "development", "sealed"

PartCounts = tuple[str, int, int, int]
"""(part or patient, patients or part, patches, patches with IDC)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was read, what was left out and how it was split; nothing that tells which patches are sealed.

    Attributes:
        signature: of the source when it was read.
        lock_digest: of the lock that the caches were written for.
        fingerprint: sha256 over pixels, labels and patients of what was kept.
        source: as the user typed it.
        synthetic: whether the patches are made up.
        found: patches and other files found, before anything was left out.
        exclusions: (reason, count).
        parts: (part, patients, patches, IDC) of train, validation and test; patients 0 where unknown.
        patients: (patient, part, patches, IDC) of development patients; empty where unknown.
        test_digest: sha256 over the sorted pixel digests of the sealed rows.
        test_patches: number of sealed rows.
        notes: of the reader, and that the split is not the one that was asked for.
        folds: of the development patches, over which final models are retrained.
        few_folds: why they are fewer than 5, in words; "" where they are not.
        plain: sha256 of patches of one colour throughout, whichever part they are in; none are known of earlier caches.
    """

    signature: str
    lock_digest: str
    fingerprint: str
    source: str
    synthetic: bool
    found: int
    exclusions: tuple[tuple[str, int], ...]
    parts: tuple[tuple[str, int, int, int], ...]
    patients: tuple[tuple[str, str, int, int], ...]
    test_digest: str
    test_patches: int
    notes: tuple[str, ...] = ()
    folds: int = MOST_FOLDS  # caches from before it was counted were written where there are five
    few_folds: str = ""
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prepared(Summary):
    """Prepared data: its summary, the lock, and where the two caches are.

    Attributes:
        lock: drawn or verified.
        development: folder for ``load_development``; all that a worker needs.
        sealed: folder for ``holdout.open_sealed``; never handed to a worker.
    """

    lock: SplitLock
    development: Path
    sealed: Path


@dataclass(frozen=True, eq=False, kw_only=True)
class DevelopmentSet(PatchSet):
    """Patches of train and validation.

    Attributes:
        part: (N,) "train" or "validation".
        digest: of which patches these are; equal digests mean equal rows.
    """

    part: Strings
    digest: str


def prepare(
    source: str,
    folder: Path,
    *,
    name: str,
    fractions: Fractions,
    seed: int,
    lock: SplitLock | None,
    exclude: Sequence[str] = (),
    lists: PatientLists | None = None,
    positive: str = "",
    progress: Progress | None = None,
    rehash: bool = False,
) -> Prepared:
    """Reads, cleans, fingerprints and splits a source, unless ``folder`` holds the result already.

    Args:
        source: as for ``read_patches``.
        folder: of the caches; replaced as a whole.
        name: of the comparison.
        fractions: train, validation, test in percent.
        seed: of the split.
        lock: the stored one, to be verified; None draws it.
        exclude: names of the rules of cleaning that are on besides those that always are (``rules.RULES``).
        lists: a published split, in place of a drawn one; fractions and seed mean nothing then.
        positive: the class with IDC, as for ``read_patches``.
        progress: called with (done, all) while files are decoded.
        rehash: reads and fingerprints the source even where its sizes and times are unchanged.

    Raises:
        DataError: see ``read_patches``, ``clean``, ``draw_lock``, ``published_lock`` and ``verify_settings``.
    """
    if lock is not None:  # before anything is read
        verify_settings(
            lock, fractions=fractions, seed=seed, name=name, exclude=exclude, lists=lists, positive=positive
        )
    mark = signature(source)
    stored = None if lock is None or rehash else _stored(folder, mark, lock)
    if lock is not None and stored is not None:
        return _prepared(stored, lock, folder)
    with replacing(folder) as partial:
        pieces = _pieces_of(folder, mark)
        read = read_patches(source, positive=positive, progress=progress, into=partial / "read.npy", pieces=pieces)
        lists = lists_of_folders(read, lists.unlisted) if lists is not None and lists.by_folders else lists
        patches = clean(read, into=partial / "kept.npy", exclude=exclude, only=_only(read, lists, lock))
        check_classes(patches)
        if lock is not None:
            _verify(lock, patches, lists)
        else:
            lock = replace(_new_lock(patches, name, fractions, seed, exclude, lists), positive=positive)
        summary = _write(partial, patches, lock, mark)
    return _prepared(summary, lock, folder)


def load_development(folder: Path) -> DevelopmentSet:
    """The development patches, pixels memory-mapped and read-only.

    Args:
        folder: ``Prepared.development``.

    Raises:
        FormatError: not a whole cache.
        LockMismatchError: it holds test rows.
    """
    patches, part, meta = cache.read_cache(folder)
    if (part == "test").any():
        raise LockMismatchError(f"{folder} holds test rows; {cache.way_out(folder)}")
    columns = {field.name: getattr(patches, field.name) for field in fields(patches)}
    return DevelopmentSet(**columns, part=part, digest=meta["digest"])


def digests_by_part(folder: Path) -> dict[str, Strings]:
    """Train, validation and test -> sha256 of the pixels of their patches, but for those of one colour.

    By them other data are known again; a patch of clipped glass is in everybody's.

    Args:
        folder: of both caches.

    Raises:
        FormatError: they are not whole.
    """
    development = folder / DEVELOPMENT
    part, digests = load_development(development).part, cache.read_digests(development)
    if part.shape != digests.shape:
        raise cache.not_whole(development, f"{len(part)} parts and {len(digests)} digests")
    found: dict[str, Strings] = {name: digests[part == name] for name in PARTS if name != "test"}
    found["test"] = cache.read_digests(folder / SEALED)
    plain = cache.read_meta(folder).get("plain", ())
    return {name: column[~np.isin(column, plain)] for name, column in found.items()}


def can_be_made_again(folder: Path) -> bool:
    """Whether the source of the caches in ``folder`` is where it was, unchanged."""
    try:
        meta = cache.read_meta(folder)
        return bool(signature(meta["source"]) == meta["signature"])
    except (DataError, OSError, KeyError, TypeError):
        return False


def discard(folder: Path) -> None:
    """Removes caches; cut off, it leaves nothing that looks whole."""
    old = _sibling(folder, "old")
    folder.rename(old)
    shutil.rmtree(old)


def leftovers(folder: Path) -> list[Path]:
    """What killed processes of this host left beside ``folder``; at full size each is gigabytes."""
    return of_dead_processes(folder.parent.glob(f".{folder.name}-*-{socket.gethostname()}-*"))


def pieces_left(folder: Path) -> list[Path]:
    """What interrupted readings would go on from; none where one is at work, here or on a host that cannot be asked."""
    readers = set(folder.parent.glob(f".{folder.name}-partial-*"))
    return [] if readers - set(leftovers(folder)) else sorted(folder.parent.glob(f".{folder.name}-pieces-*"))


def _new_lock(
    patches: PatchSet, name: str, fractions: Fractions, seed: int, exclude: Sequence[str], lists: PatientLists | None
) -> SplitLock:
    """Published where there are lists, else drawn."""
    if lists is not None:
        return published_lock(patches, name, lists, exclude=exclude)
    return draw_lock(patches, name, fractions, seed, exclude=exclude)


def _verify(lock: SplitLock, patches: PatchSet, lists: PatientLists | None) -> None:
    verify_fingerprint(lock, fingerprint(patches), patches.side)
    if lists is not None and lists.by_folders:
        verify_lists(lock, lists)


def _prepared(summary: Summary, lock: SplitLock, folder: Path) -> Prepared:
    return Prepared(**vars(summary), lock=lock, development=folder / DEVELOPMENT, sealed=folder / SEALED)


def _only(read: PatchSet, lists: PatientLists | None, lock: SplitLock | None) -> frozenset[str] | None:
    """The patients that stay; None for all. New lists are held against all patients that there are."""
    if lists is None:
        return None
    if lock is None:
        check_listed(read, lists)
    return frozenset(lists.parts) if lists.unlisted == "exclude" else None


def _write(folder: Path, patches: PatchSet, lock: SplitLock, mark: str) -> Summary:
    part = parts(lock, patches)
    order = np.argsort(patches.digests)  # so that the order of files never matters
    sealed = part[order] == "test"
    cache.write_cache(folder / DEVELOPMENT, patches, part, order[~sealed])
    test_digest = cache.write_cache(folder / SEALED, patches, part, order[sealed])
    for temporary in ("read.npy", "kept.npy"):
        (folder / temporary).unlink(missing_ok=True)
    folds, few_folds = count_folds(lock, load_development(folder / DEVELOPMENT))
    summary = Summary(
        signature=mark,
        lock_digest=lock.digest,
        fingerprint=lock.fingerprint,
        source=patches.source,
        synthetic=patches.synthetic,
        found=patches.found,
        exclusions=patches.exclusions,
        parts=tuple(_count(patches, name, part == name) for name in PARTS),
        patients=_development_patients(patches, part),
        test_digest=test_digest,
        test_patches=int(sealed.sum()),
        notes=(*patches.notes, *unlike_asked(lock), *near_across(lock)),
        folds=folds,
        few_folds=few_folds,
        plain=tuple(sorted(patches.digests[one_colour(patches.pixels)].tolist())),
    )
    cache.write_meta(folder, TypeAdapter(Summary).dump_python(summary, mode="json"))
    return summary


def _count(patches: PatchSet, part: str, rows: Bools) -> PartCounts:
    patients = 0 if patches.patients is None else len(np.unique(patches.patients[rows]))
    return part, patients, int(rows.sum()), int(known(patches)[rows].sum())


def _development_patients(patches: PatchSet, part: Strings) -> tuple[tuple[str, str, int, int], ...]:
    if patches.patients is None:
        return ()
    ids, first, unit = np.unique(patches.patients, return_index=True, return_inverse=True)
    sizes, idc = np.bincount(unit), np.bincount(unit, weights=known(patches)).astype(int)
    rows = zip(ids.tolist(), part[first].tolist(), sizes.tolist(), idc.tolist(), strict=True)
    return tuple(row for row in rows if row[1] != "test")


def _stored(folder: Path, mark: str, lock: SplitLock) -> Summary | None:
    """The summary of the caches in ``folder``, if they were written for this source and this lock."""
    try:
        summary = TypeAdapter(Summary).validate_python(cache.read_meta(folder))
    except (FormatError, ValidationError):
        return None  # cut off, or of another version: it is written again from the source
    return summary if (summary.signature, summary.lock_digest) == (mark, lock.digest) else None


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder``, which takes its place if all goes well and leaves nothing if not.

    Folders that only the old one holds are carried over.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in leftovers(folder):
        shutil.rmtree(left, ignore_errors=True)
    partial = _sibling(folder, "partial")
    partial.mkdir()
    try:
        yield partial
        _swap(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    old = _sibling(folder, "old")
    with suppress(FileNotFoundError):
        for entry in folder.iterdir():  # pixels derived from the caches stay: a search may be at work on them
            if entry.is_dir() and not entry.name.startswith(".") and not (new / entry.name).exists():
                entry.rename(new / entry.name)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _pieces_of(folder: Path, mark: str) -> Path:
    """The folder with which a reading that was interrupted goes on; those of other sources are removed."""
    pieces = folder.with_name(f".{folder.name}-pieces-{mark[:16]}")
    for other in folder.parent.glob(f".{folder.name}-pieces-*"):
        if other != pieces:
            shutil.rmtree(other, ignore_errors=True)
    return pieces


def _sibling(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}-{kind}-{socket.gethostname()}-{os.getpid()}")
