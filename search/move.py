"""``python -m search.move``: a whole database from SQLite to PostgreSQL or back, verified, whole or not at all."""

import sys
from collections.abc import Sequence

from search.command.outcome import command_line, run_command
from search.command.settings import parse_move
from search.command.signals import Signals


def main(argv: Sequence[str] | None = None) -> int:
    """Moves studies, seals and records, and says what to do next."""
    settings = parse_move(argv)
    with Signals(command_line("move", argv)).installed():
        from search.upkeep.moving import move  # takes seconds to import; --help does not wait for it

        return move(settings)


if __name__ == "__main__":
    sys.exit(run_command(main))
