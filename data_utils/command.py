"""What commands share: a parser that answers in one line with "did you mean", and how a command of this package ends.

Standard library only, as ``--help`` and a refused argument should answer at once. ``search`` builds on the parser.
"""

import argparse
import difflib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from data_utils.errors import DataError
from data_utils.interrupt import let_go
from data_utils.machine import limit_threads
from data_utils.streams import settled_streams
from data_utils.synonyms import MEANT

BAD_INPUT = 2
SCRIPT = "histotune"
"""What pip installs beside ``python -m``: see ``search.__main__``."""
RUN_BY = "HISTOTUNE_RUN_BY"
"""Variable: what begins a command of ``search`` where it is neither, as in a container that another one starts."""
_HINT = re.compile(r"\bpython -m (search\.[a-z]+)")
_LONGEST_LINE = 1000
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser of one command, whose errors are one line on stderr and exit code 2."""

    def __init__(self, command: str, description: str, **more: Any) -> None:
        super().__init__(
            prog=" ".join(as_typed(command)),
            description=description,
            allow_abbrev=False,  # --trial is not --trials: a later flag would change what an old command means
            **more,
        )

    def parse(self, argv: Sequence[str] | None, needed: Sequence[str] = ()) -> argparse.Namespace:
        """What was typed; ``needed`` names flags without a default.

        Needed flags are checked after unknown ones, so that a misspelt flag is not reported as a missing one.
        """
        known, unknown = self.parse_known_args(argv)
        if unknown:
            self.error(self._not_known(unknown[0]))
        for flag in needed:
            if getattr(known, self._option_string_actions[flag].dest) is None:
                self.error(f"{flag} is needed; --help shows what it takes")
        return known

    def error(self, message: str) -> NoReturn:
        """One line, whatever the value that was typed had in it."""
        self.exit(BAD_INPUT, f"{self.prog}: {one_line(worded(message.removeprefix('argument ')))}\n")

    def _not_known(self, typed: str) -> str:
        if not typed.startswith("-"):
            return f"{typed!r} was not expected here; every option has a name that begins with --"
        flag = typed.partition("=")[0]
        return f"{flag} is not an option{did_you_mean(flag, self._option_string_actions)}; --help lists all"


def as_typed(module: str) -> list[str]:
    """The words that begin a command, as this process was started: python -m search.launch, or histotune launch."""
    package, _, command = module.rpartition(".")
    if package == "search" and (by := os.environ.get(RUN_BY)):
        return [*shlex.split(by), command]
    return [SCRIPT, command] if Path(sys.argv[0]).stem == SCRIPT else ["python", "-m", module]


def worded(text: str) -> str:
    """A text with its commands as a user types them; in the code all are written as python -m search.launch."""
    return _HINT.sub(lambda found: " ".join(as_typed(found[1])), text)


def one_line(message: str) -> str:
    """A message as one line for a terminal: what could not be printed or would move its cursor is escaped."""
    line = " ".join(message.split())
    line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)
    return line if len(line) <= _LONGEST_LINE else f"{line[:700]} ... {line[-250:]}"


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """The text ", did you mean X?" where something is meant by what was typed, or is close to it; else nothing."""
    there = {word.lstrip("-"): word for word in known}
    plain = typed.lower().lstrip("-")
    meant = [word for word in MEANT.get(plain.replace("_", "-"), ()) if word in there]
    close = meant or difflib.get_close_matches(plain, list(there), n=1, cutoff=0.6)
    return f", did you mean {there[close[0]]}?" if close else ""


def one_of(*choices: str) -> Callable[[str], str]:
    """A value out of a few."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not known{did_you_mean(text, choices)} (one of {', '.join(choices)})"
            )
        return text

    return read


def typed_path(text: str) -> str:
    """A path as a shell reads it: ~ is the user's home, also where shells leave it, as in --runs=~/x or a file.

    Every path that is typed goes through here: on the command line, in a file of settings, in a variable.
    """
    path = os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises where there is no such home
    if path.startswith("~"):
        raise argparse.ArgumentTypeError(f"{text!r} is in nobody's home here; give the path itself, as ./{text}")
    return path


def any_path(text: str) -> Path:
    """A path of which nothing is known yet."""
    return Path(typed_path(text))


class _Ended(BaseException):
    """A signal ended the command; no ``Exception``, so that nothing on the way takes it for a failure and goes on."""


def run_command(main: Callable[[], int]) -> int:
    """Runs a command's ``main`` and returns the process's exit code; errors of the program keep their traceback.

    A signal unwinds it, so that what it made for itself is removed.
    """
    limit_threads()
    with settled_streams():
        return _done(main)


def _done(main: Callable[[], int]) -> int:
    try:
        with _signals():
            return main()
    except DataError as error:
        return _end(str(error), BAD_INPUT)
    except _Ended as ended:
        number = signal.Signals(ended.args[0])
        return _end(f"interrupted by {number.name}; go on with the same command", 128 + number)


@contextmanager
def _signals() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise _Ended(number)

    let_go()
    wanted = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores one
    before = {number: signal.signal(number, end) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(message: str, code: int) -> int:
    sys.stderr.write(f"{one_line(worded(message))}\n")
    return code
