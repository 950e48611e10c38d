"""Which way up a picture is to be seen: a tag of TIFF, which JPEG and PNG carry in their Exif block.

Decoders leave it aside. Here it is obeyed as viewers do, so that a patch lies as the one who labelled it saw it.
"""

from collections.abc import Callable

import numpy as np

from data_utils.pictures._colours import DamagedError, Pixels
from data_utils.pictures._tiff import orientation

TURNED = "turned"
"""What a picture was whose rows do not run from the top down, each from left to right."""

_AS_STORED = 1
_SEEN: dict[int, Callable[[Pixels], Pixels]] = {  # TIFF 6.0, tag 274: what brings a picture upright
    2: lambda patch: patch[:, ::-1],
    3: lambda patch: patch[::-1, ::-1],
    4: lambda patch: patch[::-1],
    5: lambda patch: patch.swapaxes(0, 1),
    6: lambda patch: np.rot90(patch, -1),
    7: lambda patch: patch[::-1, ::-1].swapaxes(0, 1),
    8: lambda patch: np.rot90(patch, 1),
}


def of_exif(block: bytes) -> int:
    """The orientation in an Exif block; as stored where there is none, or none that can be read."""
    try:
        return orientation(block)
    except DamagedError:
        return _AS_STORED


def upright(patch: Pixels, stored: int) -> tuple[Pixels, tuple[str, ...]]:
    """The patch as it is to be seen, and that it was turned where that was another way; unknown ones mean nothing."""
    if stored not in _SEEN:
        return patch, ()
    return np.ascontiguousarray(_SEEN[stored](patch)), (TURNED,)
