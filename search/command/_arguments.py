"""Reading arguments: the parser of ``data_utils.command`` as this package uses it, and the kinds of value it takes.

Standard library only, as ``--help`` and a refused argument should answer at once. A kind of value is a function from
text to value that raises ``argparse.ArgumentTypeError`` with what was found and what to give instead.
"""

import argparse
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn, TypeAlias, TypeVar

from data_utils.command import OneLineParser, did_you_mean, one_line, one_of, typed_path
from models._foreign import is_foreign, stored_name
from search import __version__
from search.errors import UsageError

EXIT_CODES = "Exit codes: 0 done; 1 failed; 2 bad input; 129, 130 or 143 interrupted, go on with the same command."
T = TypeVar("T")
_RAISES = ContextVar("raises", default=False)
Reader: TypeAlias = Callable[[str], T]
STORAGE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,9}\.?|\[?[0-9A-Fa-f:.]{2,45}\]?")
NO_FOLDER = re.compile(r"[?\x00-\x1f\x7f-\x9f\ud800-\udfff]")
ALL = "all"
FOLDERS = "folders"  # that of data_utils.split.split_file
LARGEST = 1e9
"""Of any number: 30 years in seconds, a million terabytes; beyond it clocks and allocators overflow."""


@contextmanager
def raising() -> Iterator[None]:
    """Within the block arguments that cannot be right raise a UsageError, and end no process."""
    before = _RAISES.set(True)
    try:
        yield
    finally:
        _RAISES.reset(before)


class Parser(OneLineParser):
    """The parser of a command of this package."""

    def __init__(self, command: str, description: str, usage: str = "[options]") -> None:
        super().__init__(f"search.{command}", description, epilog=EXIT_CODES, usage=f"%(prog)s {usage}", add_help=False)

    def parse(self, argv: Sequence[str] | None, needed: Sequence[str] = ()) -> argparse.Namespace:
        """As every command's."""
        self._add_about()
        return super().parse(argv, needed)

    def error(self, message: str) -> NoReturn:
        """Ends the process with one line, or raises it, where Python has called.

        Raises:
            UsageError: within ``raising``.
        """
        if _RAISES.get():
            raise UsageError(one_line(message.removeprefix("argument ")))
        super().error(message)

    def _add_about(self) -> None:
        about = self.add_argument_group("about")  # last, so that --help begins with what the command does
        about.add_argument("-h", "--help", action="help", help="show this text and stop")
        version = f"HistoTune {__version__}"
        about.add_argument("--version", action="version", version=version, help="show the version and stop")


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number in [low, high]."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is out of range; give a whole number from {low} to {high}")
        return value

    return read


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not finite; leave the option out for no limit")
    if abs(value) > LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is too large; leave the option out for no limit")
    return value


def _number(holds: Callable[[float], bool], otherwise: str, read: Reader[float] = _finite) -> Reader[float]:
    """A finite number of which something holds; else it is refused with what it ``otherwise`` is."""

    def checked(text: str) -> float:
        value = read(text)
        if not holds(value):
            raise argparse.ArgumentTypeError(f"{text} {otherwise}")
        return value

    return checked


positive = _number(lambda value: value > 0, "is too small; give a number above 0")
not_negative = _number(lambda value: value >= 0, "is too small; give a number from 0 on")
core_count = _number(
    lambda cores: 0.01 <= cores <= 4096, "is out of range; give a number of cores from 0.01 to 4096", positive
)
"""CPU cores, or a share of one that Ray can still count."""
margin = _number(
    lambda gap: 0 < gap < 0.5, "is no margin of AUC; give a number above 0 and below 0.5, such as 0.02, or leave it out"
)
"""A difference of AUC; 0.5 is that of a perfect score and a random one."""
error_rate = _number(
    lambda rate: 0.001 <= rate < 0.5,
    "is no share of wrong calls; give a number from 0.001 on and below 0.5, such as 0.1",
)
"""The share of patches that may be called wrongly."""
_share_of_a_gpu = _number(
    lambda share: 0.0001 <= share <= 1 or (0 <= share <= 1024 and share.is_integer()),
    "is no share of GPUs; give 0 to 1, or a whole number",
)


def gpu_share(text: str) -> float | str:
    """A share of one GPU in [0, 1], a whole number of GPUs (Ray divides one GPU, but not three into two), or "auto"."""
    return text if text == "auto" else _share_of_a_gpu(text)


def worker_count(text: str) -> int | None:
    """A number of workers; None for "auto"."""
    return None if text == "auto" else whole(1, 4096)(text)


def parts(text: str) -> tuple[int, int, int]:
    """Percent of patients for train, validation and test: "70/15/15"."""
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{1,2})", text, re.ASCII)
    shares = tuple(int(share) for share in found.groups()) if found else ()
    if len(shares) != 3 or sum(shares) != 100 or min(shares) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a split; give percent of train, validation and test, which add up to 100, like 70/15/15"
        )
    return shares


def _text(holds: Callable[[str], object], otherwise: str, kind: Reader[T]) -> Reader[T]:
    """A text of which something holds, as a ``kind``; else it is refused with what it ``otherwise`` is."""

    def checked(text: str) -> T:
        if not holds(text):
            raise argparse.ArgumentTypeError(f"{text!r} {otherwise}")
        return kind(text)

    return checked


def _path(holds: Callable[[str], object], otherwise: str, kind: Reader[T]) -> Reader[T]:
    """A path of which something holds, as ``_text``; ~ is the user's home."""
    checked = _text(holds, otherwise, kind)
    return lambda text: checked(typed_path(text))


study_name = _text(
    lambda text: NAME.fullmatch(text) and not text.startswith("studies.db"),
    "is not a study name; give up to 80 letters, digits, dots, dashes or underscores, "
    "a letter or digit first, and not studies.db",
    str,
)
"""A name that is safe as a folder and in a database."""
host_name = _text(HOST.fullmatch, "is no name or address of a machine; give one like 127.0.0.1", str)
# os.path below, as Path raises for a name that is too long
existing_file = _path(os.path.isfile, "is not a file; check the path", Path)
split_source = _path(
    lambda text: text == FOLDERS or os.path.exists(text),  # noqa: PTH110 - see above
    f"does not exist; check the path, or say {FOLDERS}",
    str,
)
"""A file or folder with lists of patients, or the word for the folders of the patches."""
folder = _path(
    lambda text: text.strip() and not NO_FOLDER.search(text) and not _is_other(text),
    "cannot be a folder; give a path in plain text, without ?",
    Path,
)
"""A folder, which need not be there yet; without the signs that mean something else in a database URL."""
new_file = _path(
    lambda text: text.strip() and _is_free(text) and not _is_other(os.path.dirname(text) or "."),  # noqa: PTH120
    "cannot be written as a file; give a path in a folder",
    lambda text: Path(os.path.realpath(text) if os.path.islink(text) else text),  # noqa: PTH114
)
"""A file that is to be made, or written over. What is no file, or a link, would be replaced: /dev/null for everyone."""


def study_name_of(data: str) -> str:
    """The name that a comparison on ``data`` takes by default: "synthetic:600" -> "synthetic-600"."""
    name = Path(data).name or Path(data).resolve().name
    stem = re.sub(r"\.(zip|npy|npz|h5|hdf5|csv|tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:80]
    return safe if safe and not safe.startswith("studies.db") else "data"


def storage_url(text: str) -> str:
    """A database URL of a kind that the project is tested on. Never quoted whole: it may hold a password."""
    scheme, colon, _ = text.partition("://")
    if not colon:
        raise argparse.ArgumentTypeError(
            "not a database URL; give one like sqlite:///runs/studies.db or postgresql://user:password@host/name"
        )
    if scheme not in STORAGE_SCHEMES:
        raise argparse.ArgumentTypeError(
            f"{scheme!r} is no database that is known here{did_you_mean(scheme, STORAGE_SCHEMES)} "
            f"(one of {', '.join(STORAGE_SCHEMES)})"
        )
    before, slashes, path = text.partition(":///")
    return f"{before}{slashes}{typed_path(path)}" if before == "sqlite" else text


def some_text(text: str) -> str:
    """Anything but nothing."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; say something, or leave the option out")
    return text


def data_source(text: str) -> str:
    """Where patches are: a path, or "synthetic:600"."""
    return typed_path(some_text(text))


def _is_free(text: str) -> bool:
    """Whether nothing is there, or a plain file."""
    return os.path.isfile(text) or not os.path.lexists(text)  # noqa: PTH113 - see above


def _is_other(text: str) -> bool:
    """Whether something that is no folder is there, or a name that no folder can have."""
    try:
        return os.path.lexists(text) and not os.path.isdir(text)  # noqa: PTH112 - see above
    except ValueError:
        return True


def _answers(text: str) -> bool:
    host, _, port = text.rpartition(":")
    known = HOST.fullmatch(host) and re.fullmatch(r"[0-9]{1,5}", port)
    return text == "auto" or (known is not None and 0 < int(port) < 2**16)


ray_address = _text(
    _answers,
    "is no address of a Ray; give auto or HOST:PORT, on a machine of that Ray and without ray://",
    str,
)


def weights_source(text: str) -> str:
    """A file with weights, or "torchvision", or "none"."""
    words = ("torchvision", "none")
    if text in words or os.path.isfile(path := typed_path(text)):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        return text if text in words else path
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither a file nor one of {', '.join(words)}{did_you_mean(text, words)}"
    )


NONE = "none"
"""Takes back what a file of settings has, where the default is nothing."""


def or_none(kind: Reader[T]) -> Reader[T | None]:
    """As ``kind``; None for "none"."""
    return lambda text: None if text == NONE else kind(text)


def several(*names: str) -> Reader[tuple[str, ...]]:
    """Any of ``names``, with commas between them, once each and in the order of ``names``."""
    one = one_of(*names)

    def read(text: str) -> tuple[str, ...]:
        typed = {one(part.strip()) for part in text.split(",")} if text != NONE else ()
        return tuple(name for name in names if name in typed)

    return read


def model_names(*names: str) -> Reader[tuple[str, ...]]:
    """One or more models, with commas between them, once each and in the order typed; "all" for all of ``names``."""
    one = model_name(*names, ALL)

    def read(text: str) -> tuple[str, ...]:
        typed = [one(part.strip()) for part in text.split(",")]
        return tuple(dict.fromkeys(name for word in typed for name in (names if word == ALL else (word,))))

    return read


def model_name(*names: str) -> Reader[str]:
    """One of ``names``, or a model of another package as "package.module:MODEL", whose colon becomes a dot."""
    known = one_of(*names)

    def read(text: str) -> str:
        if not is_foreign(text):
            return known(text)
        if (name := stored_name(text)) is None:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no model of another package; give package.module:MODEL, of letters, digits, underscores"
            )
        return name

    return read
