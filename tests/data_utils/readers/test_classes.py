"""Classes as folders and labels name them: without patients, and by other names than 0 and 1."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import DataError, FormatError, LockMismatchError
from data_utils.readers.patches import PatchSet, read_patches
from data_utils.split.prepare import prepare

WORDS = np.array(["normal", "tumor"])


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60@40")


def write(folder: Path, patches: PatchSet, place: str) -> str:
    """The patches as numbered pictures; ``place`` is made of patient, label and word."""
    rows = zip(patches.pixels, patches.patients, patches.labels, strict=True)  # type: ignore[arg-type]
    for number, (pixels, patient, label) in enumerate(rows):
        file = folder / place.format(patient=patient, label=label, word=WORDS[label]) / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return str(folder)


def same(read: PatchSet, made: PatchSet) -> bool:
    """Whether the same patches have the same labels."""
    one, other = (dict(zip(each.digests, np.asarray(each.labels), strict=True)) for each in (read, made))
    return one == other


def refused(source: str, message: str, positive: str = "") -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_patches(source, positive=positive)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["{label}", "train/{label}"])
def test_folders_of_classes_are_read_without_patients(made: PatchSet, tmp_path: Path, place: str) -> None:
    read = read_patches(write(tmp_path, made, place))
    assert same(read, made)
    assert read.patients is None
    assert (
        read.notes[0] == "60 pictures have their class from their folder, CLASS: nothing says whose they are, or where"
    )


def test_a_folder_around_all_classes_is_no_patient(made: PatchSet, tmp_path: Path) -> None:
    write(tmp_path / "Patches", made, "{label}")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "Patches")
    read = read_patches(str(tmp_path / "packed.zip"))
    assert same(read, made)
    assert read.patients is None
    assert read.notes[0].startswith("60 pictures have their class from their folder, CLASS: nothing says whose")
    write(tmp_path / "A" / "Patches", made, "{word}")
    assert read_patches(str(tmp_path / "A"), positive="tumor").patients is None
    one = read_patches(str(tmp_path / "packed.zip"), labelled=False)
    assert {*np.asarray(one.patients)} == {"Patches"}, "of a prediction it may be the one patient that there is"


def test_masks_beside_pictures_are_no_patches(made: PatchSet, tmp_path: Path) -> None:
    source = write(tmp_path / "set", made, "{label}")
    first, second = sorted((tmp_path / "set").rglob("*.png"))[:2]
    masks = (f"{first.stem}_mask.png", f"{first.stem}_mask_1.png", f"{second.stem}-Mask.PNG")
    for name in (*masks, "alone_mask.png"):
        Image.new("L", (40, 40), 255 if name == "alone_mask.png" else 0).save(first.with_name(name))
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "set")
    for one in (source, str(tmp_path / "packed.zip")):
        read = read_patches(one)
        assert read.exclusions == (("mask of another picture", 3),)
        assert (len(read), read.found) == (61, 64)
        assert "alone_mask.png" in read.names
        assert not {*masks} & {*read.names.tolist()}


@pytest.mark.parametrize("place", ["{word}", "test/{word}", "{patient}/{word}"])
def test_two_names_are_told_apart_by_the_one_that_is_named(made: PatchSet, tmp_path: Path, place: str) -> None:
    source = write(tmp_path, made, place)
    read = read_patches(source, positive="tumor")
    assert same(read, made)
    assert (read.patients is None) == ("patient" not in place)
    turned = read_patches(source, positive="normal")
    assert same(turned, replace(made, labels=1 - np.asarray(made.labels)))


def test_names_that_do_not_tell_classes_apart_are_refused(made: PatchSet, tmp_path: Path) -> None:
    source = write(tmp_path / "two", made, "{word}")
    refused(source, r"60 of 60 names do not parse .*; of two classes that are called otherwise --positive NAME says")
    refused(source, r"--positive tumour: the pictures of .* lie in 2 folders of other names \(", "tumour")
    write(tmp_path / "two", made.take(np.arange(2)), "other")
    refused(source, r"lie in 3 folders of other names .*; expected two, of which tumor is one", "tumor")
    refused("synthetic:60", "--positive tumor: the classes of synthetic:60 are 0 and 1; leave it out", "tumor")


def test_names_that_say_their_class_need_no_folder(made: PatchSet, tmp_path: Path) -> None:
    for name, label, pixels in zip(made.names, np.asarray(made.labels), made.pixels, strict=True):
        file = tmp_path / WORDS[label] / str(name)
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(file)
    refused(
        str(tmp_path), r"--positive tumor: the names of pictures in .* say their class \(_class0, _class1\)", "tumor"
    )


@pytest.mark.parametrize("kind", ["U", "S", "(N, 1)", "numbers"])
def test_labels_that_are_words_are_read_by_the_one_that_is_named(made: PatchSet, tmp_path: Path, kind: str) -> None:
    labels = np.asarray(made.labels)
    forms = {
        "U": WORDS[labels],
        "S": WORDS[labels].astype("S"),
        "(N, 1)": WORDS[labels][:, None],
        "numbers": labels + 1,
    }
    np.save(tmp_path / "X.npy", made.pixels)
    np.save(tmp_path / "Y.npy", forms[kind])
    assert same(read_patches(str(tmp_path), positive="2" if kind == "numbers" else "tumor"), made)
    refused(str(tmp_path), r"--positive x: .*Y.npy holds 2 labels \('.*', '.*'\); expected two, of which x is one", "x")


def test_the_lock_keeps_what_the_class_is_called(made: PatchSet, tmp_path: Path) -> None:
    source = write(tmp_path / "set", made, "{patient}/{word}")
    how = {"name": "s", "fractions": (70, 15, 15), "seed": 0}
    prepared = prepare(source, tmp_path / "data", lock=None, positive="tumor", **how)  # type: ignore[arg-type]
    assert '"positive":"tumor"' in prepared.lock.to_json()
    again = prepare(source, tmp_path / "data", lock=prepared.lock, positive="tumor", rehash=True, **how)  # type: ignore[arg-type]
    assert again.lock == prepared.lock
    with pytest.raises(LockMismatchError, match=r"locked to another split: class with IDC 1 \(locked: tumor\)"):
        prepare(source, tmp_path / "data", lock=prepared.lock, **how)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="names do not parse"):
        prepare(source, tmp_path / "other", lock=None, **how)  # type: ignore[arg-type]
