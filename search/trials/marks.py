"""The mark of an opening: under which plan and record the files in ``runs/NAME/opening`` were made.

A folder outlives its database's name: with a forgotten $HISTOTUNE_STORAGE the same patches would be opened again, and
counted as the first time. The mark tells.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from search.comparison import OPENING, Comparison
from search.errors import UsageError
from studies.errors import RecordError
from studies.files import read_file, write_whole

_FILE = "plan"
_LARGEST = 256  # bytes of it


@dataclass(frozen=True)
class Mark:
    """Whose the files of an opening are.

    Attributes:
        plan_digest: of the plan.
        record: number of the opening in the database's log; 0 where it cannot be read.
    """

    plan_digest: str
    record: int

    @classmethod
    def read(cls, folder: Path) -> "Mark | None":
        """What is marked in a folder; None where it has no mark.

        Raises:
            RecordError: the mark is no file that can be read.
        """
        if not os.path.lexists(folder / _FILE):
            return None
        plan, _, record = read_file(folder / _FILE, _LARGEST).decode(errors="replace").partition(" ")
        return cls(plan, int(record) if record.isascii() and record.isdigit() else 0)

    def write(self, folder: Path) -> None:
        """Marks a folder, whole or not at all."""
        write_whole(folder / _FILE, f"{self.plan_digest} {self.record}")


def opened_elsewhere(comparison: Comparison) -> str | None:
    """In words, that the folder was opened under another database; None where this one has it on record.

    An opening is on record before its folder is made.
    """
    folder = comparison.folder / OPENING
    if not os.path.lexists(folder):
        return None
    if comparison.ledger.last_opening(comparison.name) is None:
        return _unknown(folder)
    try:
        mark = Mark.read(folder)
    except RecordError as error:
        return str(error)
    if mark is None or comparison.ledger.plan(mark.plan_digest) is not None:
        return None
    plan = mark.plan_digest[:12]
    return f"{folder} is of the plan {plan}, which is not in this database: it was opened under another one"


def check_folder(comparison: Comparison) -> None:
    """Refuses to go on in a folder whose test split was opened under another database.

    Raises:
        UsageError: it was; its opening would not be counted.
    """
    _refuse(opened_elsewhere(comparison))


def check_new(folder: Path) -> None:
    """As ``check_folder``, of the folder of a comparison whose database is still to be made."""
    _refuse(_unknown(folder / OPENING) if os.path.lexists(folder / OPENING) else None)


def _unknown(folder: Path) -> str:
    return f"{folder} is of an opening that this database knows nothing of: it was opened under another one"


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise UsageError(
            f"{problem}, and this look at the test split would be counted as the first. Name that database with "
            "--storage (is $HISTOTUNE_STORAGE set or forgotten?), or begin a new name: --study NEW"
        )


def lost(comparison: Comparison, problem: str) -> str:
    """What to do about predictions that are not those of their opening any more."""
    return (
        f"{problem}: put it back from a backup, or have the test rows read again, which the report will count as one "
        f'more opening: python -m search.finalize --study {comparison.name} --reopen "reason"'
    )
