"""A run as a file: the settings that a launch or a finalize used, as TOML that ``--config`` takes again.

A key is a flag without its dashes, and its value is read as if it had been typed, so that the same ranges hold. One
file serves all commands: what another one alone has is looked at, and passed over.
"""

import shlex
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from data_utils.command import did_you_mean, one_line, worded
from search import __version__
from search.command._flags import Option, command_of, options
from studies.files import write_whole
from studies.secrets import bare, masked

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LARGEST = 2**16  # bytes; a whole one has 2,000
_LIKE = "a file of settings like runs/NAME/launch.toml"


def read_settings(path: Path, known: Iterable[Option], refuse: Callable[[str], NoReturn]) -> dict[str, Any]:
    """Field -> value of a file, of flags that are ``known``: the first of each key.

    ``refuse`` ends the command with one line.
    """
    by_key: dict[str, Option] = {}
    for option in known:
        by_key.setdefault(option.key, option)
    found = {}
    for key, value in read_toml(path, refuse, _LIKE).items():
        if key not in by_key:
            close = did_you_mean(key, [key for key, option in by_key.items() if option.flag.kept])
            refuse(f"{path}: {key} is no setting{close}; a key is an option of --help without its --")
        try:
            found[by_key[key].field] = _read(by_key[key], value)
        except ArgumentTypeError as error:
            refuse(f"{path}: {key}: {masked(str(error))}")
    return found


def read_toml(path: Path, refuse: Callable[[str], NoReturn], like: str) -> dict[str, Any]:
    """What TOML says; whatever is wrong with the file is one line, which says what it should be ``like``."""
    import tomllib  # --help does without

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            refuse(f"{path} is larger than {_LARGEST} bytes; give {like}")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        refuse(f"{path} cannot be read ({error.strerror}); check the path")
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError, a number of 5,000 digits
        refuse(f"{path} is no TOML ({error}); mend it, or give {like}")


def _read(option: Option, value: Any) -> Any:
    """A value of TOML as the flag reads it.

    Raises:
        ArgumentTypeError: of another type than the flag's, or refused by it.
    """
    kind = option.flag.kind
    if not option.flag.kept:
        raise ArgumentTypeError(f"is said on the command line alone; give {option.name} there")
    if kind is None:
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{value!r} is neither true nor false")
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    listed = isinstance(value, list) and value and all(type(part) in (str, int) for part in value)
    if not (number or listed or isinstance(value, str)):
        raise ArgumentTypeError(f"{value} is neither text nor a number nor a list of them; see {option.name} in --help")
    read = kind(option.flag.between.join(map(str, value)) if listed else str(value))
    if isinstance(value, str) and isinstance(read, int | float):
        raise ArgumentTypeError(f"{value!r} is text where a number is expected; write it without quotes")
    if number and not isinstance(read, int | float):
        raise ArgumentTypeError(f"{value!r} is a number where text is expected; write it in quotes")
    if listed and not isinstance(read, tuple):
        raise ArgumentTypeError(f"{value!r} is a list where a single value is expected; write it without brackets")
    return read


def write_settings(path: Path, settings: "DataclassInstance", typed: str, told: Iterable[str] = ()) -> None:
    """Writes the settings that a command really used, whole or not at all, over those of the run before.

    Those of earlier runs stay in the logs as the commands that were typed; the file is of the last one.

    Args:
        path: like runs/NAME/launch.toml.
        settings: with everything settled; what was left open stays out, and so does every password.
        typed: the command line.
        told: what no setting says, for who reads the file.

    Raises:
        NotWrittenError: the disk is full, or nothing may be written there.
    """
    write_whole(path, "\n".join((*_text(path, settings, typed), *(f"# {one}\n" for one in told))))


def _text(path: Path, settings: "DataclassInstance", typed: str) -> Iterator[str]:
    import tomli_w

    command = command_of(type(settings))
    yield f"# The settings of the last search.{command} in this folder, defaults included (HistoTune {__version__})."
    yield f"# Typed was: {one_line(typed)}"
    again = worded(f"python -m search.{command} --config {one_line(shlex.quote(str(path)))}")
    if command == "launch":
        yield f"# To repeat it under another name: {again} --study NEW"
    else:
        yield f"# To do so again: {again}"
    yield "# What is typed goes before this file. Paths are from the folder in which it ran; no password is kept here:"
    yield "# a database that needs one takes it from $HISTOTUNE_STORAGE, where that is otherwise this URL.\n"
    values = _flat(settings)
    every = [option for option in options(type(settings)) if option.flag.kept]
    chosen = [option for option in every if option.default is None and values[option.field] is not None]
    out = {field for option in chosen for field in option.flag.instead_of}  # published lists leave no draw
    for group, members in groupby(every, lambda option: option.group):
        kept = {option.key: _plain(option, values[option.field]) for option in members if option.field not in out}
        table = {key: value for key, value in kept.items() if value not in (None, "")}
        lost = [key for key, value in table.items() if not _is_text(str(value))]
        if table:
            yield f"# {group.title}"
            yield from (f"# {key} is no text that TOML could hold: give it on the command line" for key in lost)
            yield tomli_w.dumps({key: value for key, value in table.items() if key not in lost})


def _is_text(value: str) -> bool:
    """Whether it can be written: a file's name need not be UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flat(settings: "DataclassInstance") -> dict[str, Any]:
    """Field -> value, of the settings and of those within them."""
    flat: dict[str, Any] = {}
    for part in fields(settings):
        value = getattr(settings, part.name)
        flat |= _flat(value) if is_dataclass(value) and not isinstance(value, type) else {part.name: value}
    return flat


def _plain(option: Option, value: Any) -> Any:
    """A value as TOML has it; of several parts as it is typed."""
    if option.field == "storage":
        return bare(value)
    if isinstance(value, tuple):
        return option.flag.between.join(map(str, value))
    return str(value) if isinstance(value, Path) else value
