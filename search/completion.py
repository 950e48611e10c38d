"""``python -m search.completion bash``: prints a script that completes commands, flags and values in a shell."""

import sys
from collections.abc import Sequence

from search.command.outcome import run_command
from search.command.settings import parse_completion
from search.command.shells import script


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the script; nothing is written to a file, as each user keeps it elsewhere."""
    sys.stdout.write(script(parse_completion(argv).shell))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
