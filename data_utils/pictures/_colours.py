"""Colours of any kind into 8-bit RGB, where nothing is lost by it; else why not.

One rule for every form: grey becomes three equal channels, transparency that is opaque everywhere is dropped, and
16 bits whose values are all multiples of 257 are divided by it, which is how 8 bits are written as 16.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

GREY, PALETTE, OPAQUE, DEEP, JPEG = "grey", "palette", "opaque", "16 bit", "JPEG"
"""What a picture was before it was 8-bit RGB."""

Pixels = npt.NDArray[np.uint8]

_DEEPER = 257  # 255 in 8 bits is 65535 in 16


class DamagedError(Exception):
    """A file does not hold what its header promises."""


class ColoursError(Exception):
    """A picture that is whole, but no 8-bit RGB, nor to be brought to it without loss."""


def as_rgb(samples: npt.NDArray[Any]) -> tuple[Pixels, tuple[str, ...]]:
    """The picture as 8-bit RGB, and what it was.

    Args:
        samples: (H, W) or (H, W, 1 to 4) uint8 or uint16; the second or fourth channel is transparency.

    Raises:
        ColoursError: something would be lost.
    """
    if samples.dtype == np.uint8 and samples.ndim == 3 and samples.shape[2] == 3:
        return samples, ()
    was: list[str] = []
    if samples.dtype == np.uint16:
        if (samples % _DEEPER).any():
            raise ColoursError("it has 16 bits a channel, of which the lower 8 would be lost")
        samples = (samples // _DEEPER).astype(np.uint8)
        was.append(DEEP)
    channels = samples.reshape(*samples.shape[:2], -1)  # (H, W, 1 to 4)
    if channels.shape[2] in (2, 4):
        if (channels[:, :, -1] != 255).any():
            raise ColoursError("it is transparent in places, and nobody can say what lies behind")
        channels = channels[:, :, :-1]
        was.append(OPAQUE)
    if channels.shape[2] == 1:
        channels = np.repeat(channels, 3, axis=2)
        was.append(GREY)
    return channels, tuple(was)
