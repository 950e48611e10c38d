"""What all commands share: errors of our own become one line and an exit code, everything else keeps its traceback."""

import atexit
import errno
import gc
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from data_utils.command import SCRIPT, as_typed, one_line, worded
from data_utils.errors import DataError
from data_utils.interrupt import let_go
from data_utils.machine import limit_threads
from data_utils.streams import settled_streams
from models._errors import ModelError
from search.errors import Interrupted, SearchError, SearchFailed, UsageError
from studies.errors import NotStoredError, StorageGoneError, StorageLostError, StudyError
from studies.secrets import masked

_LOGGER = logging.getLogger("histotune")
RAY_THREAD = "ray"
_GROUND = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ESTALE),
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENODEV, errno.ENOTCONN),
}
"""What a place can come to while a command works in it: made read-only, removed, full, its disk or its network gone."""
FAILED = 1
BAD_INPUT = 2


def run_command(main: Callable[[], int]) -> int:
    """Runs a command's ``main`` and returns the exit code of the process.

    Args:
        main: parses its arguments, does the work, returns 0 where all is well.
    """
    atexit.register(gc.freeze)  # else the interpreter looks through all that torch and Ray hold once more, for a second
    return _left(_ran(main))


def _ran(main: Callable[[], int]) -> int:
    with settled_streams():
        return _done(main)


def _done(main: Callable[[], int]) -> int:
    let_go()
    limit_threads()
    _hide_passwords()
    try:
        with of_two_kinds(_typed_line):
            return main()
    except UsageError as error:
        return _end(str(error), BAD_INPUT)
    except SearchFailed as error:
        return _end(str(error), FAILED)
    except Interrupted as error:
        return _interrupted(error.signal, error.go_on)
    except KeyboardInterrupt:
        return _interrupted(signal.SIGINT, "")


@contextmanager
def of_two_kinds(go_on: Callable[[], str]) -> Iterator[None]:
    """Within the block all that can be wrong becomes a UsageError or a SearchFailed, which stand for codes 2 and 1.

    What was raised is the cause of it. ``go_on`` tells how the work is continued.
    """
    try:
        yield
    except StorageGoneError as error:
        raise SearchFailed(f"{error}; go on with: {go_on()}") from error
    except (StorageLostError, NotStoredError) as error:
        raise SearchFailed(f"{error}; then go on with: {go_on()}") from error
    except (DataError, ModelError, StudyError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        if error.errno not in _GROUND or error.filename is None:
            raise
        _LOGGER.debug("found here", exc_info=True)
        raise SearchFailed(_taken_away(error)) from error


def told(error: SearchError) -> str:
    """The one line of an error: without passwords, or signs that would move a cursor."""
    return one_line(worded(masked(str(error))))


def command_line(command: str, argv: Sequence[str] | None = None) -> str:
    """What a user types to run ``search.<command>`` again; for logs, reports and "go on with". Without passwords."""
    typed = sys.argv[1:] if argv is None else argv
    return shlex.join([*as_typed(f"search.{command}"), *map(masked, typed)])


def _typed_line() -> str:
    """The command line of this process."""
    name, *rest = Path(sys.argv[0]).stem, *sys.argv[1:]
    return command_line(rest[0], rest[1:]) if name in (SCRIPT, "__main__") and rest else command_line(name)


def _hide_passwords() -> None:
    """Takes passwords out of the process title, and so out of what Ray stores of it.

    For a moment before this everyone on the machine could read them; hence the hint.
    """
    shown = [masked(part) for part in sys.orig_argv]
    if shown == sys.orig_argv:
        return
    from setproctitle import setproctitle

    setproctitle(shlex.join(shown))
    sys.stderr.write(
        "a password on the command line can be read by everyone on this machine: give the URL in $HISTOTUNE_STORAGE, "
        "or leave the password out of it and keep it in ~/.pgpass\n"
    )


def _taken_away(error: OSError) -> str:
    place = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return (
        f"{place} cannot be used ({error.strerror}): allow it, make room there or put it back, then run this again; "
        "what was there before is unchanged"
    )


def _interrupted(number: int, go_on: str) -> int:
    name = signal.Signals(number).name
    return _end(f"interrupted by {name}" + (f"; go on with: {go_on}" if go_on else ""), 128 + number)


def _end(message: str, code: int) -> int:
    line = one_line(worded(masked(message)))
    if _LOGGER.handlers:
        _LOGGER.error("%s", line)
    with suppress(OSError):  # the terminal may be closed
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    return code


def _left(code: int) -> int:
    """The exit code; at once where a Ray that is starting, has died or does not end would hold up the process's end."""
    if any(thread.name == RAY_THREAD for thread in threading.enumerate()):
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    return code
