"""``python -m search.clean``: removes checkpoints, caches and scratch that no study needs, after showing them."""

import sys
from collections.abc import Sequence

from search.command.outcome import run_command
from search.command.settings import parse_clean


def main(argv: Sequence[str] | None = None) -> int:
    """Shows what may go and how large it is, asks, and removes it."""
    settings = parse_clean(argv)
    from search.upkeep.leftovers import clean  # takes seconds to import; --help does not wait for it

    return clean(settings)


if __name__ == "__main__":
    sys.exit(run_command(main))
