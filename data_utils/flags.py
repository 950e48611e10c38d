"""What ``data_utils.match`` and ``data_utils.fetch`` take, told once: for their parsers, ``histotune`` and shells.

Standard library only, as in ``data_utils.command``.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from data_utils.command import OneLineParser, any_path, one_of, typed_path

SETS = ("small", "full", "both")
"""What ``fetch`` gets."""


@dataclass(frozen=True)
class Argument:
    """A flag of one of them.

    Attributes:
        name: as it is typed.
        metavar: what stands for the value in --help.
        kind: reads the value.
        help: what it is.
        choices: values to be completed.
        default: None where it is needed.
    """

    name: str
    metavar: str
    kind: Callable[[str], Any]
    help: str
    choices: tuple[str, ...] = ()
    default: str | None = None


@dataclass(frozen=True)
class Command:
    """What it does, in a sentence, and its flags in the order of --help."""

    purpose: str
    arguments: tuple[Argument, ...]


COMMANDS = {
    "match": Command("Find patient and place of each patch of an X.npy in the full set, by its pixels.", (
        Argument("--patches", "X.npy", any_path, "array of patches (needed)"),
        Argument("--full", "PATH", typed_path, "patient folder or zip that holds them (needed)"),
        Argument("--out", "DIR", any_path, "folder for patients.npy and xy.npy (needed)"),
    )),
    "fetch": Command("Get the public IDC sets from Kaggle, go on where it was cut off, and verify them.", (
        Argument("--to", "DIR", any_path, "folder for small/ and full/ (needed)"),
        Argument("--set", "NAME", one_of(*SETS), "small (5,547 patches in arrays), full (277,524 PNG files, 1.5 GB to "
                 "download) or both (default)", SETS, "both"),
    )),
}  # fmt: skip
"""The commands of this package by their names."""


def parse(name: str, argv: Sequence[str] | None) -> Namespace:
    """What was typed; a refused argument ends the process with one line and exit code 2."""
    command = COMMANDS[name]
    parser = OneLineParser(f"data_utils.{name}", command.purpose)
    for one in command.arguments:
        parser.add_argument(one.name, metavar=one.metavar, type=one.kind, default=one.default, help=one.help)
    return parser.parse(argv, needed=[one.name for one in command.arguments if one.default is None])
