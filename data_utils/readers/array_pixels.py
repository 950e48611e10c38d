"""Pixels in an array: whether they are 0 to 255 of red, green and blue, and which call would make them so.

Nothing is guessed: an array is read where its values can mean one thing only, and else refused with the expression that
the user has to choose, which a test evaluates for each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.errors import FormatError
from data_utils.readers.patchset import LARGEST_SIDE, SMALLEST_SIDE, Pixels, Progress, chunks, is_square, new_pixels

_CHUNK = 512  # patches of the usual side looked at together: 31 MB of float64
_DARK = 50  # up to here a pixel is black to data_utils.quality.measures
_WHITES = "1023 of 10 bits, 4095 of 12, 65535 of 16"
_OTHER_SHAPES = {  # of a patch, by what it has before and behind its two sides: what to save X as
    ((3,), ()): "np.moveaxis(X, 1, -1)",
    ((), ()): "np.stack([X] * 3, axis=-1) if they are grey",
    ((), (1,)): "np.repeat(X, 3, axis=-1) if they are grey",
    ((), (4,)): "X[..., :3] if the fourth channel is opaque everywhere",
}


def check_pixels(path: Path, values: npt.NDArray[Any]) -> None:
    """Refuses an array that is not (N, S, S, 3) of whole values in 0..255, one of them above 1.

    Raises:
        FormatError: what was found, and as what to save it.
    """
    if values.ndim != 4 or values.shape[3] != 3 or not is_square(*values.shape[1:3]) or len(values) == 0:
        advice = _other_shape(values.shape[1:])
        raise FormatError(
            f"{path} has the shape {values.shape}; expected (N, S, S, 3) with N of at least 1 and S from "
            f"{SMALLEST_SIDE} to {LARGEST_SIDE} pixels" + (f": save it as {advice}" if advice else "")
        )
    if values.dtype.kind not in "iuf":
        raise FormatError(f"{path} holds {values.dtype} values; expected uint8 in 0..255: go back to the pictures")
    if values.dtype == np.uint8 and any(values[piece].max() > 1 for piece in _pieces(values)):
        return  # mostly found in the first piece
    lowest, highest, whole = _range(values)
    if not (whole and lowest >= 0 and 1 < highest <= 255):
        found = f"{values.dtype} values from {lowest:g} to {highest:g}"
        raise FormatError(f"{path} holds {found}; expected uint8 in 0..255: {_advice(lowest, highest, whole=whole)}")


def eight_bit(values: npt.NDArray[Any], progress: Progress | None, into: Path | None) -> Pixels:
    """(N, S, S, 3) uint8 of whole values in 0..255, in memory or in the new ``.npy`` file ``into``."""
    pixels = new_pixels(len(values), values.shape[1], into)
    for piece in _pieces(values):
        pixels[piece] = values[piece].astype(np.uint8)
        if progress:
            progress(min(piece.stop, len(values)), len(values))
    return pixels


def told_dark(pixels: Pixels, source: str) -> tuple[str, ...]:
    """A sentence where no pixel of any patch is bright enough to show something, as of masks or scaled pixels."""
    counts = np.zeros(256, dtype=np.int64)
    for piece in _pieces(pixels):
        if pixels[piece].max() > _DARK:
            return ()  # mostly found in the first piece
        counts += np.bincount(pixels[piece].ravel(), minlength=256)
    levels = np.flatnonzero(counts).tolist()
    found = f"only the values {', '.join(map(str, levels))}" if len(levels) < 6 else f"no value above {levels[-1]}"
    return (f"{source}: pixels have {found}, of 0 to 255: every patch is nearly black, as masks are or scaled pixels",)


def _pieces(values: npt.NDArray[Any]) -> Iterator[slice]:
    return chunks(len(values), _CHUNK, values.shape[1])


def _other_shape(patch: tuple[int, ...]) -> str:
    """What to save ``X`` as, by the shape of a patch; "" where something else than its channels is wrong."""
    places = (place for place in range(len(patch) - 1) if is_square(*patch[place : place + 2]))
    shapes = ((patch[:place], patch[place + 2 :]) for place in places)
    return next((_OTHER_SHAPES[shape] for shape in shapes if shape in _OTHER_SHAPES), "")


def _range(values: npt.NDArray[Any]) -> tuple[float, float, bool]:
    """Smallest and largest value, and whether all are whole numbers; NaN wherever there is one."""
    lowest, highest, whole = np.inf, -np.inf, True
    for piece in _pieces(values):
        part = values[piece].astype(np.float64)
        lowest, highest = np.minimum(lowest, part.min()), np.maximum(highest, part.max())
        whole = whole and bool((part == np.floor(part)).all())
    return float(lowest), float(highest), whole


def _advice(lowest: float, highest: float, *, whole: bool) -> str:
    """As what to save ``X``, by its range; the narrowest range that holds it is what it is taken for."""
    if not np.isfinite([lowest, highest]).all():
        return "some are no numbers: take those patches out, or go back to the pictures"
    if lowest == highest == 0:
        return (
            "every patch is black: leave them out, or, where pixels in [0, 1] were cut to whole numbers, save the "
            "values before that as np.round(X * 255).astype('uint8')"
        )
    if whole and lowest >= 0 and highest <= 1:
        return "they were rounded from [0, 1]: save the values before that as np.round(X * 255).astype('uint8')"
    ranges = (
        (0, 1, "save it as np.round(X * 255).astype('uint8')"),
        (-1, 1, "save it as np.round((X + 1) * 127.5).astype('uint8')"),
        (0, 255, "save it as np.round(X).astype('uint8')"),
        (
            0,
            np.inf,
            f"save it as np.round(X / WHITE * 255).astype('uint8') where WHITE is the value of white: {_WHITES}",
        ),
    )
    if whole and lowest >= -128 and highest <= 127:
        return (
            "save it as np.uint8(X.astype(int) + 128) if 128 was taken off, as X.astype('uint8') if what was above 127 "
            "became negative"
        )
    fitting = (advice for low, high, advice in ranges if low <= lowest and highest <= high)
    return next(fitting, "they look standardised: undo that (X * deviation + mean), or go back to the pictures")
