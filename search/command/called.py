"""What a function of ``search.api`` is given: keywords that are the flags of a command, and read as these are.

``trials=50`` is ``--trials 50``, so that its range, its default and what goes with what are told once, by the annotated
fields of the settings.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, TypeVar

from data_utils.command import did_you_mean, one_line
from search.command._arguments import raising
from search.command._flags import Option, command_of, options
from studies.secrets import masked

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings")
Function = TypeVar("Function", bound=Callable[..., Any])
OF_A_TERMINAL = {"dry_run", "json", "watch", "check"}
"""Fields that say what is printed, and where: no keywords."""
PROGRESS = "whether it shows what it does: a live view in a terminal, lines in a notebook or a file (default: True)"


def keywords(kind: type["DataclassInstance"]) -> dict[str, Option]:
    """The keywords of a command, in the order of --help."""
    return {one.key.replace("-", "_"): one for one in options(kind) if one.field not in OF_A_TERMINAL}


def takes(kind: type["DataclassInstance"], **otherwise: str) -> Callable[[Function], Function]:
    """Gives a function the signature of a command and, in its docstring, what each keyword does.

    Args:
        kind: the settings of the command.
        otherwise: keywords that it needs and the function does not, with what is so where they are not given.
    """
    known = {name: _not_needed(one, otherwise.get(name)) for name, one in keywords(kind).items()}

    def described(function: Function) -> Function:
        told = "".join(f"    {_named(name, option)}: {_about(option)}\n" for name, option in known.items())
        own = [one for name, one in signature(function).parameters.items() if name == "progress"]
        told += f"    progress: {PROGRESS}\n" * len(own)
        returns = "Returns:"
        summary, _, rest = (function.__doc__ or "").partition(returns)
        function.__doc__ = f"{_outdented(summary)}Args:\n{told}\n{returns}{_outdented(rest)}"
        given = [Parameter(name, Parameter.KEYWORD_ONLY, default=_default(one)) for name, one in known.items()]
        function.__signature__ = Signature([*given, *own])  # type: ignore[attr-defined]
        return function

    return described


def settings_of(
    parse: Callable[[Sequence[str]], Settings], kind: type["DataclassInstance"], given: Mapping[str, object]
) -> Settings:
    """The settings that these keywords ask for.

    Raises:
        TypeError: a keyword is none of the command, or has a value of a kind that none takes.
        UsageError: what the command would end with, in one line and with exit code 2.
    """
    with raising():
        return parse([*_typed(kind, given)])


def call_of(kind: type["DataclassInstance"], given: Mapping[str, object]) -> str:
    """The call, as it is typed in Python; for logs, reports and "go on with". Without passwords."""
    shown = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
    return one_line(f"search.api.{command_of(kind)}({shown})")


def _typed(kind: type["DataclassInstance"], given: Mapping[str, object]) -> Iterator[str]:
    """The same on a command line."""
    known = keywords(kind)
    for name, value in given.items():
        if name not in known:
            what = f"{command_of(kind)}() got an unexpected keyword argument {name!r}{did_you_mean(name, known)}"
            raise TypeError(what)
        flag, typed = known[name].flag, known[name].name
        if value is None or (flag.kind is None and value is False):
            continue
        if flag.kind is None and value is True:
            yield typed
        elif flag.many and isinstance(value, Sequence) and not isinstance(value, str):
            yield from (f"{typed}={_text(name, one)}" for one in value)
        else:
            yield f"{typed}={_joined(name, value, flag.between)}"


def _joined(name: str, value: object, between: str) -> str:
    """A value as one text: a sequence with its sign between, a mapping as NAME=VALUE with commas."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(name, one)}" for key, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return between.join(_text(name, one) for one in value)
    return _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, str) or (
        hasattr(value, "__float__") and not hasattr(value, "__len__")
    ):  # NumPy's numbers, too
        return str(value)
    raise TypeError(f"{name} is a {type(value).__name__}; give text, a number, a path, or several of these")


def _shown(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fsdecode(value)
    return masked(repr(value))


def _default(option: Option) -> Any:
    """As it would be given: a path is text. None where a command finds the value by itself."""
    default = Parameter.empty if option.needed else option.default
    return os.fsdecode(default) if isinstance(default, os.PathLike) else default


def _not_needed(option: Option, note: str | None) -> Option:
    return option if note is None else replace(option, flag=replace(option.flag, note=note), default=None)


def _named(name: str, option: Option) -> str:
    """A keyword with what stands for its value, which names the unit of a number."""
    return f"{name} (``{option.flag.metavar}``)" if option.flag.metavar else name  # a link to nothing, unless literal


def _about(option: Option) -> str:
    note = f" ({option.note})" if option.note else ""
    return one_line(f"{option.flag.help}{note}")


def _outdented(text: str) -> str:
    """Of a docstring, all but its first line is as far in as the function's body."""
    return "\n".join(line.removeprefix("    ") for line in text.split("\n"))
