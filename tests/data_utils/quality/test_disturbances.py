"""Small changes do what they are called, and leave what they do not change as it is."""

import numpy as np
import pytest

from data_utils.quality.disturbances import DISTURBANCES, as_jpeg, blurred_by, contrasted, saturated, shifted, stained
from data_utils.quality.measures import sharpness, stain_density
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import Pixels


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.array(read_patches("synthetic:60").pixels[:12])


def test_each_changes_something_and_keeps_shape_and_type(pixels: Pixels) -> None:
    for name, change in DISTURBANCES.items():
        found = change(pixels)
        assert found.shape == pixels.shape, name
        assert found.dtype == np.uint8, name
        assert (found != pixels).any(axis=(1, 2, 3)).all(), name
        assert np.abs(found.astype(int) - pixels).mean() < 40, name


def test_a_shift_moves_every_pixel_right_and_down(pixels: Pixels) -> None:
    found = shifted(pixels, 3)
    assert np.array_equal(found[:, 3:, 3:], pixels[:, :-3, :-3])
    assert np.array_equal(found[:, 2, 3:], pixels[:, 1, :-3]), "what comes in is mirrored"


def test_a_stain_is_multiplied_and_the_other_is_not(pixels: Pixels) -> None:
    before = stain_density(pixels)
    for stain, factor in ((0, 1.2), (1, 0.8)):
        after = stain_density(stained(pixels, stain, factor))
        assert after[stain] == pytest.approx(factor * before[stain], abs=0.01)
        assert after[1 - stain] == pytest.approx(before[1 - stain], abs=0.01)
    assert np.abs(stained(pixels, 0, 1.0).astype(int) - pixels).max() <= 1


def test_saturation_and_contrast_go_away_from_each_pixel_s_grey_and_from_the_patch_s_mean(pixels: Pixels) -> None:
    dull = saturated(pixels, 0.5)
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(dull @ luma, pixels @ luma, atol=1)
    np.testing.assert_allclose(np.ptp(dull, axis=-1), np.ptp(pixels, axis=-1) / 2, atol=1)
    flat = contrasted(pixels, 0.5)
    np.testing.assert_allclose(flat.mean(axis=(1, 2, 3)), pixels.mean(axis=(1, 2, 3)), atol=0.5)
    np.testing.assert_allclose(flat.std(axis=(1, 2, 3)), pixels.std(axis=(1, 2, 3)) / 2, atol=0.5)
    for change in (saturated, contrasted):
        assert np.abs(change(pixels, 1.0).astype(int) - pixels).max() <= 1


def test_blur_and_jpeg_lose_detail_the_more_the_stronger_they_are(pixels: Pixels) -> None:
    assert (sharpness(blurred_by(pixels, 1.0)) < sharpness(blurred_by(pixels, 0.5))).all()
    far = [np.abs(as_jpeg(pixels, quality).astype(int) - pixels).mean() for quality in (80, 50)]
    assert far[0] < far[1]
