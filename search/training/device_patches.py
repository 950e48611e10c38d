"""Patches and labels where a network trains on them; batches are gathered and turned there."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data_utils.colour.augment import dihedral


@dataclass(frozen=True, eq=False)
class DevicePatches:
    """Patches and labels on the device that trains on them."""

    pixels: Tensor  # (N, S, S, 3) uint8
    labels: Tensor  # (N,) float32, 0 or 1

    @classmethod
    def load(cls, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[Any], device: str) -> "DevicePatches":
        """Copies to a GPU once; on a CPU shares the memory of the array, so that a mapped file stays mapped.

        Args:
            pixels: (N, S, S, 3) uint8 RGB; may be a read-only memory map.
            labels: (N,) 0 or 1.
            device: "cpu", "cuda" or "cuda:N".
        """
        with warnings.catch_warnings():
            # "not writable": nothing here writes to it
            warnings.simplefilter("ignore", UserWarning)
            shared = torch.from_numpy(pixels)
        return cls(shared.to(device), torch.as_tensor(np.asarray(labels, np.float32), device=device))

    def batch(self, rows: Tensor, views: Tensor) -> Tensor:
        """(B,) rows, each turned to its view -> (B, 3, S, S) float in [0, 1]."""
        rows, views = rows.to(self.pixels.device), views.to(self.pixels.device)
        turned = dihedral(self.pixels.index_select(0, rows).permute(0, 3, 1, 2), views)  # (B, 3, S, S) uint8
        return turned.float().div_(255)
