"""The split lock: which patient belongs to train, validation and test; drawn once, verified always.

The draw is by patient. Where patients are unknown, groups of exact and near duplicates stay together instead, which
keeps copies of a patch out of two parts but cannot exclude that a patient is in two.
"""

import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from data_utils._patchset import Floats, Ints, PatchSet, Strings, known
from data_utils.errors import FormatError, LabelError, LockMismatchError, TooFewPatientsError
from data_utils.patches import fingerprint
from data_utils.quality import duplicate_groups

Fractions = tuple[int, int, int]
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, Part, Part] = ("train", "validation", "test")
MIN_PATIENTS = 10

_DRAWS = 1000
_FOLD_DRAWS = 100


@dataclass(frozen=True)
class SplitLock:
    """A split as it was drawn.

    Attributes:
        name: the comparison that it belongs to.
        fingerprint: of the patches that it was drawn for.
        fractions: train, validation, test in percent.
        seed: of the draw.
        by: what was kept together.
        assignment: patient id -> part; where patients are unknown, sha256 of a patch's pixels -> part.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    name: str
    fingerprint: str
    fractions: Fractions
    seed: int
    by: Literal["patient", "duplicate group"]
    assignment: dict[str, Part]

    @cached_property
    def digest(self) -> str:
        """Sha256 of the canonical JSON of all fields."""
        return sha256(_canonical(asdict(self)).encode()).hexdigest()

    def to_json(self) -> str:
        """All fields and their digest, so that an edited copy gives itself away."""
        return _canonical({**asdict(self), "digest": self.digest})

    @staticmethod
    def from_json(text: str | bytes, where: str) -> "SplitLock":
        """Reads and verifies a stored lock; ``where`` names its place in messages.

        Raises:
            FormatError: the text is not a lock.
            LockMismatchError: its content is not what its digest was taken of.
        """
        fields, digest = _parse(text, where)
        lock = _validated(fields, where)
        if lock.digest != digest:
            raise LockMismatchError(
                f"{where} was edited: its content has the digest {lock.digest[:12]}, it says {str(digest)[:12]}; "
                "put the original back, or start anew under another name: --study NEW"
            )
        return lock


def parse_fractions(text: str) -> Fractions:
    """Reads ``70/15/15``: train, validation and test in percent.

    Raises:
        FormatError: not three whole percentages above 0 that sum to 100.
    """
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{1,2})", text)
    parts = tuple(int(part) for part in found.groups()) if found else ()
    if sum(parts) != 100 or 0 in parts:
        raise FormatError(
            f"--split {text} is not a split; expected train/validation/test in whole percent that sum to 100: 70/15/15"
        )
    return parts[0], parts[1], parts[2]


def draw_lock(patches: PatchSet, name: str, fractions: Fractions, seed: int) -> SplitLock:
    """Draws the split: of many random ones that keep patients whole, the one nearest to the fractions.

    Near means that the largest deviation of a part's share of patients, of patches, of IDC and of other patches is
    smallest. The draw sees labels and counts only, and does not depend on the order of the rows.

    Raises:
        TooFewPatientsError: fewer than 10 patients (or groups).
        LabelError: no draw has both classes in every part.
    """
    keys, unit = _units(patches)  # patient of each row, or first digest of its group
    count = int(unit.max()) + 1
    if count < MIN_PATIENTS:
        raise TooFewPatientsError(
            f"{patches.source} has {count} {_kind(patches)}s; expected at least {MIN_PATIENTS}, "
            "or training, validation and test parts mean nothing"
        )
    labels = known(patches)
    idc, others = np.bincount(unit[labels == 1], minlength=count), np.bincount(unit[labels == 0], minlength=count)
    part_of_unit = _best_draw(others, idc, fractions, seed, patches.source)
    chosen = {str(key): PARTS[part] for key, part in zip(keys, part_of_unit[unit], strict=True)}
    return SplitLock(name, fingerprint(patches), fractions, seed, _kind(patches), dict(sorted(chosen.items())))


def verify_lock(lock: SplitLock, *, fingerprint: str, fractions: Fractions, seed: int, name: str) -> None:
    """Refuses a lock that was drawn for something else.

    Raises:
        LockMismatchError: all that differs, and how to begin anew.
    """
    asked = {"name": name, "data": fingerprint[:12], "fractions": _slashed(fractions), "seed": seed}
    locked = {
        "name": lock.name, "data": lock.fingerprint[:12], "fractions": _slashed(lock.fractions), "seed": lock.seed,
    }  # fmt: skip
    differing = [f"{what} {asked[what]} (locked: {locked[what]})" for what in asked if asked[what] != locked[what]]
    if fingerprint != lock.fingerprint and not any(text.startswith("data ") for text in differing):
        differing.append("data")
    if differing:
        raise LockMismatchError(
            f"study {lock.name} is locked to another split: {', '.join(differing)}; "
            "go back to what it was locked for, or start anew under another name: --study NEW"
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


def folds(lock: SplitLock, patches: PatchSet, k: int = 5) -> Ints:
    """(N,) fold of each development patch, 0 to k - 1: whole patients (or groups), both classes in each.

    Drawn from the lock's digest alone, so that every model is retrained on the same folds.

    Raises:
        LabelError: no draw has both classes in every fold.
    """
    labels, (_, unit) = known(patches), _units(patches)
    for attempt in range(_FOLD_DRAWS):
        seed = int(sha256(f"{lock.digest} {attempt}".encode()).hexdigest()[:8], 16)
        drawn = _draw_folds(labels, unit, k, seed)
        if all(len(np.unique(labels[drawn == fold])) == 2 for fold in range(k)):
            return drawn
    raise LabelError(
        f"no {k} folds of whole {_kind(patches)}s have both classes in each; expected more {_kind(patches)}s with IDC"
    )


def _draw_folds(labels: Ints, unit: Ints, k: int, seed: int) -> Ints:
    drawn = np.full(len(labels), -1, dtype=np.int64)
    from sklearn.model_selection import StratifiedGroupKFold  # seconds, and only a retraining needs it

    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, unit)):
        drawn[held_out] = fold
    return drawn


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


def _best_draw(others: Ints, idc: Ints, fractions: Fractions, seed: int, source: str) -> Ints:
    """(units,) 0, 1 or 2: the best of many shuffles of the units, cut at the fractions of their number."""
    rng = np.random.default_rng(seed)
    cut = np.repeat(np.arange(3), _whole(len(idc), fractions))  # (units,) part at each place of a shuffle
    counts = np.stack([others, idc, others + idc])
    wanted = np.array(fractions)[:, None] / 100
    best, smallest = None, np.inf
    for _ in range(_DRAWS):
        drawn = rng.permutation(cut)
        inside = _sums(counts, drawn)  # (3 parts, 3 counts)
        deviation = np.abs(inside / counts.sum(axis=1) - wanted).max()
        if inside[:, :2].min() > 0 and deviation < smallest:
            best, smallest = drawn, deviation
    if best is None:
        raise LabelError(
            f"{source}: no split has both classes in train, validation and test; expected IDC in more patients "
            f"({int((idc > 0).sum())} of {len(idc)} have any)"
        )
    return best


def _sums(counts: Ints, drawn: Ints) -> Floats:
    return np.stack([np.bincount(drawn, weights=row, minlength=3) for row in counts], axis=1)


def _whole(count: int, fractions: Fractions) -> Ints:
    """Units of each part: at least one, the rest by largest remainder."""
    exact = np.array(fractions) * count / 100
    whole: npt.NDArray[np.int64] = np.maximum(np.floor(exact).astype(np.int64), 1)
    while whole.sum() < count:
        whole[np.argmax(exact - whole)] += 1
    while whole.sum() > count:
        whole[np.argmax(whole)] -= 1
    return whole


def _canonical(fields: object) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _slashed(fractions: Fractions) -> str:
    return "/".join(str(part) for part in fractions)


def _parse(text: str | bytes, where: str) -> tuple[dict[str, object], object]:
    try:
        fields = json.loads(text)
        return fields, fields.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FormatError(f"{where} is not a split lock, it may be cut off: {error}") from error


def _validated(fields: dict[str, object], where: str) -> SplitLock:
    try:
        return TypeAdapter(SplitLock).validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FormatError(f"{where} is not a readable split lock: {place}: {first['msg']}") from error
