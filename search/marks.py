"""The mark of an opening: under which plan and record the files in ``runs/NAME/opening`` were made."""

import os
from dataclasses import dataclass
from pathlib import Path

from search.comparison import Comparison
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


def lost(comparison: Comparison, problem: str) -> str:
    """What to do about predictions that are not those of their opening any more."""
    return (
        f"{problem}: put it back from a backup, or have the test rows read again, which the report will count as one "
        f'more opening: python -m search.finalize --study {comparison.name} --reopen "reason"'
    )
