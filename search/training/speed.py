"""How long a network takes for a patch on this machine, and how much it computes; pixels do not matter to either."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search.training.device import PREDICTION_LAYOUT, Compute
from search.training.loop import EVALUATION_BATCH

REPEATS = 5
"""Batches that are timed, of which the fastest counts: what else a machine does makes one slower, never faster."""
MOST_SECONDS = 2.0
"""After so long no further batch is timed."""
Layers = Callable[[Tensor], Tensor]


class TooSlowError(Exception):
    """A network takes longer for a patch than its user allows; the message says how long."""


def check_speed(network: nn.Module, side: int, compute: Compute, most: float | None) -> None:
    """Refuses a network that takes more than ``most`` milliseconds for a patch, as it would predict; None for no limit.

    Raises:
        TooSlowError: it does.
    """
    if most is None:
        return
    predicts = replace(compute, layout=PREDICTION_LAYOUT)
    taken = milliseconds(predicts.place(deepcopy(network)).eval(), batch_of(side, predicts), predicts)
    if taken > most:
        here = f"{taken:.2g} ms a patch on {where(compute.device)}"
        raise TooSlowError(f"{here}, more than the {most:g} of --max-ms-per-patch: not trained")


def where(device: str) -> str:
    """The device in words, with what makes a CPU slow."""
    threads = torch.get_num_threads()
    return device if torch.device(device).type != "cpu" else f"{threads} CPU {'thread' if threads == 1 else 'threads'}"


def batch_of(side: int, compute: Compute) -> Tensor:
    """(N, 3, side, side) float32 of grey: as many as are evaluated at once, on the device in the layout."""
    count = EVALUATION_BATCH[torch.device(compute.device).type]
    return compute.arrange(torch.full((count, 3, side, side), 0.5, device=compute.device))


def milliseconds(layers: Layers, batch: Tensor, compute: Compute) -> float:
    """One patch's share of the time that layers in evaluation take for a batch (N, C, H, W), in one view."""
    fastest, began = float("inf"), time.perf_counter()
    with torch.inference_mode(), compute.autocast():
        layers(batch)  # chooses kernels and takes memory
        for _ in range(REPEATS):
            start = time.perf_counter()
            layers(batch)
            if batch.is_cuda:
                torch.cuda.synchronize(batch.device)
            fastest = min(fastest, time.perf_counter() - start)
            if time.perf_counter() - began > MOST_SECONDS:
                break
    return 1000 * fastest / len(batch)


def multiply_adds(layers: Layers, batch: Tensor, compute: Compute) -> int:
    """Multiplications, each with its addition, of convolutions and products of matrices for a patch in one view."""
    with torch.inference_mode(), compute.autocast(), FlopCounterMode(display=False) as counter:
        layers(batch[:1])
    return int(counter.get_total_flops()) // 2
