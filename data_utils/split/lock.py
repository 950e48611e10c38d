"""The split lock as a record: which patient belongs to train, validation and test, for which data and settings.

Made by ``split``, kept by the ledger and in ``lock.json``, verified at every start.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from data_utils.errors import FormatError, LockMismatchError
from data_utils.files import parse_json, read_small, shown
from data_utils.quality.rules import RULE_NAMES, in_order
from data_utils.readers.patchset import USUAL_SIDE, is_square
from data_utils.split.split_file import Part, PatientLists, Unlisted

Fractions = tuple[int, int, int]

_LARGEST = 128 * 2**20  # bytes of a lock; by patch, the public set's takes 22 million
_MOST_VALUES = 2_000_000  # in it
_MOST_DRAWS = 10_000  # of folds, each of which takes time
_LATER: dict[str, object] = {  # fields that earlier locks do not have, and what they mean where they are left out
    "exclude": (),
    "published": None,
    "sealed": "",
    "near": None,
    "fold_draws": 0,
    "side": USUAL_SIDE,
    "positive": "",
}
_WAY_OUT = "put the original back, or start anew under another name: --study NEW"


@dataclass(frozen=True)
class Published:
    """Where a split comes from that was not drawn: see ``split_file.PatientLists``."""

    source: str
    digest: str
    unlisted: Unlisted


@dataclass(frozen=True)
class SplitLock:
    """A split as it was drawn, or as it was published.

    Attributes:
        name: the comparison that it belongs to.
        fingerprint: of the patches that it was drawn for.
        fractions: train, validation, test in percent of the patients; of a published split, as it turned out.
        seed: of the draw; 0 of a published split.
        by: what was kept together.
        assignment: patient id -> part; where patients are unknown, sha256 of a patch's pixels -> part.
        exclude: names of the rules that were on when the patches were read, in the order of ``rules.RULES``.
        published: the lists that it was taken from; None where it was drawn.
        near: pairs of near copies that lie in two patients, and how many test patches have a near copy in development;
            None where patients are unknown, whose near copies stay together, and in locks from before that.
        sealed: fingerprint of the test patches, over pixels, labels and patients; "" in locks from before that.
        fold_draws: how many random divisions of the development patients into folds are looked at; the most even one is
            taken. 0 in locks from before that, whose members were trained on the first feasible one.
        side: of every patch in pixels; that of all patches in locks from before there were others.
        positive: what the class with IDC is called in the data; "" where classes are 0 and 1.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    name: str
    fingerprint: str
    fractions: Fractions
    seed: int
    by: Literal["patient", "duplicate group"]
    assignment: dict[str, Part]
    exclude: tuple[str, ...] = ()
    published: Published | None = None
    sealed: str = ""
    near: tuple[int, int] | None = None
    fold_draws: int = 0
    side: int = USUAL_SIDE
    positive: str = ""

    @cached_property
    def digest(self) -> str:
        """Sha256 of the canonical JSON of all fields."""
        return sha256(_canonical(self._fields()).encode()).hexdigest()

    def to_json(self) -> str:
        """All fields and their digest, so that an edited copy gives itself away."""
        return _canonical({**self._fields(), "digest": self.digest})

    @property
    def lists(self) -> PatientLists | None:
        """The published lists as they are locked here; None where the split was drawn."""
        one = self.published
        return None if one is None else PatientLists(one.source, one.digest, one.unlisted, self.assignment)

    def _fields(self) -> dict[str, object]:
        """All fields; later ones only where they say something, so that locks from before them keep their digest."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if name not in _LATER or value != _LATER[name]}

    @staticmethod
    def read(file: Path) -> "SplitLock | None":
        """Reads and verifies a lock file; None where there is none.

        Raises:
            FormatError, LockMismatchError: as ``from_json``, or it is no file that can be read.
        """
        return SplitLock.from_json(read_small(file, _LARGEST), str(file)) if os.path.lexists(file) else None

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
                f"{_WAY_OUT}"
            )
        return lock


def verify_settings(
    lock: SplitLock,
    *,
    fractions: Fractions,
    seed: int,
    name: str,
    exclude: Sequence[str] = (),
    lists: PatientLists | None = None,
    positive: str = "",
) -> None:
    """Refuses a lock that was made by other settings; no patch is read for it.

    Raises:
        LockMismatchError: all that differs, and how to begin anew.
    """
    asked = _settings(name, fractions, seed, in_order(exclude), lists, positive)
    locked = _settings(lock.name, lock.fractions, lock.seed, lock.exclude, lock.lists, lock.positive)
    differing = [
        f"{what} {asked.get(what, 'none')} (locked: {locked.get(what, 'none')})"
        for what in {**asked, **locked}
        if asked.get(what) != locked.get(what)
    ]
    _refuse(lock, differing)


def verify_fingerprint(lock: SplitLock, fingerprint: str, side: int) -> None:
    """Refuses a lock that was made for other patches, by their fingerprint and their side in pixels.

    Raises:
        LockMismatchError: what differs, and how to begin anew.
    """
    if side != lock.side:
        _refuse(lock, [f"patches of {side} pixels (locked: {lock.side})"])
    if fingerprint != lock.fingerprint:
        _refuse(lock, [f"data {fingerprint[:12]} (locked: {lock.fingerprint[:12]})"])


def verify_lists(lock: SplitLock, lists: PatientLists) -> None:
    """Refuses a lock whose lists were others, where they are known only now that the patches are read.

    Raises:
        LockMismatchError: what differs, and how to begin anew.
    """
    locked = "none" if lock.published is None else lock.published.digest
    if lists.digest != locked:
        _refuse(lock, [f"parts by folders {lists.digest[:12]} (locked: {locked[:12]})"])


def _refuse(lock: SplitLock, differing: Sequence[str]) -> None:
    if differing:
        raise LockMismatchError(
            f"study {lock.name} is locked to another split: {', '.join(differing)}; "
            "go back to what it was locked for, or start anew under another name: --study NEW"
        )


def _settings(
    name: str, fractions: Fractions, seed: int, exclude: Sequence[str], lists: PatientLists | None, positive: str
) -> Mapping[str, str]:
    """What two locks must have in common, in words; fractions and seed mean nothing where a split is published."""
    if lists is None:
        division = {"fractions": "/".join(str(part) for part in fractions), "seed": str(seed)}
    else:
        named = lists.source if lists.by_folders else f"sha256 {lists.digest[:12]}"
        division = {"split file": f"{named} with unlisted patients: {lists.unlisted}"}
    return {"name": name, "exclude": ",".join(exclude) or "none", "class with IDC": positive or "1", **division}


def _canonical(fields: object) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _parse(text: str | bytes, where: str) -> tuple[dict[str, object], object]:
    try:
        fields = parse_json(text, _MOST_VALUES)
    except ValueError as error:
        raise FormatError(f"{where} is not a split lock, it may be cut off: {error}; {_WAY_OUT}") from error
    if not isinstance(fields, dict) or "digest" not in fields:
        raise FormatError(f"{where} is not a split lock, it may be cut off: it has no digest; {_WAY_OUT}")
    return fields, fields.pop("digest")


def _validated(fields: dict[str, object], where: str) -> SplitLock:
    try:
        lock = TypeAdapter(SplitLock).validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        place = shown(".".join(str(part) for part in first["loc"]))
        raise FormatError(f"{where} is not a readable split lock: {place}: {first['msg']}; {_WAY_OUT}") from error
    sound = sum(lock.fractions) == 100 and min(lock.fractions) >= 1 and 0 <= lock.seed < 2**32
    if not sound or not 0 <= lock.fold_draws <= _MOST_DRAWS or not is_square(lock.side, lock.side):
        raise FormatError(
            f"{where} is not a readable split lock: fractions, seed, draws or side are out of range; {_WAY_OUT}"
        )
    if unknown := set(lock.exclude) - set(RULE_NAMES):
        raise FormatError(f"{where} names a rule that is not known here: {shown(min(unknown))}; {_WAY_OUT}")
    return lock
