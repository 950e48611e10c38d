"""``python -m search.finalize``: retrains each best configuration, opens the test split once, writes the report."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_finalize
from search.command.signals import Signals
from search.command.versions import tell_untried


def main(argv: Sequence[str] | None = None) -> int:
    """Takes a comparison from its studies to its report; run again, it goes on where it was."""
    settings = parse_finalize(argv)
    tell_untried()
    signals = Signals(command_line("finalize", argv))
    with signals.installed():
        from search.final.procedure import finalize  # takes seconds to import; --help does not wait for it

        finalize(settings, signals)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
