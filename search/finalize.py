"""``python -m search.finalize``: retrains each best configuration, opens the test split once, writes the report."""

import sys
from collections.abc import Sequence

from search.commands import command_line, run_command
from search.settings import parse_finalize
from search.signals import Signals


def main(argv: Sequence[str] | None = None) -> int:
    """Takes a comparison from its studies to its report; run again, it goes on where it was."""
    settings = parse_finalize(argv)
    signals = Signals(command_line("finalize", argv))
    with signals.installed():
        from search.finalizing import finalize  # takes seconds to import; --help does not wait for it

        return finalize(settings, signals)


if __name__ == "__main__":
    sys.exit(run_command(main))
