"""Writes ``search/command/keywords.py``: ``python docs/keywords.py``. A test fails where it was not run after a change.

A type checker reads no signature that is made while a program runs, and the flags are told once, by the annotated
fields of ``search/command/settings.py`` and ``applying.py`` beside it.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from search.command import settings  # noqa: E402 - the checkout's own
from search.command._flags import Option  # noqa: E402
from search.command.called import keywords  # noqa: E402
from search.command.extents import Extent  # noqa: E402

PLACE = ROOT / "search" / "command" / "keywords.py"
COMMANDS = ("Explore", "Launch", "Finalize", "Report", "Status", "Predict", "Heatmap", "Export")
BEGIN = '''"""The keywords of ``search.api`` for type checkers. Written by ``docs/keywords.py``; do not edit."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Required, TypedDict

Text = str | PathLike[str]
Texts = Text | Sequence[Text]
'''
TYPES: dict[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    tuple[str, ...]: "Texts",
    tuple[int, int, int]: "Text | Sequence[int]",
    tuple[Extent, ...]: "Texts | Mapping[str, object]",
}


def written() -> str:
    """All of the file."""
    return BEGIN + "".join(_class(command) for command in COMMANDS)


def _class(command: str) -> str:
    kind = getattr(settings, f"{command}Settings")
    known = keywords(kind)
    lines = [f"    {name}: {_type(one, needed=_is_needed(command, one, known))}\n" for name, one in known.items()]
    about = f"Of ``search.api.{command.lower()}``; see ``{kind.__module__}.{kind.__name__}``."
    return f'\n\nclass {command}Keywords(TypedDict, total=False):\n    """{about}"""\n\n{"".join(lines)}'


def _is_needed(command: str, option: Option, known: Mapping[str, Option]) -> bool:
    """Whether a call needs it, whatever a file of settings may hold; ``predict`` returns what its command writes."""
    return option.needed and "config" not in known and (command, option.field) != ("Predict", "out")


def _type(option: Option, *, needed: bool) -> str:
    """None stands for the default."""
    kinds = [kind for kind in get_args(option.type) or (option.type,) if kind is not type(None)]
    if option.type in TYPES:
        kinds = [option.type]
    told = " | ".join(dict.fromkeys(TYPES.get(kind, "Text") for kind in kinds))
    return f"Required[{told}]" if needed else f"{told} | None"


if __name__ == "__main__":
    PLACE.write_text(written(), encoding="utf-8")
