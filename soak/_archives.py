"""Malformed tars, made of valid ones, from bytes to bytes; zips are in ``_mutations``.

Each mutator draws from the ``random.Random`` that it is given, so that a seed stands for an input.
"""

import gzip
import re
import tarfile
from random import Random

from soak._changes import INTERESTING, any_bytes

_PICTURE = "S0001/0/S0001_idx5_x9001_y1_class0.png"
_HEADER = 512
_FIELDS = ((0, 100), (100, 8), (124, 12), (148, 8), (156, 1), (157, 100), (257, 8), (345, 155), (386, 12), (482, 1))
"""(offset, bytes) in a header: name, mode, size, checksum, type, target, magic, prefix, a sparse place, more."""


def tar_bytes(rng: Random, content: bytes) -> bytes:
    """A tar whose headers claim something else than it holds, or that holds something else."""
    how = rng.random()
    if how < 0.25:
        return any_bytes(rng, content)
    if how < 0.5:
        return rng.choice(_TARS)(rng, content)
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        _field(rng, changed)
    return bytes(changed)


def tgz_bytes(rng: Random, content: bytes) -> bytes:
    """A compressed tar that is damaged, or one of a damaged tar."""
    how = rng.random()
    if how < 0.3:
        return any_bytes(rng, content)
    if how < 0.35:
        return gzip.compress(bytes(2**27), 1, mtime=0)
    return gzip.compress(tar_bytes(rng, gzip.decompress(content)), 1, mtime=0)


def _field(rng: Random, content: bytearray) -> None:
    """Another value in a header, its checksum mostly right again."""
    places = [found.start() - 257 for found in re.finditer(b"ustar", content) if found.start() % _HEADER == 257]
    if not places:
        return
    at = rng.choice(places)
    offset, width = rng.choice(_FIELDS)
    number = rng.choice((*INTERESTING, -1, -(2**40)))
    value = rng.choice(
        (
            f"{abs(number):o}".encode(), b"\x80" + (number % 2**88).to_bytes(11, "big"), b"\xff" * 12, b"../up.png\0",
            b"/etc/up.png\0", b"a\\..\\x.png", b"\x1b[2J.png\0", b"LKxgS1236\0", rng.randbytes(width), bytes(width),
        )
    )  # fmt: skip
    content[at + offset : at + offset + width] = value[:width].ljust(width, b"\0")
    if rng.random() < 0.85 and offset != 148:
        header = bytes(content[at : at + 148]) + b" " * 8 + bytes(content[at + 156 : at + _HEADER])
        content[at + 148 : at + 156] = f"{sum(header):06o}\0 ".encode()


def _cut(rng: Random, content: bytes) -> bytes:
    """At the edge of a block, where nothing but the mark of the end is missing, or at any place."""
    return content[
        : rng.choice((_HEADER * rng.randrange(len(content) // _HEADER + 1), rng.randrange(len(content) + 1)))
    ]


def _link(rng: Random, content: bytes) -> bytes:
    kinds = (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE,
    )
    entry = tarfile.TarInfo(rng.choice((_PICTURE, "S0009/link.png", "../up.png")))
    entry.type, entry.linkname = rng.choice(kinds), rng.choice(("/etc/passwd", "..", _PICTURE))
    return _with(content, entry, b"")


def _long(rng: Random, content: bytes) -> bytes:
    """A name that claims to be longer than the tar, or chains of them."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type = rng.choice((tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE))
    records = rng.choice(
        (b"x" * 70_000, b"20 path=../../up.png\n", b"27 GNU.sparse.major=1\nx\n", b"16 size=99999\n", b"")
    )
    return _with(content, entry, records, times=rng.choice((1, 1, 2000)))


def _bomb(rng: Random, content: bytes) -> bytes:
    return _with(content, tarfile.TarInfo(_PICTURE), bytes(rng.choice((2**20, 2**24))))


def _empty(rng: Random, content: bytes) -> bytes:
    return rng.choice((b"", bytes(_HEADER), bytes(2**20), content[:_HEADER], b"PK\x03\x04" + content))


def _with(content: bytes, entry: tarfile.TarInfo, inside: bytes, times: int = 1) -> bytes:
    """One more file, or several headers, before all others."""
    entry.size = len(inside)
    padding = bytes(-len(inside) % _HEADER)
    return (entry.tobuf(tarfile.GNU_FORMAT) + inside + padding) * times + content


_TARS = (_cut, _link, _long, _bomb, _empty)
