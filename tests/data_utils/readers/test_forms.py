"""Files as people have them: in which folders, in which archives, and what is said and counted of them."""

import bz2
import gzip
import io
import lzma
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import DataError, FormatError, LockMismatchError
from data_utils.readers import _decode
from data_utils.readers.patches import PatchSet, fingerprint, read_patches, signature
from data_utils.split.prepare import Prepared, prepare
from data_utils.split.split_file import FOLDERS, read_lists

PARTS = ("train", "validation", "test")
Place = Callable[..., str]
HOLD_OUT = {f"S{number:04d}": PARTS[number % 3] for number in range(1, 13)}
"""Each made-up patient's part."""


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60")


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def files(made: PatchSet, place: Place) -> dict[str, bytes]:
    """Patches by their path, which is made of patient, label and public name."""
    rows = zip(made.pixels, made.patients, made.labels, made.names, strict=True)
    return {
        place(patient=str(patient), label=int(label), name=str(name)): png(pixels)
        for pixels, patient, label, name in rows
    }


def public(made: PatchSet) -> dict[str, bytes]:
    return files(made, "{patient}/{label}/{name}".format)


def as_folder(root: Path, inside: dict[str, bytes]) -> str:
    for name, content in inside.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


def as_zip(path: Path, inside: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    return str(path)


def as_tar(path: Path, inside: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> str:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w", format=form) as archive:
        for name, content in inside.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return str(path)


def refused(source: str, message: str, kind: type[DataError] = FormatError) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_patches(source)
    assert "\n" not in str(caught.value)


def same(read: PatchSet, made: PatchSet) -> bool:
    return fingerprint(read) == fingerprint(made)


# --- folders --------------------------------------------------------------------------------------------------------

ELSEWHERE = (
    "60 of 60 pictures lie in other folders than PATIENT/CLASS: patient, place and class are those of their names"
)


@pytest.mark.parametrize(
    "place",
    [
        "{label}/{name}".format,
        "{name}".format,
        "{patient}/{name}".format,
        "{label}/{patient}/{name}".format,
        "some/where/{label}/{name}".format,
    ],
    ids=["class", "flat", "patient", "class, patient", "deeper"],
)  # fmt: skip
@pytest.mark.parametrize("pack", ["folder", "zip"])
def test_public_names_are_read_in_any_folders(made: PatchSet, tmp_path: Path, place: Place, pack: str) -> None:
    placed = files(made, place)
    read = read_patches(as_folder(tmp_path / "set", placed) if pack == "folder" else as_zip(tmp_path / "z", placed))
    assert same(read, made)
    assert (read.x >= 0).all()
    assert (read.found, read.exclusions, read.notes) == (60, (), (ELSEWHERE,))


def test_backslashes_of_windows_are_folders(made: PatchSet, tmp_path: Path) -> None:
    placed = files(made, "set\\{patient}\\{label}\\{name}".format) | {"set\\": b""}
    on_disk = {name: content for name, content in placed.items() if content}  # of an unzip that knows no Windows
    for source in (as_zip(tmp_path / "set.zip", placed), as_folder(tmp_path / "set", on_disk)):
        read = read_patches(source)
        assert same(read, made)
        assert (read.found, read.exclusions) == (60, ())
        assert set(read.names.tolist()) == set(made.names.tolist())
        assert read.notes == ("60 of 60 names have backslashes, as Windows writes them: they were read as folders",)


def moved(made: PatchSet, place: Place, count: int) -> dict[str, bytes]:
    """The public form, but for the first so many of class 1."""
    left = [name for label, name in zip(made.labels.tolist(), made.names.tolist(), strict=True) if label == 1][:count]
    usual = "{patient}/{label}/{name}".format
    return files(made, lambda **facts: (place if facts["name"] in left else usual)(**facts))


@pytest.mark.parametrize(
    "place",
    [
        "0/{name}".format,
        "train/0/{name}".format,
        "0/{patient}/{name}".format,
        "{patient}/0/{name}".format,
        lambda patient, label, name: f"S0012/{label}x/{name}" if patient != "S0012" else f"S0011/{label}x/{name}",
        "S9999/{label}/{name}".format,
    ],
    ids=["class", "part, class", "class, patient", "patient, class", "patient", "unknown patient"],
)  # fmt: skip
def test_a_folder_that_contradicts_the_name_is_refused(made: PatchSet, tmp_path: Path, place: Place) -> None:
    source = as_folder(tmp_path, moved(made, place, 3))
    refused(source, "3 of 60 files lie in a folder of another patient or class than their name says")


def test_any_names_are_read_in_folders_of_patients_and_classes(made: PatchSet, tmp_path: Path) -> None:
    numbers: dict[tuple[str, int], int] = {}

    def place(patient: str, label: int, name: str) -> str:
        numbers[patient, label] = numbers.get((patient, label), 0) + 1
        return f"set/{patient}/{label}/{numbers[patient, label]}.png"  # 1.png of each patient is another patch

    read = read_patches(as_folder(tmp_path, files(made, place)))
    assert same(read, made)
    assert (read.found, read.exclusions) == (60, ())
    assert (read.x == -1).all()
    assert read.notes == (
        "60 of 60 pictures have patient and class from their folders, PATIENT/CLASS: their names do not say them, and "
        "their place is unknown",
    )
    assert read.names[0].startswith("set/S0001/")  # file names repeat


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "train/0/any.png",
            "1 of 61 names do not parse .first: train/0/any.png.; expected PATIENT/CLASS/.*any names in",
        ),
        ("0/any.png", "1 of 61 names do not parse"),
        ("1/0/any.png", "1 of 61 names do not parse .*and a PATIENT that is called neither so nor train"),
        ("S0001/benign/any.png", "1 of 61 names do not parse"),
        ("S0001/0/x_class1.png", "1 of 61 files lie in a folder of another patient or class"),
    ],
)
def test_other_names_in_other_folders_are_refused(made: PatchSet, tmp_path: Path, path: str, message: str) -> None:
    refused(as_folder(tmp_path, public(made) | {path: png(made.pixels[0])}), message)


# --- what is skipped ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", ["folder", "zip", "tar"])
def test_whatever_is_skipped_is_counted_by_reason(made: PatchSet, tmp_path: Path, pack: str) -> None:
    others = {f"S0001/0/{number}.gif": b"GIF89a" for number in range(4)}
    others |= {"README.txt": b"x", "notes/LICENSE": b"x", "Y.npy": b"x", ".DS_Store": b"x", "S0001/Thumbs.db": b"x"}
    others |= {"__MACOSX/S0001/._a.png": b"x", "__MACOSX/S0001/._b.png": b"x"}
    inside = public(made) | others
    source = {
        "folder": lambda: as_folder(tmp_path / "set", inside),
        "zip": lambda: as_zip(tmp_path / "set.zip", inside),
        "tar": lambda: as_tar(tmp_path / "set.tar", inside),
    }[pack]()
    for labelled in (True, False):
        read = read_patches(source, labelled=labelled)
        assert read.exclusions == (
            ("no PNG, JPEG or TIFF file: .gif", 4),
            ("no PNG, JPEG or TIFF file: .npy", 1),
            ("no PNG, JPEG or TIFF file: .txt", 1),
            ("no PNG, JPEG or TIFF file: no usual ending", 1),
            ("hidden, or made by a system", 3),
        )
        assert read.found - sum(count for _, count in read.exclusions) == len(read) == 60
    assert same(read_patches(source), made)


def test_rare_endings_are_counted_together(made: PatchSet, tmp_path: Path) -> None:
    others = {f"a.{ending}": b"" for ending in ("a", "b", "c", "d", "e", "f", "g")} | {"b.g": b"", "\x1b[2J.\x07": b""}
    read = read_patches(as_folder(tmp_path, public(made) | others))
    assert read.exclusions[0] == ("no PNG, JPEG or TIFF file: .g", 2)
    assert read.exclusions[-1] == ("no PNG, JPEG or TIFF file: other endings", 3)
    assert sum(count for _, count in read.exclusions) == len(others)
    assert all(reason.isprintable() for reason, _ in read.exclusions)


def test_what_is_skipped_is_part_of_the_signature(made: PatchSet, tmp_path: Path) -> None:
    """Else a launch would repeat counts of another day."""
    source = as_folder(tmp_path, public(made))
    before = signature(source)
    (tmp_path / "more.gif").write_bytes(b"GIF89a")
    assert signature(source) != before


def test_pictures_and_arrays_beside_arrays_are_counted(made: PatchSet, tmp_path: Path) -> None:
    arrays(tmp_path, made)
    before = signature(str(tmp_path))
    (tmp_path / "README.md").write_text("x")
    assert (read_patches(str(tmp_path)).exclusions, signature(str(tmp_path))) == ((), before)
    for name in ("X_test.npy", "a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    read = read_patches(str(tmp_path))
    assert (read.found, read.exclusions) == (63, (("beside X.npy: .png", 2), ("beside X.npy: .npy", 1)))
    assert signature(str(tmp_path)) != before


# --- archives -------------------------------------------------------------------------------------------------------


def arrays(folder: Path, made: PatchSet) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    for name, array in (("X", made.pixels), ("Y", made.labels), ("patients", made.patients)):
        np.save(folder / f"{name}.npy", array)
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.mark.parametrize("level", ["", "data/", "a\\b\\", "./", "./data/./"])
@pytest.mark.parametrize("pack", ["stored.zip", "deflated.zip", "set.tar", "set.tar.gz"])
def test_arrays_in_an_archive_are_read_and_leave_nothing(
    made: PatchSet, tmp_path: Path, level: str, pack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {f"{level}{name}": content for name, content in arrays(tmp_path / "arrays", made).items()}
    if pack.endswith("zip"):
        source = as_zip(tmp_path / pack, inside, zipfile.ZIP_STORED if "stored" in pack else zipfile.ZIP_DEFLATED)
    else:
        source = as_tar(tmp_path / pack, inside)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "into").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    for into in (None, tmp_path / "into" / "read.npy"):
        read = read_patches(source, into=into)
        assert list((tmp_path / "scratch").iterdir()) == list((tmp_path / "into").iterdir()) == []
        assert isinstance(read.pixels, np.memmap)  # on disk, without a name
        assert same(read, made)
        assert (read.source, read.found, read.exclusions) == (source, 60, ())


def test_what_lies_beside_packed_arrays_is_counted_and_what_is_wrong_is_named(made: PatchSet, tmp_path: Path) -> None:
    inside = {f"data/{name}": content for name, content in arrays(tmp_path / "arrays", made).items()}
    more = {"data/X_test.npy": b"x", "data/a.png": b"x", "README.md": b"x", "other/Y.npy": b"x"}
    read = read_patches(as_zip(tmp_path / "more.zip", inside | more))
    assert (read.found, len(read)) == (63, 60)
    assert dict(read.exclusions) == {
        "beside X.npy: .png": 1, "beside X.npy: .npy": 1, "no PNG, JPEG or TIFF file: .npy": 1
    }  # fmt: skip
    source = as_zip(tmp_path / "short.zip", inside | {"data/Y.npy": inside["data/Y.npy"][:-8]})
    refused(source, rf"^{re.escape(source)}/data/Y.npy \(\d+ bytes\) cannot be read as a NumPy array")
    refused(
        as_zip(tmp_path / "two.zip", inside | {"X.npy": inside["data/X.npy"]}), "holds 2 files X.npy .first: X.npy and"
    )
    content = bytearray(Path(source).read_bytes())
    content[5000] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    refused(str(tmp_path / "damaged.zip"), r"data/X.npy cannot be unpacked \(its checksum in the zip is another\)")


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.TGZ", "without an ending"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_holds_the_same_patches(
    made: PatchSet, tmp_path: Path, name: str, form: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = files(made, ("folder/" * 20 + "{patient}/{label}/{name}").format)
    source = as_tar(tmp_path / name, deep, form)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    read = read_patches(source)
    assert same(read, made)
    assert (read.found, read.exclusions, read.notes) == (60, (), ())
    assert list((tmp_path / "scratch").iterdir()) == []
    before = signature(source)
    with Path(source).open("ab") as file:
        file.write(b"\0")
    assert signature(source) != before


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_a_folder_that_was_packed_from_within_is_read(made: PatchSet, tmp_path: Path, name: str) -> None:
    """By ``tar -cf set.tar .``, which puts ./ before each name."""
    as_folder(tmp_path / "set", public(made) | {".hidden": b"x"})
    kind = "-czf" if name.endswith("gz") else "-cf"
    subprocess.run(["tar", "-C", tmp_path / "set", kind, tmp_path / name, "."], check=True)
    read = read_patches(str(tmp_path / name))
    assert same(read, made)
    assert (read.exclusions, read.notes) == ((("hidden, or made by a system", 1),), ())
    assert read.names.tolist() == read_patches(str(tmp_path / "set")).names.tolist()


def test_a_zip_is_a_zip_whatever_its_name(made: PatchSet, tmp_path: Path) -> None:
    assert same(read_patches(as_zip(tmp_path / "set.tar", public(made))), made)
    assert same(read_patches(as_tar(tmp_path / "set.zip", public(made))), made)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("set.tar.bz2", bz2.compress(b"x" * 1000), "bzip2, which"),
        ("set.tar.xz", lzma.compress(b"x" * 1000), "xz, which"),
        ("set.tar", lzma.compress(b"x" * 10_000), "xz, which"),
        ("set.7z", b"7z\xbc\xaf\x27\x1c" + bytes(600), "7z, which"),
        ("one.png", png(np.zeros((50, 50, 3), np.uint8)), "a PNG picture, which"),
        ("X.npy.gz", gzip.compress(b"\x93NUMPY" + bytes(600), mtime=0), "a NumPy array in gzip, which"),
        ("labels.tsv", b"patient,label\n1,0\n" * 50, "of a form that"),
    ],
)
def test_a_file_of_another_form_is_named_as_such(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    """To fetch it again, as is said of one that was cut off, would not help."""
    (tmp_path / name).write_bytes(content)
    for labelled in (True, False):
        with pytest.raises(FormatError, match=rf"/{name} is {what} is not read as patches; expected a folder, a zip"):
            read_patches(str(tmp_path / name), labelled=labelled)


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_an_interrupted_reading_of_a_tar_goes_on(
    made: PatchSet, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in (("_PARALLEL_FROM", 1), ("_PIECE", 20), ("_MAX_PROCESSES", 2)):
        monkeypatch.setattr(_decode, setting, value)

    def interrupt(done: int, of: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    source, place = as_tar(tmp_path / name, public(made)), tmp_path / "place"
    place.mkdir()
    places = {"into": place / "pixels.npy", "pieces": place / "pieces"}
    with pytest.raises(KeyboardInterrupt):
        read_patches(source, progress=interrupt, **places)
    assert [path.name for path in place.iterdir()] == ["pieces"]
    assert {"0000000.json", "0000020.json", "pixels.npy"} <= {path.name for path in (place / "pieces").iterdir()}
    assert same(read_patches(source, **places), made)
    assert [path.name for path in place.iterdir()] == ["pixels.npy"]


def damaged(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def test_a_tar_that_is_cut_anywhere_is_refused(made: PatchSet, tmp_path: Path) -> None:
    """``tarfile`` itself ends in silence where a header is missing or damaged."""
    whole = Path(as_tar(tmp_path / "whole.tar", public(made))).read_bytes()
    end = len(whole.rstrip(b"\0"))
    path = tmp_path / "set.tar"
    header = whole.index(b"S0003/")
    cut = [whole[:700], whole[:header], whole[: header + 512], whole[: end // 512 * 512]]
    for content in (*cut, damaged(whole, header + 130, b"77"), damaged(whole, 0, b"\xff" * 600)):
        path.write_bytes(content)
        refused(str(path), r"set.tar \(\d+ bytes\) cannot be read as a tar .*truncated: fetch it again")
    packed = gzip.compress(whole)
    for content in (packed[:-9], packed[: len(packed) // 2], damaged(packed, 3000, b"\0\0\0\0")):
        (tmp_path / "set.tar.gz").write_bytes(content)
        refused(str(tmp_path / "set.tar.gz"), r"set.tar.gz \(\d+ bytes\) cannot be read as a tar .*truncated")


# --- parts ----------------------------------------------------------------------------------------------------------


def in_parts(made: PatchSet, names: dict[str, str], more: dict[str, str] | None = None) -> dict[str, bytes]:
    other = more or {}

    def place(patient: str, label: int, name: str) -> str:
        return f"{names[other.get(name, HOLD_OUT[patient])]}/{label}/{name}"

    return files(made, place)


def launched(source: str, folder: Path, lock: object = None) -> Prepared:
    return prepare(
        source, folder / "data", name="s", fractions=(70, 15, 15), seed=0, lock=lock,  # type: ignore[arg-type]
        lists=read_lists(FOLDERS, "error"),
    )  # fmt: skip


SPELLED = {"train": "Training", "validation": "val", "test": "testing"}


def test_parts_that_folders_name_are_offered_and_taken(made: PatchSet, tmp_path: Path) -> None:
    placed = in_parts(made, SPELLED)
    source = as_folder(tmp_path / "set", placed)
    read = read_patches(source)
    counts = {part: sum(path.startswith(SPELLED[part]) for path in placed) for part in PARTS}
    told = ", ".join(f"{part} {count}" for part, count in counts.items())
    assert read.notes == (
        ELSEWHERE,
        f"the folders name parts ({told} pictures): --split-file folders takes them as the split; without it, patients "
        "are drawn anew",
    )
    prepared = launched(source, tmp_path)
    assert prepared.lock.assignment == {patient: HOLD_OUT[patient] for patient in prepared.lock.assignment}
    assert len(prepared.lock.assignment) == 12
    assert launched(source, tmp_path, prepared.lock) == prepared  # nothing is read again
    (tmp_path / "set" / "more.txt").touch()
    assert launched(source, tmp_path, prepared.lock).lock == prepared.lock


def test_parts_that_have_changed_are_refused(made: PatchSet, tmp_path: Path) -> None:
    source = as_folder(tmp_path / "set", in_parts(made, SPELLED))
    prepared = launched(source, tmp_path)
    moved = list((tmp_path / "set" / "val").rglob("S0001_*"))
    for path in moved:
        target = tmp_path / "set" / "Training" / path.relative_to(tmp_path / "set" / "val")
        path.rename(target)
    assert moved
    with pytest.raises(
        LockMismatchError, match=r"is locked to another split: parts by folders [0-9a-f]{12} \(locked: "
    ):
        launched(source, tmp_path, prepared.lock)


def test_parts_that_cannot_be_the_split_are_told(made: PatchSet, tmp_path: Path) -> None:
    torn = in_parts(made, SPELLED, {made.names.tolist()[0]: "test"})
    assert HOLD_OUT[made.patients.tolist()[0]] != "test"
    source = as_folder(tmp_path / "torn", torn)
    patient = made.patients.tolist()[0]
    told = rf"which cannot be the split: 1 patients lie in two of them \(first: {patient}\); patients are drawn anew"
    assert re.search(told, read_patches(source).notes[1])
    with pytest.raises(FormatError, match=rf"lie in two parts \(first: {patient}, in "):
        launched(source, tmp_path)
    two = as_folder(tmp_path / "two", in_parts(made, {"train": "train", "validation": "train", "test": "test"}))
    assert "which cannot be the split: there is no validation; patients" in read_patches(two).notes[1]
    with pytest.raises(FormatError, match=r"name test, train; expected pictures of patients below train/, validation/"):
        launched(two, tmp_path)
    with pytest.raises(FormatError, match="name no parts; expected"):
        launched("synthetic:60", tmp_path)


def test_parts_are_no_business_of_a_prediction(made: PatchSet, tmp_path: Path) -> None:
    source = as_folder(tmp_path, in_parts(made, SPELLED))
    assert read_patches(source, labelled=False).notes == (ELSEWHERE,)
