"""A slide as pictures: what is said of each patch, painted in its place, as layers to lay over the tissue.

Classes have the colours of all figures, told apart with every kind of colour blindness. An error has the colour of what
was called, and a sign: a plus for a false alarm, a minus for what was missed.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from studies.figures.style import CLASS_COLOURS
from studies.findings.slides import Slide
from studies.statistics.resampling import Floats

IDC, NOT_IDC, MIDDLE = CLASS_COLOURS["IDC"], CLASS_COLOURS["not IDC"], "#f7f4ee"
SPREAD = ("#f6eef3", "#a6578a", "#3a0f2e")
"""From 0 to the widest spread; ever darker."""
OUTLINE = "#111111"
SIGNED = 9
"""Pixels of a place in a layer that has signs or lines; in all others a place is one pixel."""
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """A picture of what is said of the patches, clear where nothing is.

    Attributes:
        key: its name in a page.
        title: what it shows.
        picture: (h, w, 4) uint8 RGBA; a place is 1 or ``SIGNED`` pixels.
    """

    key: str
    title: str
    picture: Picture

    @property
    def png(self) -> bytes:
        """The picture as a file."""
        file = io.BytesIO()
        Image.fromarray(self.picture).save(file, format="PNG", optimize=True)
        return file.getvalue()


def layers(slide: Slide, threshold: float, widest: float) -> list[Layer]:
    """Of a slide, those of which something is known.

    Args:
        slide: N patches.
        threshold: on the probability, in the middle of the scale.
        widest: spread at the end of the scale.
    """
    found = [Layer("probability", "Probability of IDC", _spread_out(slide, probability_colours(slide, threshold)))]
    if slide.labelled:
        labels = np.where((slide.labels == 1)[:, None], _rgba(IDC), _rgba(NOT_IDC))
        labels[slide.labels < 0] = 0
        found.insert(0, Layer("labels", "Labels", _spread_out(slide, labels)))
    if np.isfinite(slide.spreads).all():
        shares = np.clip(slide.spreads / max(widest, 1e-9), 0, 1)
        found.append(Layer("spread", "Member spread", _spread_out(slide, _between(SPREAD, shares))))
    if slide.labelled:
        found.append(Layer("errors", "Errors", _errors(slide)))
        found.append(Layer("outline", "Outline of labelled IDC", _outline(slide)))
    return found


def widest_spread(slides: Sequence[Slide]) -> float:
    """The end of a scale for all of them, in steps of .05."""
    known = np.concatenate([slide.spreads[np.isfinite(slide.spreads)] for slide in slides] or [np.zeros(1)])
    return float(max(1, np.ceil(known.max(initial=0) / 0.05 - 1e-9)) * 0.05)


def probability_colours(slide: Slide, threshold: float) -> Picture:
    """(N, 4): towards the colour of the class that is called, the threshold in between."""
    below = slide.probabilities / max(threshold, 1e-9) / 2
    above = 0.5 + (slide.probabilities - threshold) / max(1 - threshold, 1e-9) / 2
    return _between((NOT_IDC, MIDDLE, IDC), np.clip(np.where(slide.called, above, below), 0, 1))


def _between(colours: Sequence[str], shares: Floats) -> Picture:
    """(N, 4) of a scale that goes through these colours from 0 to 1."""
    stops = np.stack([_rgba(colour) for colour in colours]).astype(np.float64)
    at = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(shares, at, stops[:, channel]) for channel in range(4)], axis=1).round().astype(np.uint8)


def _rgba(colour: str) -> Picture:
    return np.array([*(int(colour[k : k + 2], 16) for k in (1, 3, 5)), 255], dtype=np.uint8)


def _spread_out(slide: Slide, colours: Picture) -> Picture:
    """(height, width, 4): each (N, 4) colour in its place."""
    picture = np.zeros((slide.grid.height, slide.grid.width, 4), dtype=np.uint8)
    picture[slide.grid.rows, slide.grid.columns] = colours
    return picture


def _errors(slide: Slide) -> Picture:
    """Signs on the colour of what was called; what is right stays clear."""
    picture = np.zeros((slide.grid.height * SIGNED, slide.grid.width * SIGNED, 4), dtype=np.uint8)
    middle, arm = SIGNED // 2, slice(2, SIGNED - 2)
    for wrong, colour, upright in ((slide.false_alarms, IDC, True), (slide.missed, NOT_IDC, False)):
        stamp = np.tile(_rgba(colour), (SIGNED, SIGNED, 1))
        stamp[middle, arm] = 255
        if upright:
            stamp[arm, middle] = 255
        for row, column in zip(slide.grid.rows[wrong], slide.grid.columns[wrong], strict=True):
            picture[_place(row), _place(column)] = stamp
    return picture


def _place(at: np.int64) -> slice:
    return slice(int(at) * SIGNED, (int(at) + 1) * SIGNED)


def _outline(slide: Slide) -> Picture:
    """Lines between places that are labelled IDC and places that are not."""
    height, width = slide.grid.height, slide.grid.width
    inside = np.zeros((height + 2, width + 2), dtype=np.bool_)
    idc = slide.labels == 1
    inside[slide.grid.rows[idc] + 1, slide.grid.columns[idc] + 1] = True
    large = np.kron(inside, np.ones((SIGNED, SIGNED), dtype=np.bool_))
    inner = large.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            inner &= np.roll(large, shift, axis)
    picture = np.zeros((*large.shape, 4), dtype=np.uint8)
    picture[large & ~inner] = _rgba(OUTLINE)
    return picture[SIGNED:-SIGNED, SIGNED:-SIGNED]
