"""``histotune launch ...``: every command by one name, as pip installs it; ``python -m search launch ...`` is the same.

A script does not put the current folder first on the path, as ``python -m`` does, so that a ``models/`` or a
``search.py`` of the user's own stands in nobody's way.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from data_utils import command as plain
from data_utils import flags
from data_utils.command import BAD_INPUT, SCRIPT, did_you_mean, one_line
from search import __version__
from search.command import outcome
from search.command.settings import PURPOSES

_OF_DATA = {name: command.purpose for name, command in flags.COMMANDS.items()}
_PURPOSES = PURPOSES | _OF_DATA


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that is named first; the exit code."""
    name, *rest = [*(sys.argv[1:] if argv is None else argv)] or [""]
    if name in _PURPOSES:
        module = f"{'data_utils' if name in _OF_DATA else 'search'}.{name}"
        run = plain.run_command if name in _OF_DATA else outcome.run_command
        return run(partial(_command, module, rest))
    return outcome.run_command(partial(_about, name))


def _command(module: str, rest: Sequence[str]) -> int:
    run: Callable[[Sequence[str]], int] = import_module(module).main
    return run(rest)


def _about(name: str) -> int:
    """What there is, where that was asked for; else one line."""
    if name in ("-h", "--help"):
        width = max(map(len, _PURPOSES))
        commands = "".join(f"  {each:{width}}  {purpose}\n" for each, purpose in _PURPOSES.items())
        sys.stdout.write(
            f"usage: {SCRIPT} COMMAND [options]\n\n{commands}\n{SCRIPT} COMMAND --help shows its options\n"
            "the same from Python: from search.api import launch; help(launch)\n"
        )
        return 0
    if name == "--version":
        sys.stdout.write(f"HistoTune {__version__}\n")
        return 0
    found = f"{name!r} is no command{did_you_mean(name, _PURPOSES)}" if name else "a command is needed"
    sys.stderr.write(one_line(f"{SCRIPT}: {found}; there are {', '.join(_PURPOSES)}") + "\n")
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
