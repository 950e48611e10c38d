"""``python -m data_utils.fetch --to data/``: gets the public sets from Kaggle, and verifies their known counts.

kagglehub downloads, goes on where a download was cut off, and unpacks; it keeps what is not whole in ``.kagglehub``
beside the sets, so that an interrupted command goes on and the last step is a rename. Where Kaggle cannot be reached
the same command says how to place the files by hand, and verifies them once they lie there.
"""

import os
import re
import shlex
import shutil
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_utils.command import run_command, worded
from data_utils.errors import FormatError, NotFoundError
from data_utils.flags import parse
from data_utils.readers.npy import LABELS, PIXELS
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import USUAL_SIDE, known

_CACHE = ".kagglehub"
_NAME = re.compile(r"(?P<patient>[^/]+)_idx\d+_x\d+_y\d+_class(?P<label>[01])\.png", re.IGNORECASE)
_HEADER = struct.Struct(">8s4x4sII")  # of a PNG file: signature, length, IHDR, width, height
_LOOKED_AT = 1000  # files whose size is read


@dataclass(frozen=True)
class PublicSet:
    """A set as it was published.

    Attributes:
        name: of its folder below ``--to``.
        handle: OWNER/NAME on Kaggle.
        files: the files that are wanted; () for the whole archive of PNG files.
        others: patches without IDC.
        idc: patches with IDC.
        patients: how many; 0 where the set does not say.
    """

    name: str
    handle: str
    files: tuple[str, ...]
    others: int
    idc: int
    patients: int = 0

    @property
    def page(self) -> str:
        """Where a browser finds it."""
        return f"https://www.kaggle.com/datasets/{self.handle}"

    def by_hand(self, target: Path) -> str:
        """How to place it without this command."""
        what = f"put {' and '.join(self.files)}" if self.files else "unpack the archive"
        packed = "" if self.files else ", or leave it packed and give the zip to --data"
        return f"get it from {self.page} in a browser, {what} into {target}{packed}, and run this again to verify it"


SMALL = PublicSet("small", "simjeg/lymphoma-subtype-classification-fl-vs-cll", (PIXELS, LABELS), 2_759, 2_788)
FULL = PublicSet("full", "paultimothymooney/breast-histopathology-images", (), 198_738, 78_786, 279)
_OF_NAME = {"small": (SMALL,), "full": (FULL,), "both": (SMALL, FULL)}


def fetch(wanted: PublicSet, folder: Path) -> str:
    """Gets a set into its folder below ``folder``, unless it lies there already, and verifies it; what it holds.

    Raises:
        NotFoundError: Kaggle cannot be reached or has it no longer; the message says what to do by hand.
        FormatError: what lies there is not the set.
    """
    target = folder / wanted.name
    if target.exists():
        return verify(wanted, target)
    draft = _downloaded(wanted, folder)
    told = verify(wanted, draft)
    draft.rename(target)
    shutil.rmtree(folder / _CACHE / "datasets" / wanted.handle, ignore_errors=True)
    return told


def verify(wanted: PublicSet, target: Path) -> str:
    """Holds a folder against what is known of the set; what it holds, in words.

    Raises:
        FormatError: other counts or shapes.
    """
    counted, patients = _arrays(target) if wanted.files else _pictures(target)
    found, expected = (counted[0], counted[1], patients), (wanted.others, wanted.idc, wanted.patients)
    if found != expected:
        raise FormatError(
            f"{target} holds {_words(*found)}; expected {_words(*expected)} of {wanted.page}: "
            f"delete the folder and run this again, or {wanted.by_hand(target)}"
        )
    return _words(*found)


def _words(others: int, idc: int, patients: int) -> str:
    return f"{others} patches without IDC and {idc} with" + (f", of {patients} patients" if patients else "")


def _arrays(folder: Path) -> tuple[Counter[int], int]:
    """Patches by label, of arrays whose types and shapes are right."""
    read = read_patches(str(folder))
    if read.side != USUAL_SIDE:
        raise FormatError(
            f"{folder} holds patches of {read.side} pixels; expected {USUAL_SIDE}: delete the folder and run this again"
        )
    return Counter(known(read).tolist()), 0


def _pictures(folder: Path) -> tuple[Counter[int], int]:
    """Files by class and number of patients, each name once; a sample of them must be patches."""
    files = {file.name: file for file in _below(folder)}
    names = [found for found in map(_NAME.fullmatch, files) if found]
    step = max(1, len(names) // _LOOKED_AT)
    for found in sorted(names, key=lambda found: found[0])[::step]:
        _check_size(files[found[0]])
    return Counter(int(found["label"]) for found in names), len({found["patient"] for found in names})


def _below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def _check_size(file: Path) -> None:
    """A patch is a PNG of 50x50 pixels, or of fewer at the border of a slide."""
    with file.open("rb") as opened:
        start = opened.read(_HEADER.size)
    signature, kind, width, height = _HEADER.unpack(start.ljust(_HEADER.size, b"\0"))
    if (signature, kind) != (b"\x89PNG\r\n\x1a\n", b"IHDR") or not (
        0 < width <= USUAL_SIDE and 0 < height <= USUAL_SIDE
    ):
        raise FormatError(f"{file} is no PNG of at most 50x50 pixels; delete {file.parent.parent} and run this again")


def _downloaded(wanted: PublicSet, folder: Path) -> Path:
    """A folder with the whole set, in kagglehub's cache below ``folder``."""
    os.environ["KAGGLEHUB_CACHE"] = str((folder / _CACHE).resolve())
    try:
        import kagglehub  # imported here, as it is not needed once the files are there

        if not wanted.files:
            return Path(kagglehub.dataset_download(wanted.handle))
        fetched = [Path(kagglehub.dataset_download(wanted.handle, file)) for file in wanted.files]
        return fetched[0].parent
    except Exception as error:  # kagglehub's errors have no common base; whatever it is, the way out is the same
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotFoundError(
            f"{wanted.handle} cannot be fetched ({reason[:200]}); by hand: {wanted.by_hand(folder / wanted.name)}"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Fetches what was asked for and says where it lies."""
    typed = parse("fetch", argv)
    for wanted in _OF_NAME[typed.set]:
        told = fetch(wanted, typed.to)
        target = typed.to / wanted.name
        search = worded(f"python -m search.launch --model all --data {shlex.quote(str(target))}")
        sys.stdout.write(f"{target}: {told}; search it by: {search}\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
