from collections.abc import Callable

import numpy as np
import pytest
import torch

from data_utils.colour.augment import VIEWS, colour_jitter, dihedral, stain_jitter
from data_utils.quality._near import symmetries
from data_utils.quality.disturbances import contrasted, saturated
from data_utils.readers.patches import read_patches

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    """(60, 3, 50, 50) float RGB in [0, 1]."""
    return torch.from_numpy(read_patches("synthetic:60").pixels).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_eight_views_are_the_eight_symmetries(device: str, dtype: torch.dtype, layout: torch.memory_format) -> None:
    patch = torch.arange(3 * 16).reshape(1, 3, 4, 4)
    batch = patch.repeat(VIEWS, 1, 1, 1).to(device, dtype).to(memory_format=layout)
    views = dihedral(batch, torch.arange(VIEWS, device=device)).cpu()
    assert views.dtype == dtype
    expected = symmetries(patch.permute(0, 2, 3, 1).numpy())
    for view, symmetry in zip(views, expected, strict=True):
        np.testing.assert_array_equal(view.permute(1, 2, 0).to(torch.int64).numpy(), symmetry[0])
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8
    assert torch.equal(views[0], batch[0].cpu())


def test_each_patch_gets_its_own_view(batch: torch.Tensor) -> None:
    view = torch.randint(0, VIEWS, (60,), generator=torch.Generator().manual_seed(0))
    together = dihedral(batch, view)
    for row in range(60):
        assert torch.equal(together[row], dihedral(batch[row : row + 1], view[row : row + 1])[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("jitter", [stain_jitter, colour_jitter])
def test_jitter_is_decided_by_its_generator(
    batch: torch.Tensor, device: str, jitter: Callable[[torch.Tensor, float, torch.Generator], torch.Tensor]
) -> None:
    first, again, other = (
        jitter(batch.to(device), 0.1, torch.Generator().manual_seed(seed)).cpu() for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == batch.shape
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_stain_jitter_grows_with_its_strength_and_vanishes_at_zero(batch: torch.Tensor) -> None:
    changes = [
        float((stain_jitter(batch, strength, torch.Generator().manual_seed(0)) - batch).abs().mean())
        for strength in (0.0, 1e-6, 0.05, 0.2)
    ]
    assert changes[0] == 0
    assert changes[1] < 1e-4
    assert 0.005 < changes[2] < 0.5 * changes[3] < 0.1


def test_stain_jitter_moves_stains_and_not_texture(batch: torch.Tensor) -> None:
    changed = stain_jitter(batch, 0.2, torch.Generator().manual_seed(0))
    for before, after in zip(batch[:10].mean(1), changed[:10].mean(1), strict=True):
        assert np.corrcoef(before.flatten(), after.flatten())[0, 1] > 0.98
    shifts = (changed - batch).mean((2, 3))  # (N, 3): another one for each patch
    assert float(shifts.std(0).min()) > 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_colour_jitter_changes_saturation_and_contrast_of_each_patch_alone(batch: torch.Tensor, device: str) -> None:
    first = colour_jitter(batch.to(device), 0.2, torch.Generator().manual_seed(1)).cpu()
    factors = 1 + 0.2 * (2 * torch.rand((2, len(batch)), generator=torch.Generator().manual_seed(1)).numpy() - 1)
    pixels = (255 * batch[:20]).permute(0, 2, 3, 1).numpy().round().astype(np.uint8)
    for pixel, found, saturation, contrast in zip(pixels, first, *factors, strict=False):
        expected = contrasted(saturated(pixel[None], saturation), contrast)[0]
        apart = np.abs(255 * found.permute(1, 2, 0).numpy() - expected)
        assert np.percentile(apart, 95) < 2.5  # rounded twice, and clipped after the first change, too
    assert torch.equal(colour_jitter(batch, 0.0, torch.Generator()), batch)
