from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, laplace

from data_utils.quality import _near
from data_utils.quality._near import near_pairs, symmetries
from data_utils.quality.measures import (
    black_share,
    blurred,
    brightness,
    duplicate_groups,
    near_black,
    near_white,
    one_colour,
    sharpness,
    stain_density,
    white_share,
)
from data_utils.readers.patches import PatchSet, read_patches


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:120")


@pytest.fixture(scope="module")
def real(shared: Path) -> PatchSet:
    return read_patches(str(shared / "data"))


def with_rows(patches: PatchSet, pixels: np.ndarray, like: np.ndarray) -> PatchSet:
    """More rows, with the labels, patients and names of the rows ``like``."""
    more = patches.take(np.concatenate([np.arange(len(patches)), like]))
    return replace(more, pixels=np.concatenate([patches.pixels, pixels]))


def noisy(pixels: np.ndarray, mean: float, seed: int = 0) -> np.ndarray:
    """Each patch changed by exactly ``mean`` of 255 in the mean, away from the ends of the scale."""
    rng = np.random.default_rng(seed)
    flat = pixels.reshape(len(pixels), -1).astype(np.int16)
    steps = np.zeros_like(flat)
    steps[:, ::2] = round(2 * mean)
    steps = rng.permuted(steps, axis=1) * np.where(flat > 127, -1, 1)
    return (flat + steps).astype(np.uint8).reshape(pixels.shape)


@pytest.mark.parametrize("view", range(8))
@pytest.mark.parametrize("change", [0.0, 1.0, 2.0])
def test_a_turned_or_flipped_copy_with_noise_is_found(made: PatchSet, view: int, change: float) -> None:
    source = np.array([4, 77])
    copies = noisy(symmetries(made.pixels[source])[view], change, seed=view)
    groups = duplicate_groups(with_rows(made, copies, source))
    sizes = Counter(groups.tolist())
    assert sorted(sizes.values()) == [1] * 118 + [2, 2]
    assert (groups[source] == groups[-2:]).all()


def test_a_copy_that_differs_by_more_is_another_patch(made: PatchSet) -> None:
    copies = noisy(made.pixels[[4, 77]], 2.5)
    groups = duplicate_groups(with_rows(made, copies, np.array([4, 77])))
    assert len(set(groups)) == 122


def test_a_chain_of_near_copies_is_one_group(made: PatchSet) -> None:
    first = noisy(made.pixels[[9]], 1.5, seed=1)
    second = noisy(first, 1.5, seed=2)
    groups = duplicate_groups(with_rows(made, np.concatenate([first, second]), np.array([9, 9])))
    assert groups[9] == groups[-1] == groups[-2]


def test_near_white_patches_join_no_group(made: PatchSet) -> None:
    glass = np.random.default_rng(0).integers(238, 244, (40, 50, 50, 3)).astype(np.uint8)
    assert near_white(glass).all()
    groups = duplicate_groups(with_rows(made, glass, np.zeros(40, np.int64)))
    assert len(set(groups)) == 160


@pytest.mark.parametrize("most", [_near._MOST, 0])
def test_near_pairs_are_all_pairs_that_comparing_everything_finds(
    real: PatchSet, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By few numbers first, and by all at once where too many pass that."""
    monkeypatch.setattr(_near, "_MOST", most)
    monkeypatch.setattr(_near, "_AT_A_TIME", 50)
    pixels = real.pixels[:150] // 8 + 100  # so little contrast that many are near
    first, second = near_pairs(pixels, np.arange(150), 2.0)
    wide = pixels.astype(np.int16).reshape(150, -1)
    expected = set()
    for view in symmetries(pixels):
        turned = view.astype(np.int16).reshape(150, -1)
        difference = np.stack([np.abs(turned - row).mean(axis=1) for row in wide])
        expected |= {(int(i), int(j)) for i, j in zip(*np.where(difference <= 2.0), strict=True) if i < j}
    assert len(expected) > 20
    assert {(int(min(pair)), int(max(pair))) for pair in zip(first, second, strict=True)} == expected


def test_planted_near_duplicates_are_found_in_the_real_arrays_and_no_others(real: PatchSet) -> None:
    dull = np.flatnonzero(~near_white(real.pixels))
    source = np.random.default_rng(0).choice(dull, 40, replace=False)
    views = [symmetries(real.pixels[[row]])[number % 8] for number, row in enumerate(source)]
    groups = duplicate_groups(with_rows(real, noisy(np.concatenate(views), 2.0), source))
    assert (groups[source] == groups[-40:]).all()
    assert len(set(groups)) == len(real)


def test_near_white_means_ninety_percent_of_pixels_at_220_in_every_channel() -> None:
    patches = np.full((4, 50, 50, 3), 220, np.uint8)
    patches[1, :5] = 0  # one tenth
    patches[2, :5] = 0
    patches[2, 5, 0] = 0
    patches[3, ..., 1] = 219
    assert near_white(patches).tolist() == [True, True, False, False]


def test_near_black_means_half_of_the_pixels_within_50_in_every_channel() -> None:
    patches = np.full((4, 50, 50, 3), 50, np.uint8)
    patches[1, :25] = 255
    patches[2, :25] = 255
    patches[2, 30, 0, 1] = 51
    patches[3, ..., 2] = 51
    assert near_black(patches).tolist() == [True, True, False, False]
    assert black_share(patches).tolist() == [1.0, 0.5, 0.4996, 0.0]
    assert white_share(patches).tolist() == [0.0, 0.5, 0.5, 0.0]


def test_sharpness_is_the_variance_of_the_laplacian_of_grey_levels(made: PatchSet) -> None:
    grey = [np.asarray(Image.fromarray(patch).convert("L")) for patch in made.pixels]
    expected = [laplace(patch.astype(np.float64))[1:-1, 1:-1].var() for patch in grey]
    np.testing.assert_allclose(sharpness(made.pixels), expected, rtol=0.005)  # Pillow rounds its luma another way
    assert sharpness(np.full((1, 50, 50, 3), 200, np.uint8)).tolist() == [0]
    assert sharpness(made.pixels[:0]).shape == (0,)


def test_a_view_of_a_patch_is_as_sharp_as_the_patch(made: PatchSet) -> None:
    for view in symmetries(made.pixels[:20]):
        np.testing.assert_array_equal(sharpness(view), sharpness(made.pixels[:20]))


def test_of_the_real_patches_only_those_out_of_focus_are_blurred_and_every_smoothed_one_is(real: PatchSet) -> None:
    assert np.flatnonzero(blurred(real.pixels)).tolist() == [202, 305, 1118, 1952, 1957]
    smooth = gaussian_filter(real.pixels[::10].astype(np.float32), (0, 2, 2, 0))
    assert blurred(np.rint(smooth).astype(np.uint8)).all()
    assert (near_white(real.pixels).sum(), np.flatnonzero(near_black(real.pixels)).tolist()) == (12, [1457])


def test_brightness_is_the_mean_level() -> None:
    patches = np.stack([np.zeros((50, 50, 3)), np.full((50, 50, 3), 255), np.full((50, 50, 3), 51)]).astype(np.uint8)
    assert brightness(patches).tolist() == [0, 255, 51]
    assert brightness(patches[:0]).shape == (0,)


def test_stain_density_unmixes_what_was_mixed() -> None:
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    amounts = np.array([[0.5, 0.1], [0.2, 0.4], [0.0, 0.0]])
    levels = np.round(255 * 10 ** -(amounts @ stains)).astype(np.uint8)
    haematoxylin, eosin = stain_density(np.broadcast_to(levels[:, None, None, :], (3, 50, 50, 3)))
    np.testing.assert_allclose(haematoxylin, amounts[:, 0], atol=0.01)
    np.testing.assert_allclose(eosin, amounts[:, 1], atol=0.01)


def test_idc_is_bluer_in_the_real_patches(real: PatchSet) -> None:
    haematoxylin, _ = stain_density(real.pixels)
    assert haematoxylin[real.labels == 1].mean() > 1.2 * haematoxylin[real.labels == 0].mean()


def test_a_patch_of_one_colour_is_told_from_one_that_is_nearly_so(made: PatchSet) -> None:
    pixels = made.pixels[:5].copy()
    pixels[0], pixels[1], pixels[2], pixels[3] = 255, 0, (240, 238, 241), 255
    pixels[3, 49, 49, 2] = 254
    assert one_colour(pixels).tolist() == [True, True, True, False, False]
    assert one_colour(pixels[:0]).tolist() == []
