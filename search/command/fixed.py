"""Parameters of models that keep one value, as ``--set`` takes them."""

import json
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_utils.command import one_of
from search.command._arguments import NONE


@dataclass(frozen=True)
class Fixed:
    """A parameter of a model that keeps one value."""

    model: str
    parameter: str
    value: bool | float | str

    def __str__(self) -> str:
        return f"{self.model}.{self.parameter}={self.value}"


def assignments(models: Sequence[str]) -> Callable[[str], tuple[Fixed, ...]]:
    """Values of parameters, "MODEL.PARAMETER=VALUE" with commas between them."""

    def one(text: str) -> Fixed:
        found = re.fullmatch(r"\s*([^.=]+?)\s*\.\s*([^.=]+?)\s*=\s*(.+?)\s*", text)
        if found is None:
            raise ArgumentTypeError(f"{text!r} is not understood; give MODEL.PARAMETER=VALUE, commas between")
        return Fixed(one_of(*models)(found[1]), found[2], _plain_value(found[3]))

    return lambda text: () if text == NONE else tuple(one(part) for part in text.split(","))


def _plain_value(text: str) -> bool | float | str:
    """A number, true or false; any other text stands for itself."""
    try:
        value = json.loads(text.lower())
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float) and math.isfinite(value) else text
