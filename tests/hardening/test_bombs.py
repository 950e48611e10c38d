"""Inputs that were made to harm, one by one: what the line says, and that reading takes neither time nor memory."""

import gzip
import io
import json
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from data_utils.errors import DataError
from data_utils.readers import patches
from search import launch
from search.command.outcome import BAD_INPUT, run_command
from soak import _examples as examples
from soak._changes import place_files
from soak._judge import judge
from studies.errors import StorageError
from studies.storage.database_url import check_file
from studies.storage.studies import open_existing

NAME = "S0001/0/S0001_idx5_x9001_y1_class0.png"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def read(source: Path) -> None:
    patches.signature(str(source))
    patches.fingerprint(patches.read_patches(str(source)))


def line_of(place: Path, source: Path | None = None) -> str:
    """The one line with which it is refused."""
    verdict = judge(lambda inside: read(source or inside), place)
    assert verdict.problem is None
    assert verdict.line is not None, "it was read"
    return verdict.line


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of patches with some members more."""
    content = io.BytesIO(examples.archive()["set.zip"])
    with zipfile.ZipFile(content, "a", method) as archive:
        for name, inside in members:
            archive.writestr(name, inside)
    return content.getvalue()


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A patch as PNG with a chunk more, right after its header."""
    content = examples.png(examples.patches().pixels[0])
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content[:33] + chunk + content[33:]


def huge_sides() -> bytes:
    """A PNG file of a few bytes that claims 30,000 x 30,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


# --- zips -----------------------------------------------------------------------------------------------------------


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(NAME)
    info.external_attr = 0o120777 << 16
    return info


def overlapping() -> bytes:
    """Every entry of the directory points to the bytes of the first."""
    content = bytearray(packed())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        at = archive.start_dir
    while content[at : at + 4] == b"PK\x01\x02":
        content[at + 42 : at + 46] = bytes(4)
        at += 46 + int.from_bytes(content[at + 28 : at + 30], "little")
    return bytes(content)


def lying() -> bytes:
    """A member that claims 10 bytes and unpacks to 16 million."""
    content = bytearray(packed((NAME, bytes(2**24))))
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")
    return bytes(content)


def claiming(size: int) -> bytes:
    """The first member claims so many bytes."""
    content = bytearray(packed())
    at = content.find(b"PK\x01\x02")
    content[at + 24 : at + 28] = size.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: packed((NAME, bytes(2**30 // 4))), "claims to unpack to 268.* zip bomb"),
        (lambda: packed(*[(NAME.replace("9001", str(n)), bytes(2**24)) for n in range(8)]), "to 134.* zip bomb"),
        (lambda: claiming(2**32 - 2), "claims to unpack to 4295.* zip bomb"),
        (lying, "1 of 13 pictures cannot be read .*its checksum in the zip is another"),
        (overlapping, "claims .* bytes that lie outside of it or belong to another file in it"),
        (lambda: packed(("../../up.png", b"x")), r"a file outside of itself, \.\./\.\./up\.png; .* do not unpack it"),
        (lambda: packed(("/etc/up.png", b"x")), "names a file outside of itself, /etc/up.png"),
        (lambda: packed(("C:\\up.png", b"x")), r"names a file outside of itself, C:"),
        (lambda: packed((link(), b"/etc/passwd")), f"{NAME} is a link; expected the file itself"),
        (lambda: packed((NAME, huge_sides()))[:-30], r"cannot be read as a zip \(File is not a zip file\)"),
        (lambda: packed(("S0001/0/S\x1b[2J_idx5_x1_y1_class0.png", b"x")), r"no printable UTF-8 \(first: S0001/0/S\\x"),
    ],
)  # fmt: skip
def test_a_zip_that_was_made_to_harm_is_refused(content: Callable[[], bytes], message: str, place: Path) -> None:
    place_files({"set.zip": content()}, place)
    assert re.search(message, line_of(place, place / "set.zip"))


def test_a_zip_of_zips_is_not_opened_further(place: Path) -> None:
    inner = packed((NAME, bytes(2**24)))
    with zipfile.ZipFile(place / "set.zip", "w") as archive:
        archive.writestr("inner.zip", inner)
    assert "holds neither X.npy nor pictures" in line_of(place, place / "set.zip")


def test_a_directory_of_millions_of_members_is_not_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each entry takes 51 bytes in the file and ten times as much in memory."""
    entry = b"PK\x01\x02" + bytes(24) + (5).to_bytes(2, "little") + bytes(16) + b"a.png"
    count = 129 * 2**20 // len(entry)
    with (place / "set.zip").open("wb") as file:
        file.write(entry * count)
        file.write(b"PK\x05\x06" + bytes(4) + b"\xff\xff\xff\xff" + struct.pack("<IIH", count * len(entry), 0, 0))
    assert "its directory claims" in line_of(place, place / "set.zip")


# --- tars -----------------------------------------------------------------------------------------------------------


def tarred(name: str, inside: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A tar of patches behind one more file."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = len(inside), kind, target
    return entry.tobuf(tarfile.GNU_FORMAT) + inside + bytes(-len(inside) % 512) + bytes(examples.tar()["set.tar"])


def claiming_tar(size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Its first file claims another size, with a checksum that is right."""
    content = bytearray(tarred(NAME, b"", kind))
    content[124:136] = size
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    return bytes(content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: tarred("../../up.png", b"x"), r"a file outside of itself, \.\./\.\./up\.png; .* do not unpack it"),
        (lambda: tarred("/etc/up.png", b"x"), "names a file outside of itself, /etc/up.png"),
        (lambda: tarred("..", kind=tarfile.DIRTYPE), r"names a file outside of itself, \.\."),
        (lambda: tarred(NAME, kind=tarfile.SYMTYPE, target="/etc/x"), f"{NAME} is a link; expected the file itself"),
        (lambda: tarred(NAME, kind=tarfile.LNKTYPE, target="/etc/x"), f"{NAME} is a link; expected the file itself"),
        (lambda: tarred(NAME, kind=tarfile.CHRTYPE), f"{NAME} is a device; expected the file itself"),
        (lambda: tarred(NAME, kind=tarfile.FIFOTYPE), f"{NAME} is a pipe; expected the file itself"),
        (lambda: claiming_tar(b"77777777777\0"), "cannot be read as a tar .unexpected end of data"),
        (lambda: claiming_tar(b"\x80" + b"\xff" * 11), "cannot be read as a tar"),
        (lambda: claiming_tar(b"\xff" * 11 + b"\x00"), "cannot be read as a tar .*claims -256 bytes"),
        (lambda: claiming_tar(b"77777777777\0", tarfile.GNUTYPE_LONGNAME), "a header claims 8589934592 bytes"),
        (lambda: claiming_tar(b"77777777777\0", tarfile.XHDTYPE), "a header claims 8589934592 bytes"),
        (lambda: tarred("././@LongLink", b"x", tarfile.GNUTYPE_LONGNAME)[:1024] * 3000, "cannot be read as a tar"),
        (lambda: tarred("S0001/0/S\x1b[2J_idx5_x1_y1_class0.png", b"x"), r"no printable UTF-8 \(first: S0001/0/S\\x"),
        (lambda: tarred("inner.tar", bytes(2**20))[: 2**19], "cannot be read as a tar"),
    ],
)  # fmt: skip
def test_a_tar_that_was_made_to_harm_is_refused(
    content: Callable[[], bytes], message: str, packed: bool, place: Path
) -> None:
    name = "set.tar.gz" if packed else "set.tar"
    place_files({name: gzip.compress(content()) if packed else content()}, place)
    assert re.search(message, line_of(place, place / name))


def test_a_tar_that_unpacks_to_more_is_not_unpacked_further(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    place_files({"set.tgz": gzip.compress(bytes(2**27))}, place)
    assert re.search(r"unpacks to more than 6\d{7}; expected pictures.*it is a bomb", line_of(place, place / "set.tgz"))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_zip_of_arrays_that_unpacks_to_more_is_refused(place: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in examples.arrays().items():
            archive.writestr(name, array)  # type: ignore[arg-type]
        archive.writestr("other/xy.npy", bytes(2**28))
    place_files({"set.zip": content.getvalue()}, place)
    assert "claims to unpack to 268" in line_of(place, place / "set.zip")


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: with_chunk(b"IHDR", huge_sides()[16:29]), "unreadable: invalid chunk position"),
        (lambda: examples.png(examples.patches().pixels[0])[:-20] + bytes(2**21), "a patch cannot take"),
    ],
)
def test_a_picture_that_unpacks_to_more_is_refused(content: Callable[[], bytes], message: str, place: Path) -> None:
    place_files({**examples.folder(), NAME: content()}, place)
    assert message in line_of(place, place)


def huge_jpeg() -> bytes:
    content = bytearray(examples.pictures_as(".jpg"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def huge_tiff() -> bytes:
    content = bytearray(examples.pictures_as(".tif"))
    (start,) = struct.unpack_from("<I", content, 4)
    for at in range(start + 2, start + 26, 12):
        assert struct.unpack_from("<H", content, at)[0] in (256, 257)
        struct.pack_into("<HII", content, at + 2, 4, 1, 2**31)
    return bytes(content)


@pytest.mark.parametrize(("ending", "content"), [(".jpg", huge_jpeg), (".tif", huge_tiff)])
def test_other_pictures_that_claim_other_sides_are_left_out_too(
    ending: str, content: Callable[[], bytes], place: Path
) -> None:
    place_files({**examples.folder(), NAME.replace(".png", ending): content()}, place)
    assert judge(read, place).problem is None
    assert patches.read_patches(str(place)).exclusions == (("other size than 50x50", 1),)


def test_a_picture_that_claims_other_sides_is_left_out_like_any_other_of_another_size(place: Path) -> None:
    place_files({**examples.folder(), NAME: huge_sides()}, place)
    assert judge(read, place).problem is None
    assert patches.read_patches(str(place)).exclusions == (("other size than 50x50", 1),)


@pytest.mark.parametrize(("kind", "name"), [(b"zTXt", b"k\0\0"), (b"iCCP", b"k\0\0")])
def test_what_a_picture_holds_besides_its_pixels_is_never_unpacked(kind: bytes, name: bytes, place: Path) -> None:
    content = with_chunk(kind, name + zlib.compress(bytes(2**26)))
    place_files({**examples.folder(), NAME: content}, place)
    assert judge(read, place).problem is None
    assert len(patches.read_patches(str(place))) == examples.PATCHES + 1


# --- arrays ---------------------------------------------------------------------------------------------------------


def header(descr: str, shape: str, order: str = "False", length: int | None = None) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + (len(text) if length is None else length).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("name", ["X.npy", "Y.npy", "patients.npy"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("'|u1'", "(1400000, 50, 50, 3)") + bytes(100), "its header promises 10500000000 bytes"),
        (header("'<i8'", "(9223372036854775807, 9223372036854775807)"), "its header promises"),
        (header("'<U999999'", "(12,)"), "its header promises 47999952 bytes"),
        (header("'<U0'", "(10000000000,)"), "of the unknown type <U0"),
        (header("'|O'", "(12,)") + b"\x80\x04N.", "is pickled, and unpickling could run code"),
        (header("[('a', '|O')]", "(12,)"), "holds records; expected plain values"),
        (header("'|u1'", "(12,)", length=65535), "its header claims 65535 bytes"),
        (header("'|u1'", "(" * 50), "its header names no plain type, order and shape"),
        (header("__import__('os').system('true')", "(12,)"), "its header names no plain type, order and shape"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"{" * 100, "its header claims 4294967295 bytes"),
        (b"\x80\x04\x95", "is pickled"),
        (b"", "it does not begin like one"),
    ],
)  # fmt: skip
def test_an_array_that_promises_more_than_it_holds_is_refused(
    name: str, content: bytes, message: str, place: Path
) -> None:
    place_files({**examples.arrays(), name: content}, place)
    assert message in line_of(place)


def test_an_array_in_fortran_order_is_read_as_it_was_meant(place: Path) -> None:
    made = examples.patches()
    place_files({**examples.arrays(), "X.npy": examples.npy(np.asfortranarray(made.pixels))}, place)
    assert patches.fingerprint(patches.read_patches(str(place), labelled=False)) == patches.fingerprint(made)


@pytest.mark.parametrize("code", [0x110000, 0xD800, 0x1B, 0x0A])
def test_ids_that_are_no_text_are_refused(code: int, place: Path) -> None:
    ids = np.array(["patient"] * examples.PATCHES)
    content = bytearray(examples.npy(ids))
    content[-8:-4] = code.to_bytes(4, "little")  # inside of the last one
    place_files({**examples.arrays(), "patients.npy": bytes(content)}, place)
    assert "characters that are no printable text" in line_of(place)


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        (NAME, "/etc/passwd", "is a link that leads out of"),
        (NAME, "../../../outside.png", "is a link that leads out of"),
        ("S0099", "/", "is a link that leads out of"),
        ("S0099", "S0001", "is a link to a folder, which may go round in circles"),
        ("S0001/again", "..", "is a link to a folder, which may go round in circles"),
        (NAME, "S0001_idx5_x9001_y1_class0.png", "cannot be read"),
    ],
)
def test_a_link_that_leads_outside_or_round_is_refused(name: str, target: str, message: str, place: Path) -> None:
    (place.parent / "outside.png").write_bytes(examples.png(examples.patches().pixels[0]))
    place_files(examples.folder(), place)
    (place / name).parent.mkdir(exist_ok=True)  # not every made-up patient has patches of both classes
    (place / name).symlink_to(target)
    assert message in line_of(place)


@pytest.mark.parametrize("name", ["X.npy", "patients.npy"])
def test_a_link_in_place_of_an_array_must_stay_inside(name: str, place: Path) -> None:
    files = examples.arrays()
    (place.parent / "outside.npy").write_bytes(files[name])  # type: ignore[arg-type]
    place_files({**files, "inside.npy": files[name]}, place)
    (place / name).unlink()
    (place / name).symlink_to("inside.npy")
    read(place)
    (place / name).unlink()
    (place / name).symlink_to("../outside.npy")
    assert "is a link that leads out of" in line_of(place)


def test_folders_nested_deeper_than_the_stack_are_read(place: Path) -> None:
    place_files(examples.folder(), place)
    folder = str(place)
    for _ in range(1200):
        folder += "/d"
        os.mkdir(folder)  # noqa: PTH102 - makedirs and Path would need a stack as deep
    read(place)
    while len(folder) > len(str(place)):
        os.rmdir(folder)  # noqa: PTH106
        folder = folder[:-2]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions mean nothing to root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("closed", ["X.npy", "."])
def test_what_may_not_be_read_is_named(closed: str, place: Path) -> None:
    place_files(examples.arrays(), place)
    for folder in (place, *place.parents[:3]):
        if folder.stat().st_uid == os.geteuid() and folder.name.startswith(("data", "test_", "pytest-")):
            folder.chmod(0o755)
    (place / closed).chmod(0)
    try:
        with as_nobody(), pytest.raises(DataError, match=r"may not be read|cannot be re"):
            read(place)
    finally:
        (place / closed).chmod(0o755)


# --- what else a user names -----------------------------------------------------------------------------------------


def test_the_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "places.db"
    path.write_bytes(examples.other_database())
    for url in (f"sqlite:///{path}", f"sqlite:///{path}"):
        with pytest.raises(StorageError, match=r"is the database of another program \(its tables: bookmarks\)"):
            open_existing(url)
    assert path.read_bytes() == examples.other_database()


def test_a_damaged_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    content = bytearray(examples.database()["studies.db"])  # type: ignore[arg-type]
    content[5000:20000] = bytes(15000)
    path = tmp_path / "studies.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"is damaged .*put a backup in its place"):
        check_file(path)
    assert path.read_bytes() == bytes(content)


def test_a_report_carries_no_other_file_out_of_the_house(tmp_path: Path) -> None:
    from studies.errors import RecordError
    from studies.findings.examples import load_examples

    files = examples.index()
    listed = json.loads(files["examples.json"])  # type: ignore[arg-type]
    for picture in ("/etc/passwd", "../../secret.png"):
        listed[0]["picture"] = picture
        (tmp_path / "examples.json").write_text(json.dumps(listed))
        with pytest.raises(RecordError, match="is no picture beside it"):
            load_examples(tmp_path)


@pytest.mark.parametrize("command", ["launch"])
def test_a_command_ends_with_one_line_and_exit_code_2(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set.zip").write_bytes(overlapping())
    code = run_command(lambda: launch.main(["--model", "cnn", "--data", "set.zip", "--trials", "1", "--epochs", "1"]))
    said = capsys.readouterr()
    assert code == BAD_INPUT
    assert said.err.count("\n") == 1
    assert "set.zip is no sound zip" in said.err


def test_values_are_counted_before_anything_is_built_of_them(place: Path) -> None:
    """Two bytes of JSON can become sixty in memory, and more where pydantic reads them."""
    from data_utils.split.lock import SplitLock
    from studies.errors import RecordError
    from studies.final_models import MemberResult
    from studies.records import from_json

    content = b"[" + b"[]," * 2**23 + b"[]]"
    place_files({"lock.json": content}, place)
    verdict = judge(lambda inside: SplitLock.read(inside / "lock.json"), place)
    assert verdict.problem is None
    assert "values, expected at most" in str(verdict.line)
    with pytest.raises(RecordError, match="values, expected at most 500000"):
        from_json(MemberResult, content, "member_0.json")
