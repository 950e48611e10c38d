"""Changes that know nothing of a format: bytes flipped, cut and overwritten; pipes and links in the place of files.

Each draws from the ``random.Random`` that it is given, so that a seed stands for an input.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from random import Random

INTERESTING = (
    0,
    1,
    2,
    7,
    127,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    10 * 2**30,
    2**63 - 1,
    2**64 - 1,
)
TEXTS = (
    "", " ", "\0", "\n", "\x1b[2J", "\ud800", "é" * 50, "x" * 5000, "../../../etc/passwd", "/etc/passwd", "C:\\x", "~",
    "~nobody-at-all/x", "nan", "-1", "1e999", "0x10", "٣", "9" * 5000, "NaN", "null", "None", "${HOME}", "%s%n", "'--",
)  # fmt: skip


@dataclass(frozen=True)
class Special:
    """Something in the place of a file: "pipe", "socket", "folder", "link" to a target, "holes" of a size."""

    kind: str
    target: str = ""
    size: int = 0


Files = dict[str, bytes | Special]


def place_files(files: Files, folder: Path) -> None:
    """Writes an input into an empty folder."""
    for name, content in files.items():
        path = os.path.join(os.fsencode(folder), os.fsencode(name))  # noqa: PTH118 - names that are no text
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        if isinstance(content, bytes):
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(content)
        else:
            _place_special(content, path)


def _place_special(special: Special, path: bytes) -> None:
    if special.kind == "pipe":
        os.mkfifo(path)
    elif special.kind == "folder":
        os.mkdir(path)  # noqa: PTH102
    elif special.kind == "link":
        os.symlink(special.target, path)  # noqa: PTH211
    elif special.kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)  # a bound one could not have so long a name
    else:
        with open(path, "wb") as file:  # noqa: PTH123
            file.truncate(special.size)


def any_bytes(rng: Random, content: bytes) -> bytes:
    """One to four changes of bytes: flipped, cut, doubled, moved, overwritten by numbers, spliced."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        _CHANGES[rng.randrange(len(_CHANGES))](rng, changed)
    return bytes(changed)


def _flip(rng: Random, content: bytearray) -> None:
    for _ in range(rng.randint(1, 8)):
        if content:
            content[_near_an_end(rng, len(content))] ^= 1 << rng.randrange(8)


def _cut(rng: Random, content: bytearray) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _drop(rng: Random, content: bytearray) -> None:
    at = rng.randrange(len(content) + 1)
    del content[at : at + rng.choice((1, 2, 4, 16, 100))]


def _double(rng: Random, content: bytearray) -> None:
    at = rng.randrange(len(content) + 1)
    content[at:at] = content[at : at + rng.choice((1, 4, 30, 1000))] * rng.choice((1, 2, 50))


def _number(rng: Random, content: bytearray) -> None:
    width = rng.choice((1, 2, 4, 8))
    if len(content) >= width:
        at = min(_near_an_end(rng, len(content)), len(content) - width)
        number = rng.choice(INTERESTING) % 2 ** (8 * width)
        content[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))


def _splice(rng: Random, content: bytearray) -> None:
    from_, to, length = (rng.randrange(len(content) + 1) for _ in range(3))
    content[to : to + length] = content[from_ : from_ + length]


def _noise(rng: Random, content: bytearray) -> None:
    at = rng.randrange(len(content) + 1)
    content[at:at] = rng.randbytes(rng.choice((1, 4, 64)))


def _near_an_end(rng: Random, length: int) -> int:
    """A place in a file, mostly near its beginning or its end, where headers are."""
    reach = rng.choice((32, 128, length))
    return rng.choice((rng.randrange(min(reach, length)), length - 1 - rng.randrange(min(reach, length))))


_CHANGES = (_flip, _cut, _drop, _double, _number, _splice, _noise)


def any_file(rng: Random, files: Files) -> Files:
    """One file of the input is changed, missing, or something else stands in its place."""
    name = rng.choice(sorted(files))
    content = files[name]
    if rng.random() < 0.8 and isinstance(content, bytes):
        return files | {name: any_bytes(rng, content)}
    rest = {other: kept for other, kept in files.items() if other != name}
    return rest if rng.random() < 0.2 else rest | {name: special(rng)}


def special(rng: Random) -> Special | bytes:
    """Something that is no plain file of a size that can be read."""
    return rng.choice(
        (
            Special("pipe"), Special("socket"), Special("folder"), Special("holes", size=10 * 2**30), b"",
            Special("link", "/etc/passwd"), Special("link", "/dev/zero"), Special("link", "nowhere"),
            Special("link", ".."), Special("link", "/proc/self/mem"),
        )
    )  # fmt: skip
