"""What a folder or an archive holds: its pictures, its arrays, and how many files are neither, by reason."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path

from data_utils.errors import FormatError
from data_utils.files import check_within, kind, shown, unreadable
from data_utils.readers import _tar, _zip
from data_utils.readers.npy import LABELS, PATIENTS, PIXELS, POSITIONS

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
ARRAYS = (PIXELS, LABELS, PATIENTS, POSITIONS)
HIDDEN = "hidden, or made by a system"
OTHER_FORM = "no PNG, JPEG or TIFF file"
MASK = "mask of another picture"
BESIDE = f"beside {PIXELS}"

_ARRAYS = {name.lower(): name for name in ARRAYS}
_MOST_ENDINGS = 5  # that are told apart
_OF_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini"}  # macOS and Windows add them
_PATH = attrgetter("path")
_HERE = re.compile(r"(?:(?<=[/\\])|^)\.(?:[/\\]|$)")  # as tar has it of a folder that was packed from within
_MASK = re.compile(r"(.+)[ _-]mask(?:[ _-]?[0-9]+)?\.[a-z]+", re.IGNORECASE | re.DOTALL)
_ENDING = re.compile(r"[^.].*(\.[a-z0-9]{1,8})", re.IGNORECASE | re.ASCII | re.DOTALL)

Counts = tuple[tuple[str, int], ...]
Place = _zip.Member | _tar.Slice


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file: in the folder at ``path``, or in the archive at ``member``.

    Attributes:
        path: relative to the folder or the archive's root.
        size: bytes.
    """

    path: str
    size: int
    member: Place | None = None


@dataclass(frozen=True)
class Listing:
    """What is there.

    Attributes:
        pictures: in the order of their paths.
        arrays: of an archive, ``X.npy`` and files with the names of those that belong to it, likewise.
        skipped: (reason, count) of all other files; a hidden folder counts once.
    """

    pictures: list[ImageFile]
    arrays: list[ImageFile]
    skipped: Counts


def steps(path: str) -> list[str]:
    """The folders of a path and its file name; old programs of Windows write backslashes between them."""
    return path.replace("\\", "/").split("/")


def is_hidden(name: str) -> bool:
    """Files and folders that systems and editors add."""
    return (name.startswith(".") and name != ".") or name.lower() in _OF_SYSTEMS


def array_name(path: str) -> str:
    """As which of ``ARRAYS`` a file of an archive is read, whatever the case of its letters; "" for none."""
    return _ARRAYS.get(steps(path)[-1].lower(), "")


def is_picture(name: str) -> bool:
    """Whether a file is named like a picture that is read."""
    return name.lower().endswith(PICTURES)


def list_files(root: Path, told: Path) -> Listing:
    """All files of a folder, a zip or a plain tar.

    Args:
        root: of them.
        told: what the user knows it as.

    Raises:
        FormatError: a folder that cannot be read, a link that leads out of it, or an archive that is damaged.
    """
    if root.is_dir():
        skipped: Counter[str] = Counter()
        found = [ImageFile(name, facts.st_size) for name, facts in walk(root, skipped)]
        pictures, masks = _without_masks(sorted(found, key=_PATH))
        return Listing(pictures, [], (*masks, *counted(skipped)))
    return _sorted_out(_members(root, told))


def _members(root: Path, told: Path) -> Iterator[tuple[str, Place | None]]:
    listed = _tar.list_members(root, _is_wanted, told) if _tar.is_tar(root) else _zip.list_members(root, _is_wanted)
    return ((_HERE.sub("", path), member) for path, member in listed)


def _is_wanted(path: str) -> bool:
    folder, _, name = path.replace("\\", "/").rpartition("/")
    return (is_picture(name) or array_name(name) != "") and not is_hidden(name) and not _in_hidden(folder)


@lru_cache(maxsize=2**12)  # many files share a folder
def _in_hidden(folder: str) -> bool:
    return any(map(is_hidden, folder.split("/")))


def _sorted_out(members: Iterable[tuple[str, Place | None]]) -> Listing:
    pictures: list[ImageFile] = []
    arrays: list[ImageFile] = []
    skipped: Counter[str] = Counter()
    hidden: set[str] = set()
    for path, member in members:
        if member is not None:
            (pictures if is_picture(path) else arrays).append(ImageFile(path, member.size, member))
        elif steps(path)[-1]:  # else a folder
            root = _hidden_root(path)
            if root:
                hidden.add(root)
            else:
                skipped[_other_form(path)] += 1
    skipped[HIDDEN] += len(hidden)
    if not any(array_name(file.path) == PIXELS for file in arrays):  # labels of nothing
        skipped.update(_other_form(file.path) for file in arrays)
        arrays = []
    pictures, masks = _without_masks(sorted(pictures, key=_PATH))
    return Listing(pictures, sorted(arrays, key=_PATH), (*masks, *counted(skipped)))


def _without_masks(pictures: list[ImageFile]) -> tuple[list[ImageFile], Counts]:
    """The patches, and how many masks of them lie beside: NAME_mask.png, as sets for segmentation have them."""
    marked = {
        one.path: found[1] for one in pictures if "mask" in one.path.lower() and (found := _MASK.fullmatch(one.path))
    }
    if not marked:
        return pictures, ()
    there = {one.path.rpartition(".")[0] for one in pictures}
    kept = [one for one in pictures if marked.get(one.path) not in there]
    return kept, ((MASK, len(pictures) - len(kept)),) * (len(kept) < len(pictures))


def _hidden_root(path: str) -> str:
    """The path of the first step that is hidden; "" where none is."""
    along = steps(path)
    first = next((number for number, step in enumerate(along) if is_hidden(step)), None)
    return "" if first is None else "/".join(along[: first + 1])


# --- counts ---------------------------------------------------------------------------------------------------------


def _other_form(path: str) -> str:
    return f"{OTHER_FORM}: {_ending(path)}"


def _ending(path: str) -> str:
    found = _ENDING.fullmatch(steps(path)[-1])
    return found[1].lower() if found else "no usual ending"


def counted(skipped: Counter[str]) -> Counts:
    """(reason, count), the commonest first; of many endings the rarer ones together."""
    hidden = skipped[HIDDEN]
    others = sorted(((reason, count) for reason, count in skipped.items() if reason != HIDDEN and count), key=_rank)
    rest = sum(count for _, count in others[_MOST_ENDINGS:])
    told = [*others[:_MOST_ENDINGS], (f"{OTHER_FORM}: other endings", rest), (HIDDEN, hidden)]
    return tuple((reason, count) for reason, count in told if count)


def _rank(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def beside(names: Iterable[str]) -> Counts:
    """(reason, count) of the files that lie beside arrays and could be patches too: pictures, and other arrays."""
    others = Counter(_ending(name) for name in names if not is_hidden(name))
    endings = (*PICTURES, ".npy", ".npz")
    return tuple((f"{BESIDE}: {ending}", others[ending]) for ending in endings if others[ending])


def beside_arrays(folder: Path) -> Counts:
    """What lies in a folder beside its arrays, as ``beside`` counts it.

    Raises:
        FormatError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return beside(entry.name for entry in entries if entry.name not in ARRAYS and not entry.is_dir())
    except OSError as error:
        raise unreadable(folder, error) from error


# --- folders --------------------------------------------------------------------------------------------------------


def walk(root: Path, skipped: Counter[str]) -> Iterator[tuple[str, os.stat_result]]:
    """(relative path, what the system says) of every picture below a folder; what else is there is counted.

    Raises:
        FormatError: a folder that cannot be read, or a link that leads out or round.
    """
    left, skip = [os.fspath(root)], len(os.path.join(root, ""))  # noqa: PTH118 - the root with a separator at its end
    while left:  # no recursion: folders may be nested deeper than Python's stack
        folder = left.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        skipped[HIDDEN] += 1
                    elif entry.is_dir():
                        left.append(_below(entry, root))
                    elif is_picture(entry.name):
                        yield entry.path[skip:], _picture(entry, root)
                    else:
                        skipped[_other_form(entry.name)] += 1
        except OSError as error:
            raise unreadable(Path(error.filename or folder), error) from error


def _below(entry: os.DirEntry[str], root: Path) -> str:
    if entry.is_symlink():
        check_within(Path(entry.path), root)
        raise FormatError(
            f"{shown(entry.path)} is a link to a folder, which may go round in circles; expected the folder itself: "
            "put it in the place of the link"
        )
    return entry.path


def _picture(entry: os.DirEntry[str], root: Path) -> os.stat_result:
    if entry.is_symlink():
        check_within(Path(entry.path), root)
    found = entry.stat()
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(f"{shown(entry.path)} is {kind(found.st_mode)}; expected a picture: take it away")
    return found
