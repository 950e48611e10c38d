import io
import pickle
import re
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import DataError, FormatError, LabelError, NotFoundError
from data_utils.quality.cleaning import clean
from data_utils.readers.patches import PatchSet, fingerprint, patch_digests, read_patches, signature, where_is_data

NAME = "{patient}_idx5_x{x}_y{y}_class{label}.png"


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60")


def write_arrays(folder: Path, patches: PatchSet, patients: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / "X.npy", patches.pixels)
    np.save(folder / "Y.npy", patches.labels)
    if patients:
        np.save(folder / "patients.npy", patches.patients)
    return folder


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def public_files(patches: PatchSet) -> dict[str, bytes]:
    """The public form, path -> bytes, from made-up patches (whose names have that form)."""
    rows = zip(patches.pixels, patches.patients, patches.labels, patches.names, strict=True)
    return {f"{patient}/{label}/{name}": png(pixels) for pixels, patient, label, name in rows}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refused(kind: type[DataError], source: Path | str, message: str, **options: bool) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_patches(str(source), **options)
    assert "\n" not in str(caught.value)


# --- arrays ---------------------------------------------------------------------------------------------------------


def test_arrays_are_read_as_they_were_written_and_stay_on_disk(made: PatchSet, tmp_path: Path) -> None:
    read = read_patches(str(write_arrays(tmp_path, made)))
    np.testing.assert_array_equal(read.pixels, made.pixels)
    np.testing.assert_array_equal(read.labels, made.labels)
    np.testing.assert_array_equal(read.patients, made.patients)
    assert isinstance(read.pixels, np.memmap)
    assert read.names[12] == "row_000012"
    assert (read.found, read.exclusions, read.synthetic) == (60, (), False)
    assert fingerprint(read) == fingerprint(made)


def test_patients_may_be_unknown(made: PatchSet, tmp_path: Path) -> None:
    read = read_patches(str(write_arrays(tmp_path, made, patients=False)))
    assert read.patients is None
    assert fingerprint(read) != fingerprint(made)


@pytest.mark.parametrize(
    ("name", "array", "kind", "message"),
    [
        ("X.npy", np.zeros((60, 50, 50), np.uint8), FormatError, r"shape \(60, 50, 50\); expected \(N, S, S, 3\)"),
        ("X.npy", np.zeros((0, 50, 50, 3), np.uint8), FormatError, "N of at least 1"),
        ("X.npy", np.full((60, 50, 50, 3), np.nan, np.float32), FormatError, "float32 values from nan to nan"),
        ("X.npy", np.zeros((60, 50, 50, 3), np.complex64), FormatError, "complex64 values; expected uint8"),
        ("Y.npy", np.zeros(59, np.int64), FormatError, r"shape \(59,\); expected \(60,\): labels"),
        ("Y.npy", np.full(60, 0.5), LabelError, r"60 labels other than 0 and 1 \(0.5\)"),
        ("Y.npy", np.full(60, np.nan), LabelError, r"60 labels other than 0 and 1 \(nan\)"),
        ("Y.npy", np.zeros(60, np.complex64), FormatError, "complex64 values; expected whole numbers"),
        ("Y.npy", np.tile([1, 2], 30), LabelError, r"save it as np.where\(Y == 2, 1, 0\) if that one means IDC"),
        ("Y.npy", np.arange(60), LabelError, r"58 labels other than 0 and 1 \(2, 3, 4, 5, 6\)"),
        ("Y.npy", np.zeros(60, np.int64), LabelError, r"no patches of class 1 \(IDC\) among 60"),
        ("Y.npy", np.ones(60, np.bool_), LabelError, r"no patches of class 0 \(no IDC\) among 60"),
        ("patients.npy", np.full(61, "a"), FormatError, r"shape \(61,\); expected \(60,\): patient ids"),
        (
            "patients.npy",
            np.full(60, 0.5),
            FormatError,
            "float64 values that are not whole or cannot be told apart; expected",
        ),
        (
            "patients.npy",
            np.full(60, np.inf),
            FormatError,
            "float64 values that are not whole or cannot be told apart; expected",
        ),
        ("patients.npy", np.zeros(60, np.bool_), FormatError, "bool values; expected text or whole numbers"),
        ("xy.npy", np.zeros((60, 3), np.int64), FormatError, r"shape \(60, 3\); expected whole numbers of the shape"),
        ("xy.npy", np.zeros((60, 2)), FormatError, "float64 values"),
    ],
)
def test_a_wrong_array_is_named(
    made: PatchSet, tmp_path: Path, name: str, array: np.ndarray, kind: type[DataError], message: str
) -> None:
    write_arrays(tmp_path, made)
    np.save(tmp_path / name, array)
    refused(kind, tmp_path, message)


@pytest.mark.parametrize("name", ["X.npy", "Y.npy", "patients.npy"])
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_array_is_named(made: PatchSet, tmp_path: Path, name: str, keep: int) -> None:
    path = write_arrays(tmp_path, made) / name
    path.write_bytes(path.read_bytes()[:keep])
    refused(FormatError, tmp_path, rf"{re.escape(name)} \(\d+ bytes\) cannot be read as a NumPy array")


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["X.npy", "Y.npy", "patients.npy"])
@pytest.mark.parametrize("raw", [False, True])
def test_a_pickled_array_is_refused_and_never_unpickled(made: PatchSet, tmp_path: Path, name: str, raw: bool) -> None:
    write_arrays(tmp_path, made)
    mark = tmp_path / "unpickled"
    if raw:
        (tmp_path / name).write_bytes(pickle.dumps(Trap(mark)))
    else:
        np.save(tmp_path / name, np.array([Trap(mark)] * 60, dtype=object), allow_pickle=True)
    refused(FormatError, tmp_path, f"{re.escape(name)} is pickled, and unpickling could run code")
    assert not mark.exists()


def test_an_archive_in_place_of_an_array_is_refused(made: PatchSet, tmp_path: Path) -> None:
    write_arrays(tmp_path, made)
    with (tmp_path / "Y.npy").open("wb") as file:
        np.savez(file, labels=made.labels)
    refused(FormatError, tmp_path, "archive of several arrays")


def test_missing_labels_are_named_unless_none_are_needed(made: PatchSet, tmp_path: Path) -> None:
    write_arrays(tmp_path, made)
    (tmp_path / "Y.npy").unlink()
    refused(NotFoundError, tmp_path, "Y.npy is missing; expected the labels")
    unlabelled = read_patches(str(tmp_path), labelled=False)
    assert unlabelled.labels is None
    assert len(unlabelled) == 60


def test_one_array_instead_of_its_folder_is_explained(made: PatchSet, tmp_path: Path) -> None:
    refused(FormatError, write_arrays(tmp_path, made) / "X.npy", "is one array; give the folder")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(made: PatchSet) -> dict[str, bytes]:
    return public_files(made)


@pytest.mark.parametrize("level", ["", "IDC_regular_ps50_idx5/", "archive/IDC_regular_ps50_idx5/"])
@pytest.mark.parametrize("form", ["folder", "stored", "deflated"])
def test_every_form_of_the_public_set_holds_the_same_patches(
    made: PatchSet, files: dict[str, bytes], tmp_path: Path, level: str, form: str
) -> None:
    placed = {level + name: content for name, content in files.items()}
    if form == "folder":
        source = write_folder(tmp_path / "set", placed)
    else:
        method = zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED
        source = write_zip(tmp_path / "set.zip", placed, method)
    read = read_patches(str(source))
    assert fingerprint(read) == fingerprint(made)
    assert (read.found, read.exclusions) == (60, ())
    place = {name: row for row, name in enumerate(made.names)}
    rows = [place[name] for name in read.names]
    np.testing.assert_array_equal(read.pixels, made.pixels[rows])
    np.testing.assert_array_equal([read.x, read.y], [made.x[rows], made.y[rows]])


def test_the_doubled_level_is_counted_and_left_out(made: PatchSet, files: dict[str, bytes], tmp_path: Path) -> None:
    doubled = files | {f"IDC_regular_ps50_idx5/{name}": content for name, content in files.items()}
    for source in (write_folder(tmp_path / "set", doubled), write_zip(tmp_path / "set.zip", doubled)):
        read = read_patches(str(source))
        assert (read.found, read.exclusions, len(read)) == (120, (("doubled copy", 60),), 60)
        assert fingerprint(read) == fingerprint(made)


def test_the_zip_is_not_unpacked_to_disk(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_zip(tmp_path / "set.zip", files)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    read_patches(str(source))
    assert [path.name for path in tmp_path.rglob("*")] == ["set.zip"]


def test_patches_of_another_size_and_hidden_files_are_left_out(files: dict[str, bytes], tmp_path: Path) -> None:
    small = "S0001/0/S0001_idx5_x9001_y1_class0.png"
    extra = {small: png(np.zeros((50, 42, 3), np.uint8)), "S0001/0/._x.png": b"", "__MACOSX/S0001/y.png": b""}
    read = read_patches(str(write_zip(tmp_path / "set.zip", files | extra | {"README.md": b"text"})))
    assert (read.found, len(read)) == (64, 60)
    assert read.exclusions == (
        ("other size than 50x50", 1), ("no PNG, JPEG or TIFF file: .md", 1), ("hidden, or made by a system", 2)
    )  # fmt: skip


def replaced(files: dict[str, bytes], old: str, new: str, times: int) -> dict[str, bytes]:
    names = [name for name in files if old in name][:times]
    return {name.replace(old, new) if name in names else name: content for name, content in files.items()}


@pytest.mark.parametrize("pack", ["folder", "zip"])
def test_files_that_are_not_what_their_names_promise_are_named_and_counted(
    files: dict[str, bytes], tmp_path: Path, pack: str
) -> None:
    first = min(files)
    cases = {
        "2 of 60 names do not parse .first: .*S0001.*expected PATIENT/CLASS": {
            name.replace("/", "/x", 1) if "_idx5_" not in name else name: content
            for name, content in replaced(files, "_idx5_", "_", 2).items()
        },
        "1 files of class 7; expected classes 0": replaced(files, "class1", "class7", 1),
        "3 of 60 files lie in a folder of another patient or class": replaced(files, "/1/", "/0/", 3),
        rf"1 of 60 pictures cannot be read \(first: {first}": files | {first: files[first][:-3000]},
        rf"1 of 60 pictures cannot be read \(first: {first}, unreadable: ": files | {first: b"not a picture"},
        "1 of 60 pictures cannot become 8-bit RGB without loss": files | {first: png(np.zeros((50, 50, 4), np.uint8))},
        "same name but another content": files | {f"again/{first}": files[first] + b" "},
    }
    for number, (message, faulty) in enumerate(cases.items()):
        place = tmp_path / f"{number}.zip"
        source = write_zip(place, faulty) if pack == "zip" else write_folder(tmp_path / str(number), faulty)
        refused(LabelError if "class 7" in message else FormatError, source, message)


def test_a_damaged_zip_is_named(files: dict[str, bytes], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", files)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(FormatError, path, r"set.zip \(\d+ bytes\) cannot be read as a zip .*truncated")
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:])
    refused(FormatError, path, "1 of 60 pictures cannot be read .*its checksum in the zip is another")


def test_a_folder_or_zip_without_patches_says_what_is_expected(tmp_path: Path) -> None:
    refused(NotFoundError, tmp_path, "neither X.npy nor pictures")
    refused(NotFoundError, tmp_path / "nowhere", "does not exist; expected a folder with X.npy")
    (tmp_path / "text.txt").write_text("text")
    refused(FormatError, tmp_path / "text.txt", "is of a form that is not read as patches")


def test_without_labels_any_picture_is_read_and_only_what_cannot_be_scored_is_left_out(
    made: PatchSet, tmp_path: Path
) -> None:
    files = {f"any name {row}.png": png(made.pixels[row]) for row in range(5)}
    files |= {"copy/any name 0.png": files["any name 0.png"], "broken.png": b"?"}
    files["small.png"] = png(np.zeros((20, 50, 3), np.uint8))
    source = write_folder(tmp_path / "set", files)
    read = read_patches(str(source), labelled=False)
    assert (read.labels, read.patients, len(read), read.found) == (None, None, 6, 8)
    assert read.exclusions == (("other size than 50x50", 1), ("unreadable", 1))
    assert set(read.names) == set(files) - {"broken.png", "small.png"}
    assert (read.x == -1).all()
    refused(FormatError, source, "8 of 8 names do not parse")


def test_without_labels_those_that_names_tell_are_kept(made: PatchSet, files: dict[str, bytes], tmp_path: Path) -> None:
    read = read_patches(str(write_zip(tmp_path / "set.zip", files)), labelled=False)
    assert read.labels is not None
    assert fingerprint(read) == fingerprint(made)


def test_progress_ends_at_the_number_of_files_and_pixels_go_into_the_named_file(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    source = str(write_zip(tmp_path / "set.zip", files))
    mapped = read_patches(source, progress=lambda *call: calls.append(call), into=tmp_path / "pixels.npy")
    assert calls[-1] == (60, 60)
    assert isinstance(mapped.pixels, np.memmap)
    np.testing.assert_array_equal(mapped.pixels, read_patches(source).pixels)


def test_many_processes_decode_what_one_does(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(write_zip(tmp_path / "set.zip", files))
    alone = read_patches(source)
    monkeypatch.setattr("data_utils.readers._decode._PARALLEL_FROM", 1)
    monkeypatch.setattr("data_utils.readers._decode._PIECE", 7)
    together = read_patches(source)
    np.testing.assert_array_equal(alone.pixels, together.pixels)
    np.testing.assert_array_equal(alone.names, together.names)


# --- identity -------------------------------------------------------------------------------------------------------


def test_the_fingerprint_does_not_depend_on_the_order_but_on_everything_else(made: PatchSet) -> None:
    assert made.labels is not None
    assert made.patients is not None
    order = np.random.default_rng(0).permutation(60)
    assert fingerprint(made.take(order)) == fingerprint(made)
    pixel = made.pixels.copy()
    pixel[7, 3, 3, 0] ^= 1
    flipped = made.labels.copy()
    flipped[7] ^= 1
    moved = made.patients.copy()
    moved[7] = "S0012" if moved[7] != "S0012" else "S0001"
    swapped = made.labels[::-1].copy()
    changed = [
        replace(made, pixels=pixel),
        replace(made, labels=flipped),
        replace(made, patients=moved),
        replace(made, labels=swapped),
        replace(made, patients=None),
        made.take(np.arange(59)),
    ]
    assert len({fingerprint(patches) for patches in [made, *changed]}) == len(changed) + 1


def test_digests_are_sha256_of_pixels(made: PatchSet) -> None:
    digests = patch_digests(made.pixels)
    np.testing.assert_array_equal(digests, made.digests)
    np.testing.assert_array_equal(patch_digests(np.asfortranarray(made.pixels)), digests)
    assert digests[3] == sha256(made.pixels[3].tobytes()).hexdigest()
    assert len(set(digests)) == 60


def test_the_signature_changes_with_files_and_reads_no_pixel(
    made: PatchSet, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = write_arrays(tmp_path / "arrays", made)
    folder = write_folder(tmp_path / "folder", files)
    archive = write_zip(tmp_path / "set.zip", files)
    monkeypatch.setattr("numpy.load", None)
    monkeypatch.setattr("PIL.Image.open", None)
    before = [signature(str(source)) for source in (arrays, folder, archive, "synthetic:60")]
    assert [signature(str(source)) for source in (arrays, folder, archive, "synthetic:60:0")] == before
    (arrays / "patients.npy").unlink()
    next(folder.rglob("*.png")).touch()
    write_zip(archive, dict(list(files.items())[:-1]))
    after = [signature(str(source)) for source in (arrays, folder, archive, "synthetic:60:1")]
    assert len(set(before + after)) == 8


# --- where ----------------------------------------------------------------------------------------------------------


def test_the_place_of_the_data_is_the_option_then_the_variable_then_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=r"--data synthetic.*X.npy.*zip.*breast-histopathology-images"):
        where_is_data(None, {})
    (tmp_path / "data").mkdir()
    assert where_is_data(None, {}) == "data"
    assert where_is_data(None, {"HISTOTUNE_DATA": "elsewhere"}) == "elsewhere"
    assert where_is_data("here", {"HISTOTUNE_DATA": "elsewhere"}) == "here"


# --- the real sets --------------------------------------------------------------------------------------------------


def test_the_real_arrays_are_read_whole(shared: Path) -> None:
    read = read_patches(str(shared / "data"))
    assert read.labels is not None
    assert read.patients is not None
    assert (len(read), int(read.labels.sum()), len(set(read.patients))) == (5547, 2788, 229)
    assert clean(read).exclusions == ()


def test_the_real_zip_is_read_whole_and_shares_patches_with_the_arrays(shared: Path) -> None:
    read = read_patches(str(shared / "data" / "idc_patches.zip"))
    assert read.labels is not None
    assert (read.found, len(read), int(read.labels.sum())) == (9613, 9291, 2573)
    assert read.exclusions == (("other size than 50x50", 322),)
    arrays = read_patches(str(shared / "data"))
    shared, ours, theirs = np.intersect1d(read.digests, arrays.digests, return_indices=True)
    assert len(shared) > 0
    assert read.patients is not None
    assert arrays.patients is not None
    np.testing.assert_array_equal(read.patients[ours], arrays.patients[theirs])
