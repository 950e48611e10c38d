"""Weights averaged along training, which are smoother from epoch to epoch than those of any single step."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """An exponential moving average of weights and running statistics (Izmailov et al. 2018).

    After few steps it forgets sooner, so that it does not drag the random beginning along.

    Attributes:
        network: the averaged one; frozen layers are shared with the network that learns.
    """

    def __init__(self, network: nn.Module, steps: float) -> None:
        """Begins with the weights as they are.

        Args:
            network: that learns; on its device.
            steps: over about so many the average reaches back, at least 1.
        """
        frozen: dict[int, Any] = {id(one): one for one in network.parameters() if not one.requires_grad}
        self.network = deepcopy(network, dict(frozen)).requires_grad_(False)
        self._decay = 1 - 1 / max(1.0, steps)
        self._steps = 0
        self._averaged = [tensor.detach() for tensor in _learned(self.network, frozen)]
        self._current = [tensor.detach() for tensor in _learned(network, frozen)]

    def follow(self) -> None:
        """Takes in the weights after one more step."""
        self._steps += 1
        decay = min(self._decay, self._steps / (9 + self._steps))
        get_ema_multi_avg_fn(decay)(self._averaged, self._current, self._steps)  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on needs of it."""
        return {"steps": self._steps, "averaged": self._averaged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where ``state`` was taken."""
        self._steps = state["steps"]
        with torch.no_grad():
            for held, stored in zip(self._averaged, state["averaged"], strict=True):
                held.copy_(stored)


def _learned(network: nn.Module, frozen: dict[int, Any]) -> Iterator[Tensor]:
    """Parameters that learn, and running statistics; not the whole numbers that count batches."""
    for tensor in (*network.parameters(), *network.buffers()):
        if id(tensor) not in frozen and tensor.is_floating_point():
            yield tensor
