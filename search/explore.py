"""``python -m search.explore --data PATH``: the patches, looked at before any training; one page and its numbers."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_explore
from search.command.signals import Signals


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, compares and models the patches that may be seen, and writes the page."""
    settings = parse_explore(argv)
    signals = Signals(command_line("explore", argv))
    with signals.installed():
        from search.upkeep.exploration import explore  # takes seconds to import; --help does not wait for it

        explore(settings)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
