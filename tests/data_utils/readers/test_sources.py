"""Several sources at once: single pictures, patterns, folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import FormatError, NotFoundError
from data_utils.readers.patches import read_patches
from data_utils.readers.sources import matched, read_sources

PIXELS = np.array(read_patches("synthetic:60").pixels[:4])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures: two of a patient in a folder of her own, one of a public name, one that is no patch."""
    (tmp_path / "set" / "1").mkdir(parents=True)
    for number in range(2):
        Image.fromarray(PIXELS[number]).save(tmp_path / "set" / "1" / f"{number}.png")
    Image.fromarray(PIXELS[2]).save(tmp_path / "8863_idx5_x1001_y751_class0.png")
    Image.fromarray(PIXELS[3][:20]).save(tmp_path / "border.png")
    return tmp_path


def test_single_pictures_are_known_by_their_own_names_alone(folder: Path, tmp_path: Path) -> None:
    named = [str(folder / "set/1/1.png"), str(folder / "8863_idx5_x1001_y751_class0.png"), str(folder / "border.png")]
    (read,) = read_sources(named, tmp_path)
    np.testing.assert_array_equal(read.pixels, PIXELS[[1, 2]])
    assert isinstance(read.pixels.base, np.memmap) or isinstance(read.pixels, np.memmap)
    assert read.names.tolist() == ["1.png", "8863_idx5_x1001_y751_class0.png"]
    assert read.patients is not None
    assert read.patients.tolist() == ["", "8863"]
    assert (read.x.tolist(), read.y.tolist()) == ([-1, 1001], [-1, 751])
    assert read.labels is None
    assert sum(count for _, count in read.exclusions) == 1


def test_a_pattern_stands_for_what_it_matches_and_a_real_name_for_itself(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = matched(str(folder / "**" / "*.png"))
    assert [Path(path).name for path in found] == ["8863_idx5_x1001_y751_class0.png", "border.png", "0.png", "1.png"]
    (folder / "a[1].png").write_bytes((folder / "border.png").read_bytes())
    assert matched(str(folder / "a[1].png")) == [str(folder / "a[1].png")]
    with pytest.raises(NotFoundError, match=r"\*\.tif matches nothing"):
        matched(str(folder / "*.tif"))
    monkeypatch.chdir(folder)
    (read,) = read_sources(["set/1/*.png"], tmp_path)
    np.testing.assert_array_equal(read.pixels, PIXELS[:2])


def test_sources_of_every_form_come_in_turn(folder: Path, tmp_path: Path) -> None:
    picture = str(folder / "8863_idx5_x1001_y751_class0.png")
    sets = list(read_sources([str(folder / "set"), "synthetic:60", picture, picture, "synthetic:70"], tmp_path))
    assert [len(read) for read in sets] == [2, 60, 2, 70]
    assert [read.source for read in sets][1::2] == ["synthetic:60", "synthetic:70"]
    np.testing.assert_array_equal(sets[0].pixels, PIXELS[:2])


def test_pictures_none_of_which_is_a_patch_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none of 1 pictures is a patch"):
        list(read_sources([str(folder / "border.png")], tmp_path))
