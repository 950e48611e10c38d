"""How a split lock comes about, and what follows from it: parts, and folds for retraining.

The draw is by patient. Where patients are unknown, groups of exact and near duplicates stay together instead, which
keeps copies of a patch out of two parts but cannot exclude that a patient is in two. A published split (``split_file``)
is locked like a drawn one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError, LabelError, LockMismatchError, TooFewPatientsError
from data_utils.quality.measures import duplicate_groups, near_copies
from data_utils.quality.rules import in_order
from data_utils.readers.patches import fingerprint
from data_utils.readers.patchset import Bools, Ints, PatchSet, Strings, known
from data_utils.split.lock import Fractions, Published, SplitLock
from data_utils.split.split_file import PARTS, Part, PatientLists

MIN_PATIENTS = 10
MOST_FOLDS = 5
"""Of the development patients: a configuration that is retrained has one member for each."""
LEAST_FOLDS = 2

_DRAWS = 1000
_FOLD_DRAWS = 1000
_STRATIFIED_DRAWS = 100  # of folds by locks from before there were others
_MANY_PATCHES = 500  # of a class, without patients: five groups of duplicates would have to hold them all
_FAR = 5.0  # percent points between what was asked for and what is there, from which on it is told


def draw_lock(
    patches: PatchSet, name: str, fractions: Fractions, seed: int, *, exclude: Sequence[str] = ()
) -> SplitLock:
    """Draws the split: of many random ones that keep patients whole, the one nearest to the fractions.

    Near means that the largest deviation of a part's share of patients, of patches, of IDC and of other patches is
    smallest. The draw sees labels and counts only, and does not depend on the order of the rows.

    Args:
        patches: cleaned.
        name: of the comparison.
        fractions: train, validation, test in percent.
        seed: of the draw.
        exclude: the rules by which they were cleaned, to be remembered.

    Raises:
        TooFewPatientsError: fewer than 10 patients (or groups).
        LabelError: no draw has both classes in every part.
    """
    keys, unit = _units(patches)  # patient of each row, or first digest of its group
    count = int(unit.max()) + 1
    _check_enough(count, patches)
    counts = _counts(known(patches), unit)
    part_of_unit = _most_even(_shuffles(count, fractions, seed, _DRAWS), counts, fractions)
    if part_of_unit is None:
        raise LabelError(
            f"{patches.source}: no split has both classes in train, validation and test; expected IDC in more patients "
            f"({int((counts[1] > 0).sum())} of {count} have any)"
        )
    chosen = {str(key): PARTS[part] for key, part in zip(keys, part_of_unit[unit], strict=True)}
    assignment = dict(sorted(chosen.items()))
    lock = SplitLock(name, fingerprint(patches), fractions, seed, _kind(patches), assignment, in_order(exclude))
    return _knowing_what_it_seals(lock, patches)


def published_lock(patches: PatchSet, name: str, lists: PatientLists, *, exclude: Sequence[str] = ()) -> SplitLock:
    """Locks a published split; patients that it does not name train.

    Args:
        patches: cleaned, of the patients of ``lists`` (``check_listed``) and, where those train, of others.
        name: of the comparison.
        lists: who is in which part.
        exclude: the rules by which the patches were cleaned, to be remembered.

    Raises:
        TooFewPatientsError: fewer than 10 patients.
        LabelError: a part without both classes.
    """
    assert patches.patients is not None, "lists were held against the patients"
    patients = np.unique(patches.patients).tolist()
    _check_enough(len(patients), patches)
    assignment: dict[str, Part] = {patient: lists.parts.get(patient, "train") for patient in patients}
    _check_classes_of_parts(patches, assignment, lists.source)
    shares = np.array([list(assignment.values()).count(part) for part in PARTS]) / len(patients)
    whole = _whole(100, (shares * 100).tolist())
    fractions = (int(whole[0]), int(whole[1]), int(whole[2]))
    published = Published(lists.source, lists.digest, lists.unlisted)
    lock = SplitLock(name, fingerprint(patches), fractions, 0, "patient", assignment, in_order(exclude), published)
    return _knowing_what_it_seals(lock, patches)


def check_listed(patches: PatchSet, lists: PatientLists) -> None:
    """Refuses lists that are not about these patients.

    Raises:
        FormatError: patients are unknown, a list names one of whom there is no patch, or (by choice) none names one.
    """
    if patches.patients is None:
        raise FormatError(
            f"--split-file {lists.source} names patients, but {patches.source} has no patient ids; expected "
            "patients.npy beside X.npy: python -m data_utils.match can find them"
        )
    there = set(patches.patients.tolist()) - {""}
    strangers = sorted(lists.parts.keys() - there)
    if strangers:
        raise FormatError(
            f"--split-file {lists.source} names {len(strangers)} patients of whom {patches.source} has no patch "
            f"(first: {strangers[0]}); expected patients of these data: take the others out of the lists"
        )
    unlisted = sorted(there - lists.parts.keys())
    if unlisted and lists.unlisted == "error":
        raise FormatError(
            f"--split-file {lists.source} does not name {len(unlisted)} of {len(there)} patients of {patches.source} "
            f"(first: {unlisted[0]}); say what becomes of them: --unlisted train or --unlisted exclude"
        )


def parts(lock: SplitLock, patches: PatchSet) -> Strings:
    """(N,) "train", "validation" or "test" for each patch.

    Raises:
        LockMismatchError: patches that the lock does not know.
    """
    keys = patches.digests if lock.by != "patient" else patches.patients
    if keys is None:
        raise LockMismatchError(f"study {lock.name} is locked by patient, but {patches.source} has no patient ids")
    unknown = [key for key in keys.tolist() if key not in lock.assignment]
    if unknown:
        raise LockMismatchError(
            f"{len(unknown)} patches of {patches.source} are not in the lock of study {lock.name} (first: "
            f"{unknown[0]}); start anew under another name: --study NEW"
        )
    return np.array([lock.assignment[key] for key in keys.tolist()], dtype=np.str_)


def _knowing_what_it_seals(lock: SplitLock, patches: PatchSet) -> SplitLock:
    test = parts(lock, patches) == "test"
    return replace(
        lock,
        sealed=fingerprint(patches, test),
        near=_near(patches, test),
        fold_draws=_FOLD_DRAWS,
        side=patches.side,
    )


def _near(patches: PatchSet, test: Bools) -> tuple[int, int] | None:
    """Pairs of near copies in two patients, and test patches that have one in development."""
    if patches.patients is None:
        return None
    first, second = near_copies(patches)
    apart = patches.patients[first] != patches.patients[second]
    straddling = test[first] != test[second]
    sealed = np.where(test[first], first, second)[straddling]
    return int(apart.sum()), len(np.unique(sealed))


def near_across(lock: SplitLock) -> tuple[str, ...]:
    """A sentence where near copies lie in two patients, else none."""
    if lock.near is None or not lock.near[0]:
        return ()
    pairs, sealed = lock.near
    return (
        f"near copies: {pairs} pairs of patches are nearly equal, turned or flipped, and of two patients; {sealed} "
        "test patches have such a copy in development (--exclude near_duplicate leaves one of each)",
    )


def unlike_asked(lock: SplitLock) -> tuple[str, ...]:
    """A sentence where whole patients do not give the shares that were asked for, else none."""
    counts = [list(lock.assignment.values()).count(part) for part in PARTS]
    shares = [100 * count / sum(counts) for count in counts]
    if lock.published is not None or np.abs(np.subtract(shares, lock.fractions)).max() < _FAR:
        return ()
    asked, found = ("/".join(f"{share:.0f}" for share in each) for each in (lock.fractions, shares))
    units = f"{sum(counts)} {_kinds(lock)} are {'/'.join(map(str, counts))}"
    return (f"split: {asked} % was asked for, {found} % is there, as {units}",)


def _kinds(lock: SplitLock) -> str:
    return "patients" if lock.by == "patient" else "patches in groups of duplicates"


def folds(lock: SplitLock, patches: PatchSet) -> Ints:
    """(N,) fold of each development patch, from 0: whole patients (or groups), both classes in each.

    The most of 5, 4, 3 and 2 of which a draw has both classes in each fold. Of the draws (``lock.fold_draws``) that is
    taken whose folds are most even in patches, in IDC and in others. Drawn from the lock's digest alone, so that every
    model is retrained on the same folds.

    Raises:
        LabelError: not even two folds have both classes.
    """
    labels, (_, unit) = known(patches), _units(patches)
    with_class = [len(np.unique(unit[labels == label])) for label in (0, 1)]
    for k in range(min(MOST_FOLDS, *with_class), LEAST_FOLDS - 1, -1):
        drawn = _even_folds(lock, labels, unit, k) if lock.fold_draws else _first_folds(lock, labels, unit, k)
        if drawn is not None:
            return drawn
    raise LabelError(
        f"{patches.source}: development {_kind(patches)}s with patches of IDC: {with_class[1]}, with others: "
        f"{with_class[0]}; expected at least {LEAST_FOLDS} of each, or no final model could be chosen: add "
        f"{_kind(patches)}s, or divide them otherwise (--split, --split-file)"
    )


def count_folds(lock: SplitLock, patches: PatchSet) -> tuple[int, str]:
    """How many folds development patches have, and in words why these are fewer than 5; "" where they are not.

    Where patients are unknown and patches of each class many, five are taken for granted: to group and to divide them
    takes longer than to draw the lock.

    Raises:
        LabelError: see ``folds``.
    """
    if patches.patients is None and np.bincount(known(patches), minlength=2).min() >= _MANY_PATCHES:
        return MOST_FOLDS, ""
    count = int(folds(lock, patches).max()) + 1
    if count == MOST_FOLDS:
        return count, ""
    labels, (_, unit) = known(patches), _units(patches)
    idc, others = (len(np.unique(unit[labels == label])) for label in (1, 0))
    kind = _kind(patches)
    return count, (
        f"final models are retrained over {count} folds, not {MOST_FOLDS}: each fold needs both classes, and of "
        f"{int(unit.max()) + 1} development {kind}s {idc} have patches with IDC, {others} have others"
    )


def _even_folds(lock: SplitLock, labels: Ints, unit: Ints, k: int) -> Ints | None:
    """The most even of many random draws and of a stratified one, which is hard to beat where patients are many."""
    counts, even = _counts(labels, unit), [100 / k] * k
    stratified = np.empty(counts.shape[1], dtype=np.int64)
    stratified[unit] = _draw_folds(labels, unit, k, _fold_seed(lock, 0))
    random = _shuffles(len(stratified), even, _fold_seed(lock, 1), lock.fold_draws)
    fold_of_unit = _most_even(chain([stratified], random), counts, even)
    return None if fold_of_unit is None else fold_of_unit[unit]


def _first_folds(lock: SplitLock, labels: Ints, unit: Ints, k: int) -> Ints | None:
    """The first stratified draw that has both classes in each fold."""
    for attempt in range(_STRATIFIED_DRAWS):
        drawn = _draw_folds(labels, unit, k, _fold_seed(lock, attempt))
        if all(len(np.unique(labels[drawn == fold])) == 2 for fold in range(k)):
            return drawn
    return None


def _fold_seed(lock: SplitLock, attempt: int) -> int:
    return int(sha256(f"{lock.digest} {attempt}".encode()).hexdigest()[:8], 16)


def _draw_folds(labels: Ints, unit: Ints, k: int, seed: int) -> Ints:
    drawn = np.full(len(labels), -1, dtype=np.int64)
    from sklearn.model_selection import StratifiedGroupKFold  # seconds, and only a retraining needs it

    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, unit)):
        drawn[held_out] = fold
    return drawn


def _check_enough(count: int, patches: PatchSet) -> None:
    if count < MIN_PATIENTS:
        raise TooFewPatientsError(
            f"{patches.source} has {count} {_kind(patches)}s; expected at least {MIN_PATIENTS}, "
            "or training, validation and test parts mean nothing"
        )


def _check_classes_of_parts(patches: PatchSet, assignment: Mapping[str, Part], source: str) -> None:
    """Both classes must be in each part."""
    assert patches.patients is not None
    part = np.array([assignment[patient] for patient in patches.patients.tolist()])
    labels = known(patches)
    for name in PARTS:
        for label, words in ((0, "no patch without IDC"), (1, "no patch with IDC")):
            if not (labels[part == name] == label).any():
                raise LabelError(
                    f"--split-file {source}: {words} is in {name}; expected both classes in each part, "
                    "add patients to its list"
                )


def _kind(patches: PatchSet) -> Literal["patient", "duplicate group"]:
    return "duplicate group" if patches.patients is None else "patient"


def _units(patches: PatchSet) -> tuple[Strings, Ints]:
    """What must stay together: (N,) key in the lock, and (N,) number of its patient or group in a stable order."""
    if patches.patients is not None:
        return patches.patients, np.unique(patches.patients, return_inverse=True)[1]
    groups = np.unique(duplicate_groups(patches), return_inverse=True)[1]
    order = np.argsort(patches.digests)
    first = np.full(groups.max() + 1, "", dtype="U64")  # smallest digest of each group: the same in any row order
    first[groups[order[::-1]]] = patches.digests[order[::-1]]
    return patches.digests, np.unique(first[groups], return_inverse=True)[1]


def _counts(labels: Ints, unit: Ints) -> Ints:
    """(3, units) patches without IDC, with it, and both together."""
    others, idc = (np.bincount(unit[labels == label], minlength=int(unit.max()) + 1) for label in (0, 1))
    return np.stack([others, idc, others + idc])


def _shuffles(count: int, percent: Sequence[float], seed: int, draws: int) -> Iterator[Ints]:
    """So many random divisions of the units: (units,) part of each, cut at the percentages of their number."""
    rng = np.random.default_rng(seed)
    cut = np.repeat(np.arange(len(percent)), _whole(count, percent))  # (units,) part at each place of a shuffle
    for _ in range(draws):
        yield rng.permutation(cut)


def _most_even(draws: Iterable[Ints], counts: Ints, percent: Sequence[float]) -> Ints | None:
    """The first of the draws that is nearest to the percentages; None where none has both classes in every part."""
    best, smallest = None, np.inf
    for drawn in draws:
        deviation = _deviation(drawn, counts, percent)
        if deviation < smallest:
            best, smallest = drawn, deviation
    return best


def _deviation(drawn: Ints, counts: Ints, percent: Sequence[float]) -> float:
    """Largest distance of a part's share of any count from its percentage; infinite where a part lacks a class."""
    inside = np.stack([np.bincount(drawn, weights=row, minlength=len(percent)) for row in counts], axis=1)
    if inside[:, :2].min() == 0:  # (parts, 3 counts)
        return np.inf
    return float(np.abs(inside / counts.sum(axis=1) - np.array(percent)[:, None] / 100).max())


def _whole(count: int, percent: Sequence[float]) -> Ints:
    """Units of each part: at least one, the rest by largest remainder."""
    exact = np.array(percent) * count / 100
    whole: npt.NDArray[np.int64] = np.maximum(np.floor(exact).astype(np.int64), 1)
    while whole.sum() < count:
        whole[np.argmax(exact - whole)] += 1
    while whole.sum() > count:
        whole[np.argmax(whole)] -= 1
    return whole
