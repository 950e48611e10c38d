"""``python -m search.check``: trains stored trials and a member again, and says whether they come out the same."""

import sys
from collections.abc import Sequence

from search.command.outcome import run_command
from search.command.settings import parse_check


def main(argv: Sequence[str] | None = None) -> int:
    """Repeats what is stored and compares; exit code 1 where something differs by more than other hardware explains."""
    settings = parse_check(argv)
    from search.upkeep.repetition import check  # takes seconds to import; --help does not wait for it

    return check(settings)


if __name__ == "__main__":
    sys.exit(run_command(main))
