"""Malformed pictures, made of valid ones, from bytes to bytes; PNG files are in ``_mutations``.

Each mutator draws from the ``random.Random`` that it is given, so that a seed stands for an input.
"""

import struct
from random import Random

from soak._changes import INTERESTING, any_bytes
from soak._mutations import png_bytes


def picture_bytes(rng: Random, content: bytes) -> bytes:
    """A picture of any form, changed by the mutator of its form."""
    if content.startswith(b"\xff\xd8"):
        return jpeg_bytes(rng, content)
    return tiff_bytes(rng, content) if content.startswith(b"II") else png_bytes(rng, content)


def jpeg_bytes(rng: Random, content: bytes) -> bytes:
    """A JPEG file that ends early, with or without the mark of its end, or whose segments say something else."""
    how = rng.random()
    if how < 0.2:
        return any_bytes(rng, content)
    if how < 0.6:
        return content[: rng.randrange(len(content))] + rng.choice((b"", b"\xff\xd9", b"\xff\xd9", b"\xff\xd0\xff\xd9"))
    segments = _segments(content)
    at = rng.randrange(len(segments))
    marker, body = segments[at]
    changed = bytearray(body)
    if changed:
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 2, 3, 4, 50, 127, 255))
    other = rng.choice(
        (marker, b"\xff\xc0", b"\xff\xc2", b"\xff\xc3", b"\xff\xc9", b"\xff\xdc", b"\xff\xdd", b"\xff\xfe")
    )
    new = rng.choice(([], [(marker, bytes(changed))], [(other, bytes(changed))], [(marker, body)] * 50))
    segments[at : at + 1] = new
    scan = content[content.index(b"\xff\xda") :]
    return b"\xff\xd8" + b"".join(kind + struct.pack(">H", len(text) + 2) + text for kind, text in segments) + scan


def _segments(content: bytes) -> list[tuple[bytes, bytes]]:
    """(marker, content) of each segment before the first scan."""
    found, at = [], 2
    while content[at : at + 2] != b"\xff\xda":
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        found.append((content[at : at + 2], content[at + 4 : end]))
        at = end
    return found


def tiff_bytes(rng: Random, content: bytes) -> bytes:
    """A TIFF file whose directory says something else than it holds."""
    if rng.random() < 0.3:
        return any_bytes(rng, content)
    changed = bytearray(content)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for _ in range(rng.randint(1, 2)):
        at = start + 2 + 12 * rng.randrange(count)
        offset, form = rng.choice(((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I"), (8, "<I")))
        values = (
            *INTERESTING,
            3,
            4,
            5,
            6,
            8,
            16,
            50,
            51,
            259,
            273,
            277,
            320,
            322,
            32773,
            32997,
            start,
            len(content) - 1,
        )
        struct.pack_into(form, changed, at + offset, rng.choice(values) % 2 ** (8 * struct.calcsize(form)))
    if rng.random() < 0.2:
        struct.pack_into("<I", changed, start + 2 + 12 * count, rng.choice((8, start, 2**32 - 1)))
    return bytes(changed)
