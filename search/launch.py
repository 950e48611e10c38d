"""``python -m search.launch --model cnn --trials 50``: searches for the best configuration of each model."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_launch
from search.command.signals import Signals
from search.command.versions import tell_untried


def main(argv: Sequence[str] | None = None) -> int:
    """Searches until every study holds the trials that were asked for, or the time limit is reached."""
    settings = parse_launch(argv)
    tell_untried()
    signals = Signals(command_line("launch", argv))
    with signals.installed():
        # torch and Ray take seconds to import; --help and a refused argument do not wait for them.
        if settings.dry_run:
            from search.trials.course import dry_run

            return dry_run(settings)
        from search.trials.session import search

        return search(settings, signals)


if __name__ == "__main__":
    sys.exit(run_command(main))
