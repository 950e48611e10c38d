"""Grad-CAM looks where the network looks, for every model, also behind frozen layers."""

import numpy as np
import pytest
import torch
from optuna.trial import FixedTrial
from torch import Tensor, nn

from models._registry import load_model
from search.final.gradcam import grad_cam

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 50, 50, 3), dtype=np.uint8)


class Brightness(nn.Module):
    """Its score rises with the brightness of a place, through one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.last_features = nn.Conv2d(3, 1, 1)
        nn.init.ones_(self.last_features.weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.last_features(images).mean(dim=(1, 2, 3))


class Blind(nn.Module):
    """A model that names no last features."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3))


def test_the_bright_corner_is_found() -> None:
    pixels = np.zeros((1, 50, 50, 3), np.uint8)
    pixels[0, :10, :10] = 255
    heat = grad_cam(Brightness(), pixels)
    assert heat is not None
    assert heat.shape == (1, 50, 50)
    assert heat[0, :10, :10].min() > 2 * heat[0, 15:, 15:].max()


@pytest.mark.parametrize("name", ["cnn", "vgg16"])
def test_every_model_shows_where_it_looks(name: str) -> None:
    model = load_model(name)
    torch.manual_seed(0)
    heat = grad_cam(model.build(model.suggest(FixedTrial(dict(model.default))), None).eval(), PIXELS)
    assert heat is not None
    assert heat.shape == (3, 50, 50)
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_frozen_layers_do_not_hide_it() -> None:
    model = load_model("vgg16")
    torch.manual_seed(0)
    network = model.build(model.suggest(FixedTrial({**model.default, "frozen_blocks": 5})), None).eval()
    heat = grad_cam(network, PIXELS)
    assert heat is not None
    assert heat.max() == pytest.approx(1)


def test_a_model_without_last_features_has_no_heat_map() -> None:
    assert grad_cam(Blind(), PIXELS) is None
