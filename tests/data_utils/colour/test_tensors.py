"""Preprocessing as PyTorch operations: the same levels as NumPy's, but for those that sums round the other way."""

import numpy as np
import pytest
import torch

from data_utils.colour.preprocessing import fit
from data_utils.colour.tensors import EXPRESSIBLE, as_module
from data_utils.readers.patches import read_patches


@pytest.mark.parametrize("kind", EXPRESSIBLE)
def test_levels_are_those_of_numpy(kind: str) -> None:
    pixels = np.array(read_patches("synthetic:60").pixels)
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    pixels = (pixels.astype(np.int64) + noise).clip(0, 255).astype(np.uint8)
    pixels[0] = 230  # glass
    pixels[1] = 90  # one colour
    pixels[2, ..., 1] = 40  # one channel without contrast
    pixels[3, :, :45] = 250  # at the border of glass
    pixels[4] = 0
    preprocessing = fit(kind, pixels, np.arange(5, 60))
    expected = preprocessing.apply(pixels).astype(np.int64)
    levels = as_module(preprocessing)(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    found = levels.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(found, np.rint(found))
    apart = np.abs(found - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    np.testing.assert_array_equal(found[[0, 1, 3, 4]], pixels[[0, 1, 3, 4]])
    assert kind == "none" or (found[5:] != pixels[5:]).mean() > 0.5
