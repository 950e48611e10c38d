"""A flag is told once: by the annotated field of a settings dataclass that it fills.

``trials: Annotated[int, Flag("N", whole(1, 1_000_000), "finished trials of each study")] = 50`` is ``--trials N`` with
its range, help and default. A field without a default is needed; one that is a dataclass brings its flags along.
"""

from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, get_args

from data_utils.command import one_of
from search.command._arguments import Parser

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


@dataclass(frozen=True)
class Flag:
    """What a field takes.

    Attributes:
        metavar: what stands for the value in --help.
        kind: reads the value; see ``search.command._arguments``. None for a switch.
        help: what it does.
        note: in brackets behind it; "" for the default, where that can be shown.
        name: as it is typed, where that is not the field's name; what has no dashes stands without a flag.
        choices: values to be completed.
        variable: of the environment, read where nothing else is given.
        alone: the value of a flag that stands there without one; None where it cannot.
        kept: whether a file of settings may hold it; not what belongs to a moment, or is a person's word.
        instead_of: fields of a file that do not go with it, where it is typed and no "none".
        between: sign between the parts of a value.
        many: whether several values may follow it; what was typed is a tuple of them.
        once: whether it is refused where it is typed twice: the first would be forgotten without a word.
    """

    metavar: str
    kind: Callable[[str], Any] | None
    help: str
    note: str = ""
    _: KW_ONLY
    name: str = ""
    choices: tuple[str, ...] = ()
    variable: str = ""
    alone: Any = None
    kept: bool = True
    instead_of: tuple[str, ...] = ()
    between: str = ","
    many: bool = False
    once: bool = False


def choice(purpose: str, *choices: str, **more: Any) -> Flag:
    """One of a few."""
    return Flag("NAME", one_of(*choices), f"{purpose}: {', '.join(choices)}", choices=choices, **more)


def switch(purpose: str, *, kept: bool = False) -> Flag:
    """On or off, in one run alone, or also in those that a file of settings repeats."""
    return Flag("", None, purpose, kept=kept)


@dataclass(frozen=True)
class Group:
    """A mark on a field: a group of --help begins with it. Flags of an exclusive one do not go together."""

    title: str
    exclusive: bool = False


@dataclass(frozen=True)
class Study:
    """A mark on a field that brings flags along: what --help notes on its --study."""

    note: str


class _Once(Action):
    """Keeps a value, and refuses a second one."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        if hasattr(namespace, self.dest):
            parser.error(f"{option_string} is given twice; give it once, with commas between its values")
        setattr(namespace, self.dest, values)


@dataclass(frozen=True)
class Option:
    """A flag where a command has it: the field that it fills, its default (MISSING where it is needed), its type."""

    field: str
    flag: Flag
    group: Group
    default: Any
    type: Any = str

    @property
    def name(self) -> str:
        """As it is typed."""
        return self.flag.name or f"--{self.field.replace('_', '-')}"

    @property
    def key(self) -> str:
        """As a file has it."""
        return self.name.removeprefix("--")

    @property
    def needed(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def note(self) -> str:
        """What --help has in brackets: mostly the default; "" where that is plain."""
        return self.flag.note or _shown(self.default, self.flag.between)

    def add_to(self, group: Any) -> None:
        """Has argparse know it, so that its namespace holds what was typed alone."""
        flag, note = self.flag, self.note
        about = {"dest": self.field, "default": SUPPRESS, "help": flag.help + (f" ({note})" if note else "")}
        if flag.kind is None:
            group.add_argument(self.name, action="store_true", **about)
            return
        if not self.name.startswith("-"):
            group.add_argument(metavar=self.name, type=flag.kind, **about)
            return
        alone = {} if flag.alone is None else {"nargs": "?", "const": flag.alone}
        alone |= {"nargs": "+"} if flag.many else {}
        action = _Once if flag.once else "extend" if flag.many else "store"
        group.add_argument(self.name, metavar=flag.metavar, type=flag.kind, action=action, **alone, **about)


def _shown(default: Any, between: str) -> str:
    if default is MISSING:
        return "needed"
    if default is None or default is False or default == ():
        return ""
    parts = default if isinstance(default, tuple) else (default,)
    return "default: " + between.join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)


def options(kind: type["DataclassInstance"]) -> Iterator[Option]:
    """The flags of a settings dataclass, in the order of --help."""
    group = Group("options")
    for part in fields(kind):
        marks = {type(mark): mark for mark in getattr(part.type, "__metadata__", ())}
        group = marks.get(Group, group)
        if (inner := _inner(part)) is not None:
            for option in options(inner):
                noted = option.field == "study" and Study in marks
                yield replace(option, flag=replace(option.flag, note=marks[Study].note)) if noted else option
        elif Flag in marks:
            yield Option(part.name, marks[Flag], group, part.default, get_args(part.type)[0])


def _inner(part: "Field[Any]") -> type["DataclassInstance"] | None:
    """The dataclass that a field is."""
    kind = get_args(part.type)[0] if hasattr(part.type, "__metadata__") else part.type
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def command_of(kind: type) -> str:
    """The command that a settings dataclass is of."""
    return kind.__name__.removesuffix("Settings").lower()


def purpose_of(kind: type) -> str:
    """What that command does, in a sentence."""
    return (kind.__doc__ or "").partition("\n")[0]


class Asked(Generic[Settings]):
    """What a command was asked to do.

    Attributes:
        given: field -> value, of flags, then of a file, then of variables.
        values: the same, with defaults; a command settles here what depends on other fields.
    """

    def __init__(self, kind: type[Settings], argv: Sequence[str] | None) -> None:
        """Reads what was typed; what cannot be right ends the process with one line and exit code 2."""
        self.kind, self.options = kind, tuple(options(kind))
        needed = [option for option in self.options if option.default is MISSING]
        usage = "".join(f"{option.name} {option.flag.metavar}".strip() + " " for option in needed)
        self._parser = Parser(command_of(kind), purpose_of(kind), f"{usage}[options]")
        groups: dict[Group, Any] = {}
        for option in self.options:
            if option.group not in groups:
                made = self._parser.add_argument_group(option.group.title)
                groups[option.group] = made.add_mutually_exclusive_group() if option.group.exclusive else made
            option.add_to(groups[option.group])
        typed = vars(self._parser.parse(argv))
        self.given: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in typed.items()}
        self._typed, self._file = set(self.given), ""

    def add_file(self, name: str, found: Mapping[str, Any]) -> None:
        """Takes a file's settings, but for what was typed and for what does not go with that."""
        typed = [option.flag.instead_of for option in self.options if self.given.get(option.field) is not None]
        out = self._typed.union(*typed)
        self._file, self.given = f"{name}: ", {key: found[key] for key in found.keys() - out} | self.given

    def complete(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """Reads variables for what is not given, and takes defaults for the rest."""
        for option in (option for option in self.options if option.field not in self.given):
            if option.default is MISSING:
                self.refuse(f"{option.name} is needed; --help shows what it takes")
            text = environ.get(option.flag.variable)
            if text and option.flag.kind:
                try:
                    self.given[option.field] = option.flag.kind(text)
                except ArgumentTypeError as error:
                    self.refuse(f"${option.flag.variable}: {error}")
        self.values = {option.field: option.default for option in self.options} | self.given
        return self.values

    def refuse(self, message: str, *about: str) -> NoReturn:
        """Ends the process with one line; it names the file where the fields that it is about all stand there."""
        self._parser.error(message if not about or self._typed.intersection(about) else f"{self._file}{message}")

    def typed(self, field: str) -> bool:
        """Whether a field was typed, not taken from a file or a variable."""
        return field in self._typed

    def settings(self) -> Settings:
        """What was asked for, filled in."""
        return _filled(self.kind, self.values)


def _filled(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    inner = {part.name: _inner(part) for part in fields(kind)}
    return kind(**{name: values[name] if of is None else _filled(of, values) for name, of in inner.items()})
