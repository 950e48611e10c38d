"""RGB and CIELAB (sRGB, D65), for whole batches in float32; constants as in OpenCV, scikit-image and torchstain."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.readers.patchset import Pixels

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
TO_LINEAR = (_TO_XYZ / _WHITE[:, None]).astype(np.float32)
TO_RGB = np.linalg.inv(_TO_XYZ / _WHITE[:, None]).astype(np.float32)
TO_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32)
FROM_LAB = np.linalg.inv(TO_LAB).astype(np.float32)
DARK, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116  # below, the cube root is a line

Reals = npt.NDArray[np.floating[Any]]


def linear_levels() -> npt.NDArray[np.float32]:
    """(256,) light of each level, 0 to 1."""
    level = np.arange(256) / 255
    linear: npt.NDArray[np.float32] = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92).astype(
        np.float32
    )
    return linear


def to_lab(pixels: Pixels) -> Reals:
    """(N, P, 3) levels -> (N, 3, P) float32: L* from 0 to 100, a* and b* about -100 to 100."""
    light = TO_LINEAR @ linear_levels()[np.ascontiguousarray(pixels.transpose(0, 2, 1))]  # (N, 3, P) XYZ, white is 1
    rooted = np.where(light > DARK, np.cbrt(light), np.float32(SLOPE) * light + np.float32(OFFSET))
    lab: Reals = TO_LAB @ rooted
    lab[:, 0] -= 16
    return lab


def from_lab(lab: Reals) -> Pixels:
    """(N, 3, P) -> (N, P, 3) levels; colours that no screen shows go to the nearest level of each channel."""
    rooted = FROM_LAB @ (lab + np.array([[16], [0], [0]], np.float32))
    light = np.where(rooted > DARK ** (1 / 3), rooted**3, (rooted - np.float32(OFFSET)) / np.float32(SLOPE))
    linear = (TO_RGB @ light).clip(0, 1)
    level = np.where(linear > 0.0031308, 1.055 * linear ** np.float32(1 / 2.4) - 0.055, 12.92 * linear)
    return np.ascontiguousarray(np.rint(255 * level).clip(0, 255).astype(np.uint8).transpose(0, 2, 1))
