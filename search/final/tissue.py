"""Slides put together from their patches, as pictures small enough for a page."""

import io
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from data_utils.readers.patchset import Ints, PatchSet, Pixels, chunks
from search.final.scored import patients_of
from studies.findings.slides import laid_out
from studies.statistics.grid import Grid

LONGEST = 4000
"""Pixels of a picture's longer side at most."""
IN_REPORT = 10_000_000
"""Pixels of all slides of a report together: 3 MB of JPEG (LOG.md), with which it stays below 15 MB."""
_GLASS, _QUALITY = 255, 75


def pixels_of_a_place(grids: Sequence[Grid], side: int, most: int) -> int:
    """Sides of a patch in the picture of its slide, in pixels.

    Args:
        grids: of all slides that are shown together.
        side: of a patch, in pixels.
        most: pixels of all patches together.
    """
    patches = sum(len(grid.rows) for grid in grids)
    longest = max(max(grid.height, grid.width) for grid in grids)
    return max(1, min(side, int((most / patches) ** 0.5), LONGEST // longest))


class Tissue:
    """The picture of a slide, to which patches are added; glass is white."""

    def __init__(self, grid: Grid, place: int, step: int) -> None:
        """Of ``place`` pixels a place; ``step`` is that of the grid, in the unit of the coordinates."""
        self._place, self._step = place, step
        self._canvas = np.full((grid.height * place, grid.width * place, 3), _GLASS, dtype=np.uint8)

    def add(self, pixels: Pixels, rows: Ints, columns: Ints) -> None:
        """Puts (N, S, S, 3) patches into their places."""
        place = self._place
        for one, row, column in zip(self._fitted(pixels), rows.tolist(), columns.tolist(), strict=True):
            self._canvas[row * place : (row + 1) * place, column * place : (column + 1) * place] = one

    def _fitted(self, pixels: Pixels) -> Pixels:
        """(N, place, place, 3): what a patch shows of its place; of patches that overlap, their middle."""
        side = pixels.shape[1]
        if side // 4 <= self._step < side:  # coordinates in pixels; those that count places have a step of 1
            begin = (side - self._step) // 2
            pixels = pixels[:, begin : begin + self._step, begin : begin + self._step]
        channels = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float()
        fitted = F.adaptive_avg_pool2d(channels, self._place) if self._place < channels.shape[2] else channels
        fitted = F.interpolate(fitted, size=(self._place, self._place), mode="nearest")
        found: Pixels = fitted.round().byte().permute(0, 2, 3, 1).numpy()
        return found

    @property
    def picture(self) -> Pixels:
        """(h, w, 3) as it is by now."""
        return self._canvas

    @property
    def jpeg(self) -> bytes:
        """The same as a file."""
        file = io.BytesIO()
        Image.fromarray(self._canvas).save(file, format="JPEG", quality=_QUALITY)
        return file.getvalue()


def tissue_of(patches: PatchSet) -> dict[str, bytes]:
    """Patient -> JPEG of the slide, of those that a report shows; nothing where places are unknown."""
    laid = laid_out(patients_of(patches), patches.x, patches.y)
    if not laid.grids:
        return {}
    place = pixels_of_a_place([grid for _, grid in laid.grids.values()], patches.side, IN_REPORT)
    return {name: _put_together(patches, *one, place, laid.step) for name, one in laid.grids.items()}


def _put_together(patches: PatchSet, rows: Ints, grid: Grid, place: int, step: int) -> bytes:
    tissue = Tissue(grid, place, step)
    for piece in chunks(len(rows), side=patches.side):
        tissue.add(patches.pixels[rows[piece]], grid.rows[piece], grid.columns[piece])
    return tissue.jpeg
