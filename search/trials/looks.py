"""Looks at test patches that are no opening: what ``search.explore`` shows and ``search.predict`` scores.

What was seen before a split was drawn is left in a file beside it, and taken over into the database once there is a
lock.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from data_utils.quality.measures import one_colour
from data_utils.readers.array_file import map_array
from data_utils.readers.patchset import PatchSet, Strings
from data_utils.split.prepare import Prepared, digests_by_part
from search.comparison import Comparison
from studies.files import whole

EXPLORED_FILE = "explored.npy"
"""In ``runs/NAME``: the patches that were shown with their labels before a split was locked under this name."""
EXPLORATION, PREDICTION = "exploration", "prediction"


def remember(folder: Path, shown: PatchSet) -> None:
    """Adds to those in ``runs/NAME`` what was shown before a split was locked; patches of one colour showed nothing."""
    digests = shown.digests[~one_colour(shown.pixels)]
    raw = np.frombuffer(bytes.fromhex("".join(digests.tolist())), dtype=np.uint8).reshape(-1, 32)
    if os.path.lexists(folder / EXPLORED_FILE):
        raw = np.unique(np.concatenate([map_array(folder / EXPLORED_FILE), raw]), axis=0)
    with whole(folder / EXPLORED_FILE) as draft, draft.open("wb") as file:
        np.save(file, raw, allow_pickle=False)


def take_over(comparison: Comparison, prepared: Prepared) -> None:
    """Records in the database which sealed patches were shown, under any name, before their split is locked; once.

    A launch that is cut off before the lock, or that begins at the same moment as another, records the same look.
    """
    sealed = digests_by_part(prepared.sealed.parent)["test"]
    look = f"noted with the lock {prepared.lock.digest[:12]}"
    for name, count, when in _explored(comparison.folder.parent, sealed):
        words = f"shown with their labels by search.explore --study {name} on {when}, before the split was locked"
        if count:
            comparison.ledger.record_look(comparison.name, EXPLORATION, words, count, look)


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
