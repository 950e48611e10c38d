"""Which patches are left out, by rules that are applied one after the other and counted by reason."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError
from data_utils.quality import rules
from data_utils.quality.measures import blurred, duplicate_groups, near_black, near_white
from data_utils.readers.patchset import Bools, Ints, PatchSet, Pixels, Strings

DUPLICATE = "exact duplicate"
CONTRADICTION = "exact duplicates with contradicting labels"
NEAR_CONTRADICTION = "near duplicates with contradicting labels"
UNLISTED = "patient in no list of the split file"

_OF_ONE_PATCH: dict[rules.Rule, Callable[[Pixels], Bools]] = {
    rules.NEAR_WHITE: near_white,
    rules.NEAR_BLACK: near_black,
    rules.BLURRED: blurred,
}


@dataclass(frozen=True, eq=False)
class _Found:
    """What a rule met: for which reason, and which of all rows; ``chosen`` says that the user asked for it."""

    reason: str
    rows: Bools
    chosen: bool = True


def clean(
    patches: PatchSet, into: Path | None = None, *, exclude: Sequence[str] = (), only: Collection[str] | None = None
) -> PatchSet:
    """Leaves out what the rules exclude, counted by reason.

    Of patches with the same pixels one stays, of the first patient in the order of ids, then of names; where their
    labels contradict each other none stays, as nobody can say which is right. This rule is always on. Those of
    ``exclude`` are counted also where they met nothing, so that it is seen that they were on.

    Args:
        patches: labelled.
        into: a new ``.npy`` file for the pixels; in memory by default.
        exclude: names of ``rules.RULES``.
        only: the patients to keep; None for all.

    Raises:
        FormatError: patches without a patient id among others that have one, and no rule that says what to do.
    """
    names = rules.in_order(exclude)
    chosen = [rule for rule in rules.RULES if rule.name in names]
    _check_patients(patches, chosen)
    left = np.ones(len(patches), dtype=np.bool_)
    counts: list[tuple[str, int]] = []
    for found in _met(patches, left, chosen, only):
        count = int((found.rows & left).sum())
        left &= ~found.rows
        if count or found.chosen:
            counts.append((found.reason, count))
    kept = patches if left.all() else patches.take(left, into)
    return replace(kept, exclusions=(*patches.exclusions, *counts))


def _met(patches: PatchSet, left: Bools, chosen: list[rules.Rule], only: Collection[str] | None) -> Iterator[_Found]:
    """What each rule meets, in order; ``left`` shrinks between two of them."""
    if only is not None and patches.patients is not None:
        yield _Found(UNLISTED, ~np.isin(patches.patients, list(only)))
    if rules.NO_PATIENT in chosen:
        yield _Found(rules.NO_PATIENT.reason, without_patient(patches))
    yield from _copies(patches, left, patches.digests, (DUPLICATE, CONTRADICTION), chosen=False)
    for rule in chosen:
        if rule in _OF_ONE_PATCH:
            yield _Found(rule.reason, _OF_ONE_PATCH[rule](patches.pixels))
    if rules.NEAR_DUPLICATE in chosen:
        groups = duplicate_groups(patches, np.flatnonzero(left))
        yield from _copies(patches, left, groups, (rules.NEAR_DUPLICATE.reason, NEAR_CONTRADICTION), chosen=True)


def without_patient(patches: PatchSet) -> Bools:
    """(N,) whether a patch has no patient id while others have one; nowhere where patients are unknown altogether."""
    return np.zeros(len(patches), dtype=np.bool_) if patches.patients is None else patches.patients == ""


def _check_patients(patches: PatchSet, chosen: list[rules.Rule]) -> None:
    """Whose patch it is must be known of all or of none: a patch of nobody may be of a patient in another part."""
    missing = int(without_patient(patches).sum())
    if missing and rules.NO_PATIENT not in chosen:
        raise FormatError(
            f"{patches.source} has {missing} ids that are empty or mean unknown among {len(patches)} patches, which "
            "may be of any patient, also of one in another part of the split: fill them in, leave these patches out by "
            f"--exclude {rules.NO_PATIENT.name}, or take patients.npy away to split by groups of duplicates"
        )


def _copies(
    patches: PatchSet, left: Bools, identity: npt.NDArray[np.generic], reasons: tuple[str, str], *, chosen: bool
) -> Iterator[_Found]:
    """Two findings among the rows that are left: copies of a patch that stays, and copies that contradict each other.

    Args:
        patches: all of them.
        left: (N,) those that no rule has met yet.
        identity: (N,) equal for patches that are copies of each other.
        reasons: of both findings.
        chosen: whether the user asked for the rule.
    """
    rows = np.flatnonzero(left)
    group = np.unique(identity[rows], return_inverse=True)[1]
    order = np.lexsort(_by_patient(patches, rows))
    first = np.full(int(group.max(initial=-1)) + 1, -1)
    first[group[order[::-1]]] = order[::-1]  # the last to be written is the first in order
    contradicting = _mixed(group, None if patches.labels is None else patches.labels[rows])[group]
    repeated = (first[group] != np.arange(len(rows))) & ~contradicting
    yield _Found(reasons[0], _among(rows[repeated], len(patches)), chosen)
    yield _Found(reasons[1], _among(rows[contradicting], len(patches)), chosen=False)


def _by_patient(patches: PatchSet, rows: Ints) -> tuple[Strings, ...]:
    """Keys of the order, the last one first: patient, then pixels, so that the order of rows makes no difference."""
    keys = (patches.names[rows], patches.digests[rows])
    return keys if patches.patients is None else (*keys, patches.patients[rows])


def _among(rows: Ints, count: int) -> Bools:
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return mask


def _mixed(group: Ints, labels: Ints | None) -> Bools:
    """Whether both labels occur among the patches of each group."""
    if labels is None:
        return np.zeros(int(group.max(initial=-1)) + 1, dtype=np.bool_)
    idc = np.bincount(group, weights=labels)
    mixed: Bools = (idc > 0) & (idc < np.bincount(group))
    return mixed
