"""Looks at test patches that are no opening: what ``search.explore`` shows and ``search.predict`` scores.

Patches are known by the sha256 of their pixels, whatever the name under which they are looked at. What was seen before
a split was drawn is left in a file beside it, and taken over into the database once there is a lock.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from data_utils.readers.array_file import map_array
from data_utils.readers.patchset import Bools, Strings
from data_utils.split.cache import read_digests
from data_utils.split.prepare import SEALED, Prepared
from search.comparison import LOCK_FILE, Comparison
from studies.files import whole

SEALED_FILE = "sealed_digests.npy"
"""Beside a final model: the sealed patches of its comparison, whose opening is closed by then."""
EXPLORED_FILE = "explored.npy"
"""In ``runs/NAME``: the patches that were shown with their labels before a split was locked under this name."""
EXPLORATION, PREDICTION = "exploration", "prediction"


@dataclass(frozen=True, eq=False)
class Met:
    """A comparison that has sealed some of the patches at hand.

    Attributes:
        study: its name.
        rows: (N,) which patches they are.
        opened: whether its opening is closed, so that a look at them is no first one.
    """

    study: str
    rows: Bools
    opened: bool

    @property
    def count(self) -> int:
        """Of the patches at hand."""
        return int(self.rows.sum())


def sealed_among(runs: Path, digests: Strings) -> list[Met]:
    """The comparisons below a folder of results that have sealed some of these patches, in the order of names.

    Raises:
        FormatError: the digests of one cannot be read.
    """
    found = []
    for folder in sorted(lock.parent for lock in runs.glob(f"*/{LOCK_FILE}")):
        published = next(iter(sorted(folder.glob(f"*/{SEALED_FILE}"))), None)
        sealed = _sealed(folder, published)
        if sealed is not None:
            met = Met(folder.name, np.isin(digests, sealed), opened=published is not None)
            found += [met] if met.count else []
    return found


def _sealed(folder: Path, published: Path | None) -> Strings | None:
    """Digests of the sealed patches of ``runs/NAME``; None where search.clean has removed them before an opening."""
    if os.path.lexists(folder / "data" / SEALED):
        return read_digests(folder / "data" / SEALED)
    return None if published is None else np.array(map_array(published), dtype=np.str_)


def remember(folder: Path, digests: Strings) -> None:
    """Adds to those in ``runs/NAME`` the patches that were shown before a split was locked under this name."""
    raw = np.frombuffer(bytes.fromhex("".join(digests.tolist())), dtype=np.uint8).reshape(-1, 32)
    if os.path.lexists(folder / EXPLORED_FILE):
        raw = np.unique(np.concatenate([map_array(folder / EXPLORED_FILE), raw]), axis=0)
    with whole(folder / EXPLORED_FILE) as draft, draft.open("wb") as file:
        np.save(file, raw, allow_pickle=False)


def take_over(comparison: Comparison, prepared: Prepared) -> None:
    """Records in the database which sealed patches were shown, under any name, before the split was drawn just now."""
    for name, count, when in _explored(comparison.folder.parent, read_digests(prepared.sealed)):
        words = f"shown with their labels by search.explore --study {name} on {when}, before the split was locked"
        if count:
            comparison.ledger.record_look(comparison.name, EXPLORATION, words, count, one_look())


def by() -> str:
    """Who looks, for the log."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def one_look() -> str:
    """Who looks, and which look of many it is: process numbers come again."""
    return f"{by()}, look {uuid.uuid4().hex[:12]}"


def _explored(runs: Path, sealed: Strings) -> Iterator[tuple[str, int, str]]:
    """(name, how many of the sealed patches it showed, date) of each exploration before a lock."""
    wanted = {bytes.fromhex(digest) for digest in sealed.tolist()}
    for path in sorted(runs.glob(f"*/{EXPLORED_FILE}")):
        seen = {row.tobytes() for row in map_array(path)}
        when = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d")
        yield path.parent.name, len(wanted & seen), when
