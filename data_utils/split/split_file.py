"""A split that was published: lists of patient ids for train, validation and test, read from files or from folders.

Two forms of files: a JSON file ``{"train": [...], "val": [...], "test": [...]}``, or a folder with ``cases_train.txt``,
``cases_val.txt`` and ``cases_test.txt``, one id a line, which is how Janowczyk & Madabhushi (J Pathol Inform 7:29,
2016) published the split of Cruz-Roa et al. (Proc SPIE 9041, 2014): 84, 29 and 49 of the patients. Where patches lie
in folders called train, validation and test, those folders are such lists too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from data_utils.errors import FormatError, NotFoundError
from data_utils.files import parse_json, read_small, shown
from data_utils.readers.ids import normal_id
from data_utils.readers.patchset import PatchSet

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, Part, Part] = ("train", "validation", "test")

Unlisted = Literal["train", "exclude", "error"]
"""What becomes of patients that no list names: they train, they stay out, or the command ends."""

FOLDERS = "folders"
"""In the place of a path: the parts are those that the folders of the patches name."""

_LARGEST = 16 * 2**20  # bytes of a file of ids
_MOST_VALUES = 1_000_000

_KEYS: dict[str, Part] = {"train": "train", "val": "validation", "test": "test"}
_FORMS = (
    'a JSON file {"train": [...], "val": [...], "test": [...]} of patient ids, or a folder with cases_train.txt, '
    "cases_val.txt and cases_test.txt, one id a line"
)


@dataclass(frozen=True)
class PatientLists:
    """Who is in which part, as it was published.

    Attributes:
        source: path as typed, or ``FOLDERS``.
        digest: sha256 over the sorted ids of each part; white space and the order of ids make no difference. "" where
            the folders name them and have not been read yet.
        unlisted: what becomes of everybody else.
        parts: patient id -> part.
    """

    source: str
    digest: str
    unlisted: Unlisted
    parts: Mapping[str, Part]

    def __str__(self) -> str:
        return f"{self.source}, sha256 {self.digest[:12]}, unlisted patients: {self.unlisted}"

    @property
    def by_folders(self) -> bool:
        """Whether the folders of the patches name the parts, so that they are known when patches are read."""
        return self.source == FOLDERS


def read_lists(source: str, unlisted: Unlisted) -> PatientLists:
    """Reads the lists of a published split; those of ``FOLDERS`` are empty until ``lists_of_folders``.

    Raises:
        NotFoundError: nothing is there, or one of the three files is missing.
        FormatError: it cannot be read as lists of ids, a list is empty, or a patient is in two of them.
    """
    if source == FOLDERS:
        return PatientLists(FOLDERS, "", unlisted, {})
    path = Path(source).expanduser()
    if not path.exists():
        raise NotFoundError(f"--split-file {source} does not exist; expected {_FORMS}")
    listed = _three_files(path) if path.is_dir() else _json(path)
    parts: dict[str, Part] = {}
    for key, part in _KEYS.items():
        if not listed[key]:
            raise FormatError(f"--split-file {source}: the list {key} is empty; expected patients in all three")
        for patient in listed[key]:
            if parts.setdefault(patient, part) != part:
                raise FormatError(
                    f"--split-file {source}: {_overlaps(listed)} patients are in two lists (first: {shown(patient)}, "
                    f"in {parts[patient]} and {part}); expected each in one"
                )
    return PatientLists(source, _digest(parts), unlisted, parts)


def lists_of_folders(patches: PatchSet, unlisted: Unlisted) -> PatientLists:
    """The lists that the folders of these patches are.

    Raises:
        FormatError: they name no parts or not all three, or a patient lies in two of them.
    """
    named = set() if patches.parts is None else set(patches.parts.tolist()) - {""}
    if len(named) < len(PARTS) or patches.parts is None or patches.patients is None:
        raise FormatError(
            f"--split-file {FOLDERS}: the folders of {patches.source} name {', '.join(sorted(named)) or 'no parts'}; "
            "expected pictures of patients below train/, validation/ and test/"
        )
    parts: dict[str, Part] = {}
    by_name = {str(part): part for part in PARTS}
    for patient, name in sorted(set(zip(patches.patients.tolist(), patches.parts.tolist(), strict=True))):
        if name and parts.setdefault(patient, by_name[name]) != name:
            raise FormatError(
                f"--split-file {FOLDERS}: patients of {patches.source} lie in two parts (first: {shown(patient)}, in "
                f"{parts[patient]} and {name}); expected each in one: leave the flag out to have patients drawn"
            )
    return PatientLists(FOLDERS, _digest(parts), unlisted, parts)


def _overlaps(listed: Mapping[str, Sequence[str]]) -> int:
    return sum(len(set(ids)) for ids in listed.values()) - len({patient for ids in listed.values() for patient in ids})


def _digest(parts: Mapping[str, Part]) -> str:
    text = "\n".join(f"{part} {patient}" for patient, part in sorted(parts.items()))
    return sha256(text.encode()).hexdigest()


def _three_files(folder: Path) -> dict[str, list[str]]:
    return {key: _lines(folder / f"cases_{key}.txt") for key in _KEYS}


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise NotFoundError(f"--split-file {path.parent} holds no {path.name}; expected {_FORMS}")
    lines = [line for line in _text(path).splitlines() if line.strip()]
    return _ids(lines, path.stem.removeprefix("cases_"), path)


def _json(path: Path) -> dict[str, list[str]]:
    try:
        content = parse_json(_text(path), _MOST_VALUES)
    except ValueError as error:
        raise FormatError(f"--split-file {path} is not JSON ({error}); expected {_FORMS}") from error
    if not isinstance(content, dict) or set(content) != set(_KEYS):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise FormatError(f"--split-file {path} holds {shown(found) or 'nothing'}; expected {_FORMS}")
    return {key: _ids(content[key], key, path) for key in _KEYS}


def _ids(listed: object, key: str, path: Path) -> list[str]:
    """Ids as text, as readers normalise them; whole numbers are ids as well, true and 1.5 are not."""
    if not isinstance(listed, list) or not all(type(one) in (str, int) and normal_id(str(one)) for one in listed):
        raise FormatError(f"--split-file {path}: the list {key} is no list of ids; expected text or whole numbers")
    return [normal_id(str(one)) for one in listed]


def _text(path: Path) -> str:
    try:
        return read_small(path, _LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"--split-file {path} is no text in UTF-8 ({error.reason}); expected {_FORMS}") from error
