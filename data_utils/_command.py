"""What the commands of this package share: errors of our own become one line on stderr and an exit code."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from data_utils.errors import DataError

BAD_INPUT, INTERRUPTED = 2, 130


class OneLineParser(argparse.ArgumentParser):
    """A parser whose refusals are one line; flags are never abbreviated."""

    def __init__(self, command: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"python -m data_utils.{command}", description=description, epilog=epilog, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        """One line, whatever the value that was typed had in it."""
        self.exit(BAD_INPUT, f"{self.prog}: {' '.join(message.split())}; --help shows what it takes\n")


def run_command(main: Callable[[], int]) -> int:
    """Runs a command's ``main`` and returns the process's exit code; errors of the program keep their traceback."""
    try:
        return main()
    except DataError as error:
        return _end(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _end("interrupted; go on with the same command", INTERRUPTED)


def _end(message: str, code: int) -> int:
    sys.stderr.write(" ".join(message.split()) + "\n")
    return code
