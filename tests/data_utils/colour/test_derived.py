"""The file of transformed pixels: made once, of the training part's reference, and never taken for another."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_utils.colour import derived
from data_utils.colour.derived import derive, load_derived
from data_utils.colour.preprocessing import Preprocessing, fit
from data_utils.errors import FormatError
from data_utils.split.prepare import DevelopmentSet, load_development, prepare


@pytest.fixture
def development(tmp_path: Path) -> Path:
    made = prepare("synthetic:120", tmp_path / "data", name="first", fractions=(70, 15, 15), seed=0, lock=None)
    return made.development


@pytest.fixture
def patches(development: Path) -> DevelopmentSet:
    return load_development(development)


def test_it_is_fitted_on_the_training_part_and_mapped(development: Path, patches: DevelopmentSet) -> None:
    folder = development.with_name("macenko")
    fitted = derive("macenko", development, folder)
    assert fitted == fit("macenko", patches.pixels, np.flatnonzero(patches.part == "train"))
    pixels, stored = load_derived(folder, patches)
    assert stored == fitted
    assert isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable
    np.testing.assert_array_equal(pixels, fitted.apply(patches.pixels))
    np.testing.assert_array_equal(load_development(development).pixels, patches.pixels)  # stay raw


def test_a_second_time_nothing_is_fitted_or_written(
    development: Path, patches: DevelopmentSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = development.with_name("reinhard")
    fitted = derive("reinhard", development, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(derived, "fit", None)
    assert derive("reinhard", development, folder) == fitted
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_it_stays_where_the_patches_are_read_anew(tmp_path: Path) -> None:
    """As finalize does; a search may be at work on them."""
    asked = {"name": "first", "fractions": (70, 15, 15), "seed": 0}
    made = prepare("synthetic:120", tmp_path / "data", lock=None, **asked)
    folder = made.development.with_name("macenko")
    fitted = derive("macenko", made.development, folder)
    before = made.development.stat().st_ino
    again = prepare("synthetic:120", tmp_path / "data", lock=made.lock, rehash=True, **asked)
    assert again.development.stat().st_ino != before
    assert load_derived(folder, load_development(again.development))[1] == fitted
    assert not list(tmp_path.glob(".data-*"))


def test_none_writes_nothing(development: Path) -> None:
    assert derive("none", development, development.with_name("none")) == Preprocessing()
    assert sorted(path.name for path in development.parent.iterdir()) == ["development", "meta.json", "sealed"]


def test_what_was_cut_off_or_is_of_other_patches_is_refused_and_made_again(
    development: Path, patches: DevelopmentSet
) -> None:
    folder = development.with_name("standardise")
    fitted = derive("standardise", development, folder)
    meta = json.loads((folder / "meta.json").read_text())
    for broken, reason in (
        ({**meta, "digest": "0" * 64}, "made of other patches"),
        ({**meta, "fitted": {"kind": "macenko"}}, "does not say what was fitted"),
    ):
        (folder / "meta.json").write_text(json.dumps(broken))
        with pytest.raises(FormatError, match=reason):
            load_derived(folder, patches)
        assert derive("standardise", development, folder) == fitted
        assert load_derived(folder, patches)[1] == fitted
    (folder / "meta.json").unlink()
    with pytest.raises(FormatError, match="not a whole cache"):
        load_derived(folder, patches)


def test_a_write_that_fails_leaves_nothing(development: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Preprocessing, "apply", full)
    with pytest.raises(OSError, match="No space left"):
        derive("macenko", development, development.with_name("macenko"))
    assert sorted(path.name for path in development.parent.iterdir()) == ["development", "meta.json", "sealed"]
