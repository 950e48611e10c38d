"""``python -m data_utils.match``: finds the patients of an X.npy that has none, where the full set is at hand.

A patch is found by the sha256 of its pixels. Where the same pixels lie in several patients nobody can say whose patch
it is, and the id stays empty like that of a patch that is not found; where they lie at several places of one patient,
the place stays unknown.
"""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_utils.command import run_command
from data_utils.errors import FormatError
from data_utils.flags import parse
from data_utils.quality.rules import NO_PATIENT
from data_utils.readers.npy import PATIENTS, PIXELS, POSITIONS, read_pixels
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import Bools, Ints, PatchSet, Progress, Strings, patch_digests
from data_utils.scratch import scratch_in

_SCRATCH = "match"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None}  # None: NumPy's own "n requested and m written"


@dataclass(frozen=True, eq=False)
class Matched:
    """What was found of each patch.

    Attributes:
        patients: (N,) ids, "" where unknown.
        xy: (N, 2) place on the slide in pixels, -1 where unknown.
        shared: (N,) whether the same pixels lie in several patients.
    """

    patients: Strings
    xy: Ints
    shared: Bools

    @property
    def found(self) -> Bools:
        """(N,) whether a patch has a patient now."""
        known: Bools = self.patients != ""
        return known


def match(digests: Strings, full: PatchSet) -> Matched:
    """Finds patches among others by their pixels.

    Args:
        digests: (N,) sha256 of each patch's pixels.
        full: where to look; its patients are known.

    Raises:
        FormatError: its patients are unknown.
    """
    if full.patients is None:
        raise FormatError(f"{full.source} has no patient ids; expected the public patient folder or a zip of it")
    there, first, group = np.unique(full.digests, return_index=True, return_inverse=True)
    owners = np.unique(full.patients, return_inverse=True)[1]
    several = _differ(owners, group)
    moved = _differ(full.x, group) | _differ(full.y, group)
    place = np.minimum(np.searchsorted(there, digests), len(there) - 1)
    known = there[place] == digests
    row = first[place]  # in the full set
    mine = known & ~several[place]
    placed = mine & ~moved[place]
    positions = np.stack([full.x[row], full.y[row]], axis=1)
    return Matched(
        patients=np.where(mine, full.patients[row], ""),
        xy=np.where(placed[:, None], positions, -1),
        shared=known & several[place],
    )


def _differ(values: Ints, group: Ints) -> Bools:
    """Whether the members of each group differ in a value."""
    count = int(group.max()) + 1
    least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(least, group, values)
    np.maximum.at(most, group, values)
    different: Bools = least != most
    return different


def save(matched: Matched, folder: Path) -> None:
    """Writes ``patients.npy`` and ``xy.npy``, whole and never over a file that is there.

    Raises:
        FormatError: one of them is there, or the folder cannot be written.
    """
    check_free(folder)
    try:
        with scratch_in(folder, _SCRATCH) as draft:
            for name, array in ((PATIENTS, matched.patients), (POSITIONS, matched.xy)):
                np.save(draft / name, array, allow_pickle=False)
            for name in (PATIENTS, POSITIONS):
                os.link(draft / name, folder / name)  # fails where a file is there by now
    except OSError as error:
        raise _not_written(folder, error) from error


def check_free(folder: Path) -> None:
    """Refuses a folder that holds the files already.

    Raises:
        FormatError: the first one of them.
    """
    for name in (PATIENTS, POSITIONS):
        if os.path.lexists(folder / name):
            raise FormatError(f"{folder / name} is there already and is not written over; name another --out")


def _report(matched: Matched, full: PatchSet, out: Path) -> str:
    count, found, shared = len(matched.patients), int(matched.found.sum()), int(matched.shared.sum())
    owners = len(np.unique(matched.patients[matched.found]))
    lines = [
        f"{found} of {count} patches matched, of {owners} patients; {count - found - shared} are not in {full.source}, "
        f"{shared} lie in several patients",
        f"wrote {out / PATIENTS} and {out / POSITIONS}: put them beside {PIXELS}",
    ]
    if found < count:
        lines.append(
            f"{count - found} ids are empty: such patches may be of any patient, so search.launch leaves them out by "
            f"--exclude {NO_PATIENT.name} or ends"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Reads both sets, matches them and writes what was found."""
    typed = parse("match", argv)
    pixels = read_pixels(typed.patches)
    with _made(typed.out) as out:
        check_free(out)
        with _naming(out), scratch_in(out, _SCRATCH) as draft:
            full = read_patches(typed.full, progress=_bar(), into=draft / "read.npy")
            matched = match(patch_digests(pixels), full)
        if not matched.found.any():
            raise FormatError(
                f"none of {len(pixels)} patches of {typed.patches} can be told a patient by {typed.full}; nothing was "
                "written: give the set that they were taken from"
            )
        save(matched, out)
    sys.stdout.write(_report(matched, full, out) + "\n")
    return 0


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """The folder, made where it is missing, and taken away again where the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{folder} cannot be made ({error.strerror}); name another --out") from error
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # something else lies in it by now
            for path in missing:
                path.rmdir()
        raise


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Says which place has no room left: the system's own error does not."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _not_written(folder, error) from error


def _not_written(folder: Path, error: OSError) -> FormatError:
    return FormatError(f"{folder} cannot be written ({error.strerror or error}); make room there or name another --out")


def _bar() -> Progress | None:
    """Says how far the reading is, where somebody looks."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, of: int) -> None:
        sys.stderr.write(f"\r{done} of {of} files read" + ("\n" if done == of else ""))

    return show


if __name__ == "__main__":
    sys.exit(run_command(main))
