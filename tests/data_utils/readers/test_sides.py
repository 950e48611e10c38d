"""Patches of one side, whichever the data have: the commonest is found, kept through every step, and told."""

from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.colour.preprocessing import fit
from data_utils.errors import FormatError, LockMismatchError
from data_utils.quality.exploration import find_repetitions, measure
from data_utils.quality.measures import duplicate_groups, sharpness
from data_utils.quality.sheets import png
from data_utils.readers import _decode
from data_utils.readers.patches import PatchSet, fingerprint, read_patches, signature
from data_utils.readers.patchset import Pixels
from data_utils.split.draw import draw_lock
from data_utils.split.holdout import open_sealed
from data_utils.split.lock import SplitLock, verify_fingerprint
from data_utils.split.prepare import load_development, prepare

SIDES = pytest.mark.parametrize("side", [32, 96, 256])


@cache
def made_of(side: int) -> PatchSet:
    """Larger ones take seconds to draw, so they are drawn once."""
    return read_patches(f"synthetic:60@{side}")


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60@96")


def write_pictures(folder: Path, patches: PatchSet, name: str = "{patient}/{label}/{name}") -> Path:
    rows = zip(patches.pixels, patches.patients, patches.labels, patches.names, strict=True)  # type: ignore[arg-type]
    for pixels, patient, label, file in rows:
        path = folder / name.format(patient=patient, label=label, name=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@SIDES
def test_made_up_patches_have_the_side_that_is_asked_for(side: int) -> None:
    patches = read_patches(f"synthetic:60@{side}:3")
    assert patches.pixels.shape == (60, side, side, 3)
    assert patches.side == side
    grid = {int(place) % side for place in (*patches.x, *patches.y)}
    assert grid == {1}, "they lie side by side"
    assert signature(f"synthetic:60@{side}:3") != signature("synthetic:60:3")


def test_fifty_pixels_are_what_they_were() -> None:
    usual, named = read_patches("synthetic:60"), read_patches("synthetic:60@50")
    assert fingerprint(usual) == fingerprint(named)
    assert signature("synthetic:60") == signature("synthetic:60@50")
    assert fingerprint(usual).startswith("5ad2c262beb7")
    assert '"side"' not in draw_lock(usual, "s", (70, 15, 15), 0).to_json()


@pytest.mark.parametrize("side", [31, 257, 100_000])
def test_made_up_patches_of_other_sides_are_refused(side: int) -> None:
    with pytest.raises(FormatError, match=f"asks for patches of {side} pixels; expected a side of 32 to 256"):
        made_of(side)


@SIDES
def test_arrays_of_any_side_are_read(tmp_path: Path, side: int) -> None:
    patches = made_of(side)
    np.save(tmp_path / "X.npy", patches.pixels.astype(np.uint16))
    np.save(tmp_path / "Y.npy", patches.labels)
    np.testing.assert_array_equal(read_patches(str(tmp_path), into=tmp_path / "into.npy").pixels, patches.pixels)


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((60, 3, 96, 96), ": save it as np.moveaxis(X, 1, -1)"),
        ((60, 96, 96), ": save it as np.stack([X] * 3, axis=-1) if they are grey"),
        ((60, 96, 96, 4), ": save it as X[..., :3] if the fourth channel is opaque everywhere"),
        ((60, 96, 95, 3), ""),
        ((60, 31, 31, 3), ""),
        ((60, 257, 257, 3), ""),
    ],
)
def test_arrays_of_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...], advice: str) -> None:
    np.save(tmp_path / "X.npy", np.full(shape, 200, np.uint8))
    np.save(tmp_path / "Y.npy", np.arange(60) % 2)
    with pytest.raises(FormatError) as caught:
        read_patches(str(tmp_path))
    expected = f"shape {shape}; expected (N, S, S, 3) with N of at least 1 and S from 32 to 256 pixels{advice}"
    assert str(caught.value).endswith(expected)


# --- pictures -------------------------------------------------------------------------------------------------------


def mixed(folder: Path, made: PatchSet, others: int) -> Path:
    """All of the set as pictures, the last of them cut to another size: squares first, then such as borders leave."""
    files = sorted(write_pictures(folder, made).rglob("*.png"))
    for number, file in enumerate(files[-others:]):
        picture = Image.open(file)
        picture.crop((0, 0, 50, 50 if number % 2 else 40)).save(file)
    return folder


@pytest.mark.parametrize("into", [None, "into.npy"])
def test_the_commonest_side_is_read_and_others_are_left_out_and_counted(
    made: PatchSet, tmp_path: Path, into: str | None
) -> None:
    read = read_patches(str(mixed(tmp_path / "pictures", made, 20)), into=into and tmp_path / into)
    assert (read.side, len(read), read.found) == (96, 40, 60)
    assert read.exclusions == (("other size than 96x96", 20),)
    assert set(read.digests) < set(made.digests)


@pytest.mark.parametrize("processes", [False, True])
def test_where_the_first_look_misleads_all_is_decoded_again(
    made: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    folder = mixed(tmp_path / "pictures", made, 20)
    monkeypatch.setattr(_decode, "_first_sides", lambda *_: _decode.Counter({(50, 50): 1}))
    if processes:
        monkeypatch.setattr(_decode, "_PARALLEL_FROM", 1)
        monkeypatch.setattr(_decode, "_PIECE", 100)
    read = read_patches(str(folder), into=tmp_path / "into.npy", pieces=tmp_path / "pieces")
    assert (read.side, len(read), read.exclusions) == (96, 40, (("other size than 96x96", 20),))
    assert set(read.digests) < set(made.digests)


def test_of_two_sides_that_are_as_common_the_larger_is_read(made: PatchSet, tmp_path: Path) -> None:
    few = made.take(np.arange(20))
    write_pictures(
        tmp_path, replace(few, pixels=np.ascontiguousarray(few.pixels[:, :60, :60])), "P{patient}/{label}/{name}"
    )
    for file in tmp_path.rglob("*.png"):  # public names say whose they are: the small ones get others
        file.rename(file.with_name(f"small{file.name.partition('_')[2]}"))
    write_pictures(tmp_path, few)
    read = read_patches(str(tmp_path), labelled=False)
    assert (read.side, read.exclusions) == (96, (("other size than 96x96", 20),))


def test_where_nothing_is_a_patch_the_first_picture_says_why(made: PatchSet, tmp_path: Path) -> None:
    few = made.take(np.arange(5))
    write_pictures(tmp_path, replace(few, pixels=np.zeros((5, 20, 30, 3), np.uint8)))
    message = "none of 5 pictures is a patch, a square of 32 to 256 pixels; first: other size than 50x50: 30x20"
    with pytest.raises(FormatError, match=message):
        read_patches(str(tmp_path))


# --- every later step -----------------------------------------------------------------------------------------------


def test_the_side_is_part_of_the_lock_and_of_both_caches(made: PatchSet, tmp_path: Path) -> None:
    how = {"name": "s", "fractions": (70, 15, 15), "seed": 0}
    prepared = prepare("synthetic:60@96", tmp_path / "data", lock=None, **how)  # type: ignore[arg-type]
    assert '"side":96' in prepared.lock.to_json()
    assert SplitLock.from_json(prepared.lock.to_json(), "here") == prepared.lock
    assert load_development(prepared.development).side == 96
    assert open_sealed(prepared.sealed, prepared.lock.sealed).side == 96
    with pytest.raises(LockMismatchError, match=r"locked to another split: patches of 50 pixels \(locked: 96\)"):
        prepare("synthetic:60", tmp_path / "data", lock=prepared.lock, **how)  # type: ignore[arg-type]
    verify_fingerprint(prepared.lock, fingerprint(made), 96)
    np.save(prepared.development / "pixels.npy", np.zeros((45, 96, 50, 3), np.uint8))
    with pytest.raises(FormatError, match=r"not a whole cache \(pixels has the shape"):
        load_development(prepared.development)


@SIDES
def test_turned_copies_are_found_at_any_side(side: int) -> None:
    patches = made_of(side)
    pixels = patches.pixels.copy()
    pixels[7] = np.clip(np.rot90(pixels[3]).astype(int) + 2, 0, 255)
    copied = replace(patches, pixels=pixels)
    groups = duplicate_groups(copied)
    assert groups[7] == groups[3]
    assert len(np.unique(groups)) == 59
    repetitions = find_repetitions(copied, measure(pixels).near_white)
    assert repetitions.near[7] == repetitions.near[3]


def test_sharpness_is_a_matter_of_pixels_and_not_of_their_number(made: PatchSet) -> None:
    whole = sharpness(made.pixels)
    cut = sharpness(np.ascontiguousarray(made.pixels[:, :48, :48]))
    assert np.median(np.abs(cut / whole - 1)) < 0.2


@SIDES
@pytest.mark.parametrize("kind", ["standardise", "reinhard", "macenko"])
def test_every_preprocessing_takes_any_side(side: int, kind: str) -> None:
    pixels = made_of(side).pixels[:20]
    fitted = fit(kind, pixels, np.arange(20))
    assert fitted.patches == 20
    done = fitted.apply(pixels)
    assert done.shape == pixels.shape
    assert (done != pixels).any()
    np.testing.assert_array_equal(done[5:7], fitted.apply(pixels[5:7]))


@pytest.mark.parametrize(("side", "shown"), [(50, 50), (96, 96), (256, 128)])
def test_pictures_for_a_page_are_no_larger_than_it_shows_them(side: int, shown: int) -> None:
    patch: Pixels = made_of(side).pixels[0]
    picture = np.asarray(Image.open(BytesIO(png(patch))))
    assert picture.shape == (shown, shown, 3)
    if side == shown:
        np.testing.assert_array_equal(picture, patch)
