"""What a picture's path says of it: patient, place and class by its name, else patient and class by its folders.

The public name is ``PATIENT_idx5_x1001_y751_class0.png``; it is read in any folders, as long as they say nothing else.
Any other name is read in ``PATIENT/CLASS/``, or in ``CLASS/`` where no picture has a patient. A folder called train,
validation or test names a part.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from data_utils.errors import FormatError, LabelError
from data_utils.files import shown
from data_utils.readers._listing import steps

EXPECTED = (
    "PATIENT/CLASS/PATIENT_idx5_x1001_y751_class0.png, such names in any folders, or any names in PATIENT/CLASS/ with "
    "CLASS 0 or 1 and a PATIENT that is called neither so nor train, validation or test; or all of them in CLASS/, "
    "where patients are unknown; of two classes that are called otherwise --positive NAME says which one is IDC"
)
PARTS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of folders, and the part that they mean."""

WITH_BACKSLASHES = "have backslashes, as Windows writes them: they were read as folders"

_NAME = re.compile(
    r"(?P<patient>[^/\\]+)_idx\d+_x(?P<x>\d{1,9})_y(?P<y>\d{1,9})_class(?P<label>\d{1,9})\.(?:png|jpe?g|tiff?)",
    re.IGNORECASE | re.ASCII,
)
Classes = tuple[str, str]
"""What folders call the patches without IDC, and those with it."""
NUMBERS: Classes = ("0", "1")
_SAYS_CLASS = re.compile(r"class[ _-]?([0-9]{1,9})(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file's path says; patient "", position -1, label -1 and part "" where it says nothing.

    Attributes:
        patient: id.
        x: on the slide in pixels.
        y: likewise.
        label: 0 or 1, or any other number that the name says.
        part: "train", "validation" or "test".
        named: whether its name has the public form, so that patient and label come from there.
        at_home: whether it lies in PATIENT/CLASS of its own.
    """

    patient: str
    x: int
    y: int
    label: int
    part: str
    named: bool
    at_home: bool


def classes_of(paths: Sequence[str], positive: str, source: str) -> Classes:
    """What the folders of pictures call the classes.

    Args:
        paths: of the pictures.
        positive: the class with IDC, as --positive names it; "" for 0 and 1.
        source: for the message.

    Raises:
        FormatError: there are not two of them, or none is called so.
    """
    if not positive:
        return NUMBERS
    found = Counter(["", *steps(path)][-2] for path in paths)
    others = sorted(found.keys() - {positive})
    if positive not in found or len(others) != 1:
        listed = ", ".join(shown(one or "none") for one, _ in found.most_common(5))
        raise FormatError(
            f"--positive {shown(positive)}: the pictures of {source} lie in {len(found)} folders of other names "
            f"({listed}); expected two, of which {shown(positive)} is one: CLASS/ or PATIENT/CLASS/"
        )
    return others[0], positive


def facts_of(path: str, classes: Classes = NUMBERS) -> FileFacts:
    """What a path below the source says, in whose folders classes are called so."""
    folder, _, name = path.replace("\\", "/").rpartition("/")
    part, patient, label = _of_folder(folder, classes)
    found = _NAME.fullmatch(name)
    if found is None:
        return FileFacts(patient, -1, -1, label, part, named=False, at_home=patient != "")
    named, x, y, said = found.groups()
    at_home = f"/{folder}".endswith(f"/{named}/{said}")
    return FileFacts(named, int(x), int(y), int(said), part, named=True, at_home=at_home)


@lru_cache(maxsize=2**12)  # many files share a folder
def _of_folder(folder: str, classes: Classes) -> tuple[str, str, int]:
    """Part, patient and class by the folders above a file."""
    folders = ["", *folder.split("/")]
    part = next((PARTS[step.lower()] for step in folders if step.lower() in PARTS), "")
    patient, label = folders[-2:]
    if label not in classes or patient in classes:
        return part, "", -1
    return part, "" if patient.lower() in PARTS else patient, classes.index(label)


def has_classes_alone(facts: Sequence[FileFacts]) -> bool:
    """Whether folders say the class of every picture, and nothing says a patient of any."""
    return all(not fact.patient and fact.label >= 0 for fact in facts)


def check_names(paths: Sequence[str], facts: Sequence[FileFacts], source: str) -> None:
    """Patient and class must be known, and the folders above must not say something else than the name.

    Raises:
        FormatError: names that do not parse, or files in the folder of another patient or class.
        LabelError: classes other than 0 and 1.
    """
    unparsed = [path for path, fact in zip(paths, facts, strict=True) if not fact.patient]
    if unparsed and not has_classes_alone(facts):
        raise FormatError(
            f"{source}: {len(unparsed)} of {len(paths)} names do not parse (first: {shown(unparsed[0])}); "
            f"expected {EXPECTED}"
        )
    others = sorted({fact.label for fact in facts} - {0, 1})
    if others:
        count = sum(fact.label in others for fact in facts)
        raise LabelError(f"{source}: {count} files of class {others[0]}; expected classes 0 (no IDC) and 1 (IDC)")
    moved = list(_moved(paths, facts))
    if moved:
        raise FormatError(
            f"{source}: {len(moved)} of {len(paths)} files lie in a folder of another patient or class than their name "
            f"says (first: {shown(moved[0])}); move them back"
        )


def _moved(paths: Sequence[str], facts: Sequence[FileFacts]) -> Iterator[str]:
    patients = {fact.patient for fact in facts}
    sorted_by_patient = any(fact.named and fact.at_home for fact in facts)
    for path, fact in zip(paths, facts, strict=True):
        if fact.named and fact.at_home:
            continue
        *folders, name = steps(path)
        if fact.named:
            wrong = _contradicts(folders, fact, patients, sorted_by_patient)
        else:
            said = _SAYS_CLASS.search(name)
            wrong = said is not None and int(said[1]) != fact.label
        if wrong:
            yield path


def _contradicts(folders: Sequence[str], fact: FileFacts, patients: Set[str], sorted_by_patient: bool) -> bool:
    """Whether folders name another class or another patient than a file's own name."""
    others = [folder for folder in folders if folder != fact.patient]
    if others and others[-1] in NUMBERS and NUMBERS.index(others[-1]) != fact.label:
        return True
    if any(folder in patients and folder not in NUMBERS for folder in others):
        return True
    _, patient, _ = _of_folder("/".join(folders), NUMBERS)
    return sorted_by_patient and patient not in ("", fact.patient)


# --- what was done, in words ----------------------------------------------------------------------------------------


def notes(paths: Sequence[str], facts: Sequence[FileFacts], *, labelled: bool) -> Iterator[str]:
    """How patient, place and class were found where it is not the usual way; for a search, which parts folders name."""
    elsewhere = sum(fact.named and not fact.at_home for fact in facts)
    if elsewhere:
        yield (
            f"{elsewhere} of {len(paths)} pictures lie in other folders than PATIENT/CLASS: "
            "patient, place and class are those of their names"
        )
    by_folder = sum(not fact.named and fact.patient != "" for fact in facts)
    if by_folder:
        yield (
            f"{by_folder} of {len(paths)} pictures have patient and class from their folders, PATIENT/CLASS: "
            "their names do not say them, and their place is unknown"
        )
    if labelled and has_classes_alone(facts):
        yield f"{len(paths)} pictures have their class from their folder, CLASS: nothing says whose they are, or where"
    backslashes = sum("\\" in path for path in paths)
    if backslashes:
        yield f"{backslashes} of {len(paths)} names {WITH_BACKSLASHES}"
    if labelled:
        yield from _about_parts(facts)


def _about_parts(facts: Sequence[FileFacts]) -> Iterator[str]:
    counts = Counter(fact.part for fact in facts if fact.part)
    if not counts:
        return
    told = ", ".join(f"{part} {counts[part]}" for part in dict.fromkeys(PARTS.values()) if counts[part])
    missing = [part for part in dict.fromkeys(PARTS.values()) if not counts[part]]
    pairs = {(fact.patient, fact.part) for fact in facts if fact.part}
    several = sorted(patient for patient, count in Counter(patient for patient, _ in pairs).items() if count > 1)
    begin = f"the folders name parts ({told} pictures)"
    if several:
        words = f"{len(several)} patients lie in two of them (first: {shown(several[0])})"
        yield f"{begin}, which cannot be the split: {words}; patients are drawn anew"
    elif missing:
        yield f"{begin}, which cannot be the split: there is no {' and no '.join(missing)}; patients are drawn anew"
    else:
        yield f"{begin}: --split-file folders takes them as the split; without it, patients are drawn anew"
