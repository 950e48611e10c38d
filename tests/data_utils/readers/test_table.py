"""Pictures that a CSV file lists, with all that it says of them; what it may not say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import DataError
from data_utils.readers.patches import PatchSet, check_there, fingerprint, read_patches, signature

FULL = "path,label,patient,x,y"


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60@40")


def write(folder: Path, patches: PatchSet, header: str = FULL, ending: str = "png", encoding: str = "utf-8") -> Path:
    """The table beside a folder of pictures that are only numbered."""
    (folder / "all").mkdir(parents=True, exist_ok=True)
    lines = [header]
    for number, pixels in enumerate(patches.pixels):
        path = f"all/{number}.{ending}"
        Image.fromarray(pixels).save(folder / path)
        known = {
            "path": path, "label": patches.labels[number], "patient": patches.patients[number],  # type: ignore[index]
            "x": patches.x[number], "y": patches.y[number], "stage": "III",
        }  # fmt: skip
        lines.append(",".join(str(known[column.strip().lower()]) for column in header.split(",")))
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
    return folder / "list.csv"


def changed(table: Path, old: str, new: str) -> str:
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    return str(table)


@pytest.mark.parametrize(("ending", "encoding"), [("png", "utf-8"), ("tif", "utf-8-sig")])
def test_what_a_table_says_is_read(made: PatchSet, tmp_path: Path, ending: str, encoding: str) -> None:
    source = str(write(tmp_path, made, ending=ending, encoding=encoding))
    check_there(source)
    read = read_patches(source, into=tmp_path / "into.npy")
    assert fingerprint(read) == fingerprint(made)
    np.testing.assert_array_equal(np.stack([read.x, read.y]), np.stack([made.x, made.y]))
    assert (read.names[7], read.found, read.exclusions, read.notes) == (f"7.{ending}", 60, (), ())


def test_columns_may_be_missing_in_another_order_or_mean_nothing(made: PatchSet, tmp_path: Path) -> None:
    read = read_patches(str(write(tmp_path, made, "Label, PATH,stage")))
    assert (read.patients, read.x[0]) == (None, -1)
    np.testing.assert_array_equal(read.labels, made.labels)
    assert read.notes == (f"{tmp_path}/list.csv: columns that are not read: stage",)
    assert read_patches(str(write(tmp_path, made, "path")), labelled=False).labels is None


def test_a_table_is_read_as_pandas_and_windows_write_it(made: PatchSet, tmp_path: Path) -> None:
    table = write(tmp_path, made)
    lines = [line.split(",") for line in table.read_text().splitlines()[1:]]
    rows = [f"all\\{path[4:]},{label}.0,{patient},{x}.0,{y}.0" for path, label, patient, x, y in lines]
    rows[3] = rows[3].rsplit(",", 2)[0] + ",,"  # for which the others of its column have a point
    table.write_text("\r\n".join([FULL, *rows]))
    read = read_patches(str(table))
    assert fingerprint(read) == fingerprint(made)
    assert (read.x[3], read.y[3]) == (-1, -1)
    np.testing.assert_array_equal(np.delete(read.x, 3), np.delete(made.x, 3))
    assert read.notes == ("60 of 60 paths have backslashes, as Windows writes them: they were read as folders",)


def test_labels_may_be_words(made: PatchSet, tmp_path: Path) -> None:
    table = write(tmp_path, made)
    words = table.read_text().replace("png,1,", "png,tumor,").replace("png,0,", "png,normal,")
    table.write_text(words)
    assert fingerprint(read_patches(str(table), positive="tumor")) == fingerprint(made)
    with pytest.raises(DataError, match=r"has the labels normal, tumor, and none in 0 of 60 lines; .*--positive WORD"):
        read_patches(str(table))


def test_the_signature_changes_with_the_table_and_with_the_pictures(made: PatchSet, tmp_path: Path) -> None:
    table = write(tmp_path, made)
    first = signature(str(table))
    assert signature(str(table)) == first
    Image.fromarray(made.pixels[0]).save(tmp_path / "all" / "5.png")
    second = signature(str(table))
    changed(table, "S0001", "S0002")
    assert len({first, second, signature(str(table))}) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path,", "file,", "has 60 lines below the columns file, label, patient, x, y; expected a table with commas"),
        ("label,", "path,", "below the columns path, path, patient, x, y; expected .* each once"),
        (
            "all/3.png",
            "../3.png",
            r"1 of 60 paths lead out of its folder, or .* \(first: ../3.png\); put the table where",
        ),
        ("all/3.png", "all\\..\\..\\3.png", "1 of 60 paths lead out of its folder, or are absolute"),
        ("all/3.png", "/all/3.png", "1 of 60 paths lead out of its folder"),
        ("all/3.png", "all/4.png", "2 of 60 paths are listed twice .first: all/4.png.; list each picture once"),
        ("all/3.png", "all/3.svs", "1 of 60 paths name no PNG, JPEG or TIFF file"),
        ("all/3.png", "", r"1 of 60 paths are no printable text \(first: \)"),
        ("all/3.png", "all/300.png", "lists all/300.png, which cannot be read .No such file or directory.; expected"),
        ("all/3.png,", "all/3.png,2", "has the labels 0, 1, 2[01], and none in 0 of 60 lines; expected 0"),
        (",1,1\n", ",1.5,1\n", "place 1.5 in line 2; expected whole pixels of the slide, or nothing"),
        ("all/3.png", '"all/3.png', "cannot be read as a table .*; expected CSV in UTF-8: save it so"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(made: PatchSet, tmp_path: Path, old: str, new: str, message: str) -> None:
    source = changed(write(tmp_path, made), old, new)
    with pytest.raises(DataError, match=message) as caught:
        read_patches(source)
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_out_is_refused(made: PatchSet, tmp_path: Path) -> None:
    table = write(tmp_path / "set", made)
    picture = tmp_path / "set" / "all" / "3.png"
    picture.rename(tmp_path / "3.png")
    picture.symlink_to(tmp_path / "3.png")
    with pytest.raises(DataError, match="is a link that leads out of"):
        read_patches(str(table))


def test_a_folder_that_is_a_link_out_is_refused(made: PatchSet, tmp_path: Path) -> None:
    table = write(tmp_path / "set", made)
    (tmp_path / "set" / "all").rename(tmp_path / "all")
    (tmp_path / "set" / "all").symlink_to(tmp_path / "all")
    with pytest.raises(DataError, match=r"60 of 60 paths lead out of its folder by a link .*; copy the pictures there"):
        read_patches(str(table))


def test_a_table_in_latin_letters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path,label\nü.png,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot be read as a table .*; expected CSV in UTF-8"):
        signature(str(tmp_path / "list.csv"))
