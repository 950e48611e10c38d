"""Makes malformed inputs of valid ones: one mutator for each format, from bytes to bytes.

Each draws from the ``random.Random`` that it is given, so that a seed stands for an input.
"""

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from soak._changes import INTERESTING, TEXTS, any_bytes

Mutate = Callable[[Random, bytes], bytes]


def npy_bytes(rng: Random, content: bytes) -> bytes:
    """An array whose header says something else than its values."""
    if rng.random() < 0.4 or content[:6] != b"\x93NUMPY":
        return any_bytes(rng, content)
    length = int.from_bytes(content[8:10], "little")
    header, values = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    for _ in range(rng.randint(1, 2)):
        header = rng.choice(_NPY_FIELDS)(rng, header)
    version = rng.choice((b"\x01\x00",) * 4 + (b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    claimed = rng.choice((len(header),) * 6 + INTERESTING)
    width = 2 if version == b"\x01\x00" else 4
    return (
        b"\x93NUMPY"
        + version
        + (claimed % 2 ** (8 * width)).to_bytes(width, "little")
        + header.encode("latin-1")
        + values
    )


_TYPES = (
    "|O", "<O8", "|u1", "<u1", ">u2", "<f8", "<f2", "<c16", "|S0", "|S5", "<U0", "<U1", ">U5", "<U999999",
    "|V0", "|V7", "<M8[ns]", "|b1", "<i8", "a5", "x9", "<U999999999",
)  # fmt: skip


def _npy_type(rng: Random, header: str) -> str:
    new = rng.choice(
        (*[f"'{one}'" for one in _TYPES], "[('a', '<i8'), ('b', '|O')]", "'i4,' * 9999", "(" * 300, "-" * 900 + "1")
    )
    return re.sub(r"'descr': (?:'[^']*'|\[.*\])", lambda _: f"'descr': {new}", header)


def _npy_shape(rng: Random, header: str) -> str:
    numbers = [str(rng.choice((*INTERESTING, 12, 50, 3, -1, 10**30))) for _ in range(rng.randrange(6))]
    joined = rng.choice(
        (", ".join(numbers) + ",", "12, 50, 50, 3", "12,", "", "1, " * 60, "9" * 400, "True,", "'12',", "12L,")
    )
    return re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': ({joined})", header)


def _npy_order(rng: Random, header: str) -> str:
    return header.replace("False", rng.choice(("True", "1", "None", "exit()")))


def _npy_text(rng: Random, header: str) -> str:
    return rng.choice(
        (header.strip(), header * 50, "{" + header, header.replace("'", '"'), "\\d" + header, "", "\0" * 50)
    )


_NPY_FIELDS = (_npy_type, _npy_shape, _npy_shape, _npy_order, _npy_text)


def zip_bytes(rng: Random, content: bytes) -> bytes:
    """A zip whose directory or local headers claim something else than it holds, or that holds something else."""
    if rng.random() < 0.25:
        return any_bytes(rng, content)
    if rng.random() < 0.25:
        return rng.choice(_ZIPS)(rng, content)
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        _zip_field(rng, changed)
    return bytes(changed)


_ZIP_FIELDS = {  # signature: (offset, bytes) of its fields
    b"PK\x01\x02": (
        (4, 2),
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (38, 4),
        (42, 4),
    ),
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x05\x06": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}


def _zip_field(rng: Random, content: bytearray) -> None:
    signature = rng.choice(list(_ZIP_FIELDS))
    places = [found.start() for found in re.finditer(re.escape(signature), content)]
    if not places:
        return
    place = rng.choice(places)
    if signature == b"PK\x01\x02" and rng.random() < 0.3:
        _zip_name(rng, content, place)
        return
    offset, width = rng.choice(_ZIP_FIELDS[signature])
    content[place + offset : place + offset + width] = (rng.choice(INTERESTING) % 2 ** (8 * width)).to_bytes(
        width, "little"
    )


def _zip_name(rng: Random, content: bytearray, place: int) -> None:
    length = int.from_bytes(content[place + 28 : place + 30], "little")
    name = rng.choice((b"../", b"/", b"..\\", b"C:/", b"\xff\xfe", b"\x00", b"\x1b[2J", b"a\nb", b".", b"//"))
    if rng.random() < 0.3:
        content[place + 9] |= 0x08  # names are UTF-8
    content[place + 46 : place + 46 + min(length, len(name))] = name[:length]


def _zip_bomb(rng: Random, content: bytes) -> bytes:
    """Zeros that unpack to a thousand times their size, in one member or in many."""
    return _more(
        content,
        [
            (f"S0001/0/S0001_idx5_x{number}_y1_class0.png", bytes(rng.choice((2**20, 2**24))))
            for number in range(rng.choice((1, 8)))
        ],
    )


def _zip_nested(rng: Random, content: bytes) -> bytes:
    return _more(b"", [("inner.zip", content), ("S0001/0/S0001_idx5_x1_y1_class0.png", rng.choice((content, b"")))])


def _zip_overlapping(rng: Random, content: bytes) -> bytes:
    """Every member of the directory points to the same bytes."""
    changed = bytearray(content)
    places = [found.start() for found in re.finditer(b"PK\x01\x02", content)]
    chosen = rng.choice(places) if places else 0
    for place in places:
        changed[place + 42 : place + 46] = content[chosen + 42 : chosen + 46]
    return bytes(changed)


def _zip_link(rng: Random, content: bytes) -> bytes:
    info = zipfile.ZipInfo(rng.choice(("S0001/0/S0001_idx5_x1_y1_class0.png", "S0009/link.png", "../up.png")))
    info.external_attr = rng.choice((0o120777, 0o010644, 0o060644, 0o040755)) << 16
    return _more(content, [(info, b"/etc/passwd")])


def _zip_names(rng: Random, content: bytes) -> bytes:
    name = rng.choice(
        (
            "../x.png",
            "/x.png",
            "a/../../x.png",
            "..\\x.png",
            "C:x.png",
            "S1/0/\x07.png",
            "x" * 60_000 + ".png",
            "é/\u202e.png",
        )
    )
    return _more(content, [(name, b"x")])


def _zip_empty(rng: Random, content: bytes) -> bytes:
    return rng.choice(
        (b"PK\x05\x06" + bytes(18), content[-22:], b"PK\x05\x06" + b"\xff" * 18, b"PK\x03\x04", _more(b"", []))
    )


def _more(content: bytes, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    target = io.BytesIO(content)
    with zipfile.ZipFile(target, "a" if content else "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inside in members:
            archive.writestr(name, inside)
    return target.getvalue()


_ZIPS = (_zip_bomb, _zip_nested, _zip_overlapping, _zip_link, _zip_names, _zip_empty)


def png_bytes(rng: Random, content: bytes) -> bytes:
    """A PNG file with changed chunks, their checksums right again."""
    if rng.random() < 0.4 or content[:4] != b"\x89PNG":
        return any_bytes(rng, content)
    chunks = _chunks(content)
    for _ in range(rng.randint(1, 2)):
        rng.choice(_PNG_CHANGES)(rng, chunks)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def _png_header(rng: Random, chunks: list[tuple[bytes, bytes]]) -> None:
    sides = rng.choice(((2**31 - 1, 2**31 - 1), (30_000, 30_000), (0, 50), (50, 0), (50, 49), (50, 50)))
    depth, colours = rng.choice((1, 2, 4, 8, 16, 99)), rng.choice((0, 2, 3, 4, 6, 7))
    header = (b"IHDR", struct.pack(">IIBBBBB", *sides, depth, colours, rng.choice((0, 0, 1)), 0, rng.choice((0, 1, 9))))
    at = rng.choice((0, 0, len(chunks) // 2))
    chunks[at : at + rng.choice((0, 1))] = [header]


def _png_text(rng: Random, chunks: list[tuple[bytes, bytes]]) -> None:
    bomb = zlib.compress(bytes(rng.choice((10, 2**20, 2**24))))
    kind, start = rng.choice(
        (
            (b"zTXt", b"k\0\0"),
            (b"iTXt", b"k\0\1\0\0\0"),
            (b"iCCP", b"k\0\0"),
            (b"tEXt", b"k\0"),
            (b"acTL", b"\0\0\0\2"),
            (b"PLTE", b""),
        )
    )
    chunks[1:1] = [(kind, start + bomb)] * rng.choice((1, 1, 80))


def _png_data(rng: Random, chunks: list[tuple[bytes, bytes]]) -> None:
    at = rng.randrange(len(chunks) or 1)
    new = rng.choice((b"", zlib.compress(bytes(10)), zlib.compress(bytes(2**24)), rng.randbytes(50)))
    chunks[at : at + 1] = [(chunks[at][0] if chunks else b"IDAT", new)]


def _png_drop(rng: Random, chunks: list[tuple[bytes, bytes]]) -> None:
    if chunks:
        del chunks[rng.randrange(len(chunks))]


def _png_kind(rng: Random, chunks: list[tuple[bytes, bytes]]) -> None:
    at = rng.randrange(len(chunks) or 1)
    chunks[at : at + 1] = [
        (rng.choice((b"fcTL", b"fdAT", b"IEND", b"IDAT", b"tRNS", b"\0\0\0\0", b"CgBI")), rng.randbytes(26))
    ]


_PNG_CHANGES = (_png_header, _png_text, _png_data, _png_drop, _png_kind)


def json_bytes(rng: Random, content: bytes) -> bytes:
    """JSON with other values, other names, or a form that only looks like JSON."""
    if rng.random() < 0.3:
        return any_bytes(rng, content)
    if rng.random() < 0.15:
        return rng.choice(_JSONS)
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return any_bytes(rng, content)
    for _ in range(rng.randint(1, 3)):
        whole = _json_change(rng, whole)
    return json.dumps(whole).encode("utf-8", "surrogatepass")


_JSONS = (
    b"", b"[" * 100_000, b'{"a":' * 50_000, b"[" + b"[]," * 300_000 + b"[]]", b"nul", b"\xff\xfe{}", b"\xef\xbb\xbf{}",
    b'{"a": 1e999}', b'"' + b"x" * 2**20 + b'"', b"9" * 6000, b"[" + b"0," * 900_000 + b"0]", b'"\\ud800"', b"{}{}",
    b"NaN", b"\0" * 1000,
)  # fmt: skip


def _json_change(rng: Random, value: object) -> object:
    """The same with one value somewhere inside replaced, removed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        rest = {other: kept for other, kept in value.items() if other != key}
        how = rng.random()
        if how < 0.1:
            return rest
        if how < 0.2:
            return value | {rng.choice(TEXTS): 1}
        return value | {key: _json_change(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], _json_change(rng, value[at]), *value[at + rng.choice((0, 1)) :]]
    return _json_value(rng)


def _json_value(rng: Random) -> object:
    deep: object = []
    for _ in range(rng.choice((1, 300))):
        deep = [deep]
    numbers = (None, True, False, 0, -1, 0.5, float("nan"), float("inf"), 10**400, 10**4000, 2**64)
    return rng.choice((*numbers, [], {}, deep, [1] * 2000, *TEXTS))


def safetensors_bytes(rng: Random, content: bytes) -> bytes:
    """Tensors whose header says something else than the file holds."""
    length = int.from_bytes(content[:8], "little")
    if rng.random() < 0.4 or length > len(content):
        return any_bytes(rng, content[: 2**16] if rng.random() < 0.3 else content)
    header = json_bytes(rng, content[8 : 8 + length])
    for _ in range(rng.randint(0, 2)):
        old = rng.choice((b'"F32"', b"data_offsets", b"shape", b"0", b"3", b"features"))
        new = rng.choice(
            (b'"F64"', b'"BF16"', b'"F8_E4M3"', b'"X9"', b"18446744073709551615", b"-1", b"9999999999", b"features.0")
        )
        header = header.replace(old, new, rng.choice((1, 2, 99)))
    claimed = rng.choice((len(header),) * 6 + INTERESTING)
    return (claimed % 2**64).to_bytes(8, "little") + header + content[8 + length :]


def npz_bytes(rng: Random, content: bytes) -> bytes:
    """An archive of arrays with changed members, their checksums right again, or a changed archive."""
    return _repacked(rng, content, npy_bytes)


def checkpoint_bytes(rng: Random, content: bytes) -> bytes:
    """A checkpoint of PyTorch with changed members, their checksums right again, or a changed archive."""
    if rng.random() < 0.1:
        return rng.choice((b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02]q\x00."))
    return _repacked(rng, content, any_bytes)


def _repacked(rng: Random, content: bytes, change: Callable[[Random, bytes], bytes]) -> bytes:
    if rng.random() < 0.4:
        return zip_bytes(rng, content)
    target, method = io.BytesIO(), rng.choice((zipfile.ZIP_STORED,) * 5 + (zipfile.ZIP_DEFLATED,))
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w", method) as archive:
        members = source.infolist()
        chosen = rng.choice(members).filename
        for member in members:
            inside = source.read(member)
            archive.writestr(member.filename, change(rng, inside) if member.filename == chosen else inside)
    return target.getvalue()
