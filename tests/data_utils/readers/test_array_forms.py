"""Arrays as people have them: read where they can mean one thing only, else refused with an expression that helps."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_utils.errors import DataError
from data_utils.readers.patches import PatchSet, read_patches

COUNT = 120
ADVICE = re.compile(r"(?:save it|save the values before that) as ((?:np\.|X|Y|patients).*?)(?: if .*| where .*)?$")


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches(f"synthetic:{COUNT}")


def write(folder: Path, pixels: Any, labels: Any, patients: Any = None) -> str:
    np.save(folder / "X.npy", pixels, allow_pickle=True)
    np.save(folder / "Y.npy", labels, allow_pickle=True)
    if patients is not None:
        np.save(folder / "patients.npy", patients, allow_pickle=True)
    return str(folder)


@pytest.mark.parametrize("dtype", ["int64", "uint16", "int32", "float32", "float64", ">i4"])
@pytest.mark.parametrize("to_disk", [False, True])
def test_whole_values_in_range_are_read_whatever_their_type(
    made: PatchSet, tmp_path: Path, dtype: str, to_disk: bool
) -> None:
    source = write(tmp_path, made.pixels.astype(dtype), made.labels)
    read = read_patches(source, into=tmp_path / "read.npy" if to_disk else None)
    assert read.pixels.dtype == np.uint8
    assert isinstance(read.pixels, np.memmap) == to_disk
    np.testing.assert_array_equal(read.pixels, made.pixels)
    assert read.notes == (f"{source}/X.npy: {np.dtype(dtype)} values, all whole and in 0..255, were read as uint8",)


@pytest.mark.parametrize("form", ["(N, 1)", "floats", "booleans", "unsigned", "floats (N, 1)"])
def test_labels_are_read_in_every_form_that_means_one_thing(made: PatchSet, tmp_path: Path, form: str) -> None:
    labels = np.asarray(made.labels)
    forms = {
        "(N, 1)": labels[:, None],
        "floats": labels.astype(np.float32),
        "booleans": labels.astype(bool),
        "unsigned": labels.astype(np.uint8),
        "floats (N, 1)": labels.astype(np.float64)[:, None],
    }
    read = read_patches(write(tmp_path, made.pixels, forms[form]))
    np.testing.assert_array_equal(read.labels, labels)


def as_objects(rows: Any) -> np.ndarray:
    objects = np.empty(len(rows), dtype=object)
    objects[:] = list(rows)
    return objects


BAD = {  # what people save in place of X, Y and patients, by what is wrong with it; and how far pixels may be off
    "pixels in [0, 1]": (lambda x, y, p: (x / np.float32(255), y, p), 0),
    "pixels in [-1, 1]": (lambda x, y, p: (x / np.float32(127.5) - 1, y, p), 0),
    "pixels that were blended": (lambda x, y, p: (np.clip(x + 0.25, 0, 255), y, p), 0),
    "pixels of 16 bits": (lambda x, y, p: (x.astype(np.uint16) * 257, y, p), 0),
    "pixels of 10 bits": (lambda x, y, p: (np.round(x / 255 * 1023).astype(np.uint16), y, p), 0),
    "floats four times as bright": (lambda x, y, p: (x * 4.0 + 0.25 * (x < 255), y, p), 0),
    "channels first": (lambda x, y, p: (np.moveaxis(x, -1, 1), y, p), 0),
    "grey patches": (lambda x, y, p: (x[..., 0], y, p), None),
    "grey patches of one channel": (lambda x, y, p: (x[..., :1], y, p), None),
    "an opaque fourth channel": (lambda x, y, p: (np.concatenate([x, np.full_like(x[..., :1], 255)], -1), y, p), 0),
    "patches as objects": (lambda x, y, p: (as_objects(x), y, p), 0),
    "one-hot labels": (lambda x, y, p: (x, np.eye(2, dtype=int)[y], p), 0),
    "labels as text": (lambda x, y, p: (x, y.astype(str), p), 0),
    "labels as other text": (lambda x, y, p: (x, y.astype(float).astype(str), p), 0),
    "labels as words": (lambda x, y, p: (x, np.where(y == 1, "malignant", "benign"), p), 0),
    "labels as bytes": (lambda x, y, p: (x, y.astype("S"), p), 0),
    "labels in a row": (lambda x, y, p: (x, y[None], p), 0),
    "labels of 16 bytes": (lambda x, y, p: (x, y.astype(np.longdouble), p), 0),
    "labels as times": (lambda x, y, p: (x, y.astype("datetime64[s]"), p), 0),
    "pixels of 16 bytes in [0, 255]": (lambda x, y, p: (x.astype(np.longdouble), y, p), 0),
    "pixels from -128 to 127": (lambda x, y, p: ((x.astype(int) - 128).astype(np.int8), y, p), 0),
    "ids as dates": (lambda x, y, p: (x, y, np.unique(p, return_inverse=True)[1].astype("datetime64[D]")), 0),
    "labels as objects": (lambda x, y, p: (x, y.astype(object), p), 0),
    "ids as objects": (lambda x, y, p: (x, y, as_objects(p.tolist())), 0),
    "ids in another encoding": (lambda x, y, p: (x, y, np.char.encode(np.char.add(p, "\u00fc"), "latin-1")), 0),
}


BRIGHTEST = {"pixels of 16 bits": 65535, "pixels of 10 bits": 1023, "floats four times as bright": 1020}


@pytest.mark.parametrize("wrong", BAD)
def test_the_advice_of_a_refusal_leads_to_data_that_are_read_rightly(
    made: PatchSet, tmp_path: Path, wrong: str
) -> None:
    assert made.labels is not None
    assert made.patients is not None
    change, off = BAD[wrong]
    arrays = dict(zip(("X", "Y", "patients"), change(made.pixels, made.labels, made.patients), strict=True))
    source = write(tmp_path, *arrays.values())
    with pytest.raises(DataError) as caught:
        read_patches(source)
    message = str(caught.value)
    file = re.search(r"/(X|Y|patients)\.npy", message)
    advice = ADVICE.search(message)
    assert file, message
    assert advice, message
    typed = eval(advice[1], {"np": np, "WHITE": BRIGHTEST.get(wrong)}, arrays)  # as its reader would type it
    np.save(tmp_path / f"{file[1]}.npy", typed)
    read = read_patches(source)
    np.testing.assert_array_equal(read.labels, made.labels)
    assert read.patients is not None
    if wrong == "ids as dates":
        assert len(set(read.patients.tolist())) == len(set(made.patients.tolist()))
        return
    assert [one.removesuffix("\u00fc") for one in read.patients.tolist()] == made.patients.tolist()
    expected = made.pixels if off == 0 else np.repeat(made.pixels[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(read.pixels, expected)


@pytest.mark.parametrize("name", ["Y", "patients"])
def test_records_are_refused_as_such_and_one_of_their_columns_is_read(
    made: PatchSet, tmp_path: Path, name: str
) -> None:
    arrays = {"X": made.pixels, "Y": made.labels, "patients": made.patients}
    column = np.asarray(arrays[name])
    records = np.array([(one,) for one in column.tolist()], dtype=[("NAME", column.dtype)])
    source = write(tmp_path, *(arrays | {name: records}).values())
    with pytest.raises(DataError, match=rf"{name}.npy holds records; .* as {name}\['NAME'\], with np.save"):
        read_patches(source)
    np.save(tmp_path / f"{name}.npy", records["NAME"])
    assert read_patches(source).patients.tolist() == made.patients.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_pixels_that_were_rounded_to_zero_and_one_are_refused(made: PatchSet, tmp_path: Path, dtype: str) -> None:
    source = write(tmp_path, np.round(made.pixels / 255).astype(dtype), made.labels)
    with pytest.raises(DataError, match=r"np.round\(X \* 255\).astype\('uint8'\)"):
        read_patches(source)
    np.save(tmp_path / "X.npy", np.round(made.pixels / 255 * 255).astype("uint8"))  # of the values before
    np.testing.assert_array_equal(read_patches(source).pixels, made.pixels)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_a_black_patch_is_told_as_black_and_not_as_rounded(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "X.npy", np.zeros((1, 50, 50, 3), dtype))
    with pytest.raises(
        DataError, match=rf"{dtype} values from 0 to 0; .*: every patch is black: leave them out, or, where"
    ):
        read_patches(str(tmp_path), labelled=False)


def test_a_value_above_one_anywhere_is_enough_and_what_is_nearly_black_is_said(tmp_path: Path) -> None:
    pixels = np.zeros((600, 50, 50, 3), np.uint8)
    pixels[-1, -1, -1, -1] = 2
    source = write(tmp_path, pixels, np.arange(600) % 2)
    black = "of 0 to 255: every patch is nearly black, as masks are or scaled pixels"
    assert read_patches(source).notes == (f"{source}: pixels have only the values 0, 2, {black}",)
    write(tmp_path, np.broadcast_to(np.arange(50, dtype=np.uint8)[:, None], (600, 50, 50, 3)), np.arange(600) % 2)
    assert read_patches(source).notes == (f"{source}: pixels have no value above 49, {black}",)
    write(tmp_path, np.where(pixels == 2, 51, pixels), np.arange(600) % 2)
    assert read_patches(source).notes == ()


def test_standardised_pixels_are_told_as_such(made: PatchSet, tmp_path: Path) -> None:
    pixels = (made.pixels - 180.0) / 30
    with pytest.raises(DataError, match=r"float64 values from -\d.* to \d.*they look standardised: undo that"):
        read_patches(write(tmp_path, pixels, made.labels))
