"""What parameters of models may be in one search, as ``--set`` and a file of ``--space`` say it."""

import json
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeGuard

from data_utils.command import did_you_mean
from data_utils.files import shown
from models._errors import ModelError
from models._foreign import is_foreign
from models._registry import load_model, parameter_names
from search.command._arguments import NONE, model_name
from search.command._flags import Asked
from search.command.settings_file import read_toml

Value: TypeAlias = bool | float | str
_FORMS = "give MODEL.PARAMETER=VALUE, =LOW..HIGH or =A/B/C, commas between; where one model is searched, MODEL. may go"
_SET = "--set"


@dataclass(frozen=True)
class Extent:
    """What one parameter may be.

    Attributes:
        model: whose; "" where it is not named, as only one is searched.
        parameter: its name.
        values: the one that it keeps, several to choose from, or the two ends of a range.
        ranged: whether they are the ends of a range.
        where: it was said, for messages.
    """

    model: str
    parameter: str
    values: tuple[Value, ...]
    ranged: bool = False
    where: str = field(default=_SET, compare=False)

    def __str__(self) -> str:
        """As it is typed after ``--set``."""
        place = f"{self.model}." if self.model else ""
        return f"{place}{self.parameter}={('..' if self.ranged else '/').join(map(str, self.values))}"


def assignments(models: Sequence[str]) -> Callable[[str], tuple[Extent, ...]]:
    """Extents of parameters, "MODEL.PARAMETER=VALUE" with commas between them."""

    def one(text: str) -> Extent:
        found = re.fullmatch(r"\s*(?:([^=]+?)\s*\.)?\s*([^.:=]+?)\s*=\s*(.+?)\s*", text)
        if found is None:
            raise ArgumentTypeError(f"{text!r} is not understood; {_FORMS}")
        return _extent(found[1] and model_name(*models)(found[1]), found[2], found[3])

    return lambda text: () if text == NONE else tuple(one(part) for part in text.split(","))


def settle_space(asked: Asked[Any], models: Sequence[str]) -> None:
    """Takes what a file of ``--space`` says beside ``--set``, which goes before it, and names the model everywhere.

    Refuses an extent of a model that is not searched, and two of one parameter. Where models are typed, extents that a
    file of settings has for others are of another search; a file of ``--space`` may name any model.
    """
    values, searched = asked.values, asked.values["models"]
    said = [_of_a_model(one, searched, asked.refuse) for one in values["space"]]
    if asked.typed("models") and not asked.typed("space"):
        said = [one for one in said if one.model in searched]
    for one in said:
        _check(one, said, searched, asked.refuse)
    path, values["space_file"] = values["space_file"], None  # what it says stands in the settings from here on
    listed = [] if path is None else [_of_a_model(one, searched, asked.refuse) for one in _read(path, models, asked)]
    named = {(one.model, one.parameter) for one in said}
    kept = [one for one in listed if one.model in searched and (one.model, one.parameter) not in named]
    values["space"] = (*kept, *said)


def _of_a_model(one: Extent, searched: Sequence[str], refuse: Callable[..., NoReturn]) -> Extent:
    if not one.model and len(searched) > 1:
        forms = " or ".join(f"{model}.{one.parameter}" for model in searched)
        refuse(f"{one.where} {one.parameter}: {len(searched)} models are searched; say which, as {forms}", *_about(one))
    return one if one.model else replace(one, model=searched[0])


def _about(one: Extent) -> tuple[str, ...]:
    """The field that a refusal is about; none for what a file of ``--space`` says, which names itself."""
    return ("space",) if one.where == _SET else ()


def _check(one: Extent, said: Sequence[Extent], searched: Sequence[str], refuse: Callable[..., NoReturn]) -> None:
    place = f"{one.where} {one.model}.{one.parameter}"
    if one.model not in searched:
        names = ", ".join(searched)
        refuse(f"{place}: only {names} is searched; name {one.model} in --model as well", "space")
    if [(other.model, other.parameter) for other in said].count((one.model, one.parameter)) > 1:
        refuse(f"{place}: is given twice; give each parameter one value, range or choice", "space")


def _read(path: Path, models: Sequence[str], asked: Asked[Any]) -> list[Extent]:
    """The extents of a file: a table for each model, or none where one is searched."""
    found = []
    try:
        for title, table in _tables(read_toml(path, asked.refuse, "a file of --space (docs/runs.md)"), ""):
            model, searched = title and model_name(*models)(title), asked.values["models"]
            if model and model not in searched:
                _check_not_searched(model, table, models, searched)
            for parameter, value in table.items():
                one = _extent(model, parameter, _as_text(parameter, value))
                found.append(replace(one, where=f"--space {path}:"))
    except ArgumentTypeError as error:
        asked.refuse(f"--space {path}: {error}")
    return found


def _tables(content: Mapping[str, Any], title: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(title, values) of tables within tables, empty ones too: a model of another package has dots in its name."""
    values = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
    if values or not content:
        yield title, values
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _tables(value, f"{title}.{key}" if title else key)


def _check_not_searched(model: str, table: Iterable[str], models: Sequence[str], searched: Sequence[str]) -> None:
    """A file may name models that this search leaves out, but none that there are not.

    Raises:
        ArgumentTypeError: there is no such model, or it has no such parameter.
    """
    within = model.partition(".")[0]
    try:
        known = (not is_foreign(model) and parameter_names(model)) or load_model(model).default
    except ModelError as error:
        if within in models:
            raise ArgumentTypeError(
                f"[{shown(model)}]: {within} has parameters and no tables of them; write what it is to search into "
                f"[{within}]"
            ) from error
        close = did_you_mean(model, searched) or "."
        raise ArgumentTypeError(f"[{shown(model)}] names no model that is searched{close} {error}") from error
    for name in table:
        if name not in known:
            raise ArgumentTypeError(
                f"{model}.{shown(name)} is no parameter of this model{did_you_mean(name, known)}; its parameters are "
                f"{', '.join(known)}"
            )


def _as_text(parameter: str, value: Any) -> str:
    """A value of TOML as it is typed; of a list each.

    Raises:
        ArgumentTypeError: of another kind, or of signs that are typed between values.
    """
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, bool | int | float | str) for part in parts):
        raise ArgumentTypeError(f"{parameter} = {value} is no value, no list of values and no range like '0.1..0.4'")
    if any(sign in part for part in parts if isinstance(part, str) for sign in ",/\n"):
        raise ArgumentTypeError(f"{parameter} = {value}: a value with a comma or a slash cannot be told from two")
    return "/".join(map(str, parts))


def _extent(model: str | None, parameter: str, text: str) -> Extent:
    """One by what stands behind its "=".

    Raises:
        ArgumentTypeError: a range has no numbers for ends, or they are turned round.
    """
    ends = text.split("..", 1)
    if len(ends) == 1:
        return Extent(
            model or "", parameter, tuple(dict.fromkeys(_plain_value(part.strip()) for part in text.split("/")))
        )
    low, high = map(_plain_value, map(str.strip, ends))
    if not _is_number(high) or not (_is_number(low) or low == NONE):
        raise ArgumentTypeError(f"{parameter}={text} is no range; give two numbers, like 0.1..0.4")
    if _is_number(low) and low > high:
        raise ArgumentTypeError(f"{parameter}={text} is turned round; give the lower end first, {high}..{low}")
    return Extent(model or "", parameter, (low,) if low == high else (low, high), ranged=low != high)


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain_value(text: str) -> Value:
    """A number, true or false; any other text stands for itself."""
    try:
        value = json.loads(text.lower())
        return value if isinstance(value, bool | int | float) and math.isfinite(value) else text
    except (ValueError, RecursionError, OverflowError):  # the last of a whole number that no float can hold
        return text
