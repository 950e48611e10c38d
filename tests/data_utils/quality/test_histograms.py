import colorsys

import numpy as np
import pytest

from data_utils.quality.histograms import colour_histograms, mean_colour, saturation


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (700, 50, 50, 3)).astype(np.uint8)  # more than one piece


def test_mean_colour_is_that_of_each_channel(patches: np.ndarray) -> None:
    np.testing.assert_allclose(mean_colour(patches), patches.reshape(700, -1, 3).mean(axis=1))
    assert mean_colour(patches[:0]).shape == (0, 3)


def test_saturation_is_that_of_hsv(patches: np.ndarray) -> None:
    expected = [
        np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in patch.reshape(-1, 3) / 255]) for patch in patches[:5]
    ]
    np.testing.assert_allclose(saturation(patches)[:5], expected, rtol=1e-5)
    grey, black, red = (np.full((1, 50, 50, 3), colour, np.uint8) for colour in ((90, 90, 90), (0, 0, 0), (200, 0, 0)))
    assert saturation(np.concatenate([grey, black, red])).tolist() == [0, 0, 1]


def test_histograms_count_what_numpy_counts_for_all_patches_or_some(patches: np.ndarray) -> None:
    found = colour_histograms(patches)
    assert found.shape == (700, 48)
    for row in (0, 511, 512, 699):
        for channel in range(3):
            counts = np.histogram(patches[row, ..., channel], np.arange(0, 257, 16))[0]
            np.testing.assert_array_equal(found[row, channel::3], counts / 2500)
    rows = np.array([699, 3, 512])
    np.testing.assert_array_equal(colour_histograms(patches, rows), found[rows])
