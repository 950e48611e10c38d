"""What a network takes for a patch: counted by hand, and measured."""

import time

import pytest
import torch
from torch import Tensor, nn

from models._registry import load_model, model_names
from search.training.device import Compute
from search.training.loop import EVALUATION_BATCH
from search.training.speed import TooSlowError, batch_of, check_speed, milliseconds, multiply_adds

SIDE = 50


class Idle(nn.Module):
    """A network that takes so long for a batch, of which the first takes longer."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.left, self.seconds = 3 * seconds, seconds

    def forward(self, images: Tensor) -> Tensor:
        time.sleep(self.seconds + self.left)
        self.left = 0.0
        return images


def test_a_patch_takes_its_share_of_the_fastest_batch() -> None:
    batch = batch_of(SIDE, Compute())
    assert batch.shape == (EVALUATION_BATCH["cpu"], 3, SIDE, SIDE)
    taken = milliseconds(Idle(0.064), batch, Compute())
    assert 64 / len(batch) <= taken < 1.3 * 64 / len(batch)


def test_a_network_is_refused_by_the_time_it_takes_and_stays_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(1))
    network(torch.zeros(2, 3, SIDE, SIDE))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    check_speed(network, SIDE, Compute(), None)
    check_speed(network, SIDE, Compute(), 1e6)
    with pytest.raises(
        TooSlowError, match=r"ms a patch on \d+ CPU threads?, more than the 1e-07 of --max-ms-per-patch"
    ):
        check_speed(network, SIDE, Compute(), 1e-7)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_multiply_adds_are_those_of_a_count_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * SIDE**2, 7)).eval()
    assert multiply_adds(network, batch_of(SIDE, Compute()), Compute()) == 8 * 27 * SIDE**2 + 7 * 8 * SIDE**2


@pytest.mark.parametrize("name", model_names())
def test_every_model_is_counted(name: str) -> None:
    model = load_model(name)
    network = model.build(model.configuration(model.default), None).eval()
    assert (
        multiply_adds(network, batch_of(SIDE, Compute()), Compute())
        > sum(one.numel() for one in network.parameters()) / 10
    )
