"""What all commands share: errors of our own become one line and an exit code, everything else keeps its traceback."""

import shlex
import signal
import sys
from collections.abc import Callable, Sequence

from data_utils.errors import DataError
from models._errors import ModelError
from search.errors import Interrupted, SearchFailed, UsageError
from studies.errors import StudyError
from studies.secrets import masked

FAILED = 1
BAD_INPUT = 2


def run_command(main: Callable[[], int]) -> int:
    """Runs a command's ``main`` and returns the exit code of the process.

    Args:
        main: parses its arguments, does the work, returns 0 where all is well.
    """
    try:
        return main()
    except (DataError, ModelError, StudyError, UsageError) as error:
        return _end(str(error), BAD_INPUT)
    except SearchFailed as error:
        return _end(str(error), FAILED)
    except Interrupted as error:
        return _interrupted(error.signal, error.go_on)
    except KeyboardInterrupt:
        return _interrupted(signal.SIGINT, "")


def command_line(command: str, argv: Sequence[str] | None = None) -> str:
    """What a user types to run ``search.<command>`` again; for logs, reports and "go on with". Without passwords."""
    typed = sys.argv[1:] if argv is None else argv
    return shlex.join(["python", "-m", f"search.{command}", *map(masked, typed)])


def _interrupted(number: int, go_on: str) -> int:
    name = signal.Signals(number).name
    return _end(f"interrupted by {name}" + (f"; go on with: {go_on}" if go_on else ""), 128 + number)


def _end(message: str, code: int) -> int:
    sys.stderr.write(masked(" ".join(message.split())) + "\n")
    return code
