"""Heat maps of other slides: one HTML page that needs nothing else, and a PNG file a slide."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from studies.figures.slides import IDC, MIDDLE, NOT_IDC, SPREAD, Layer, layers, widest_spread
from studies.files import write_whole
from studies.findings.slides import Slide, numbers_of
from studies.report.document import plain
from studies.report.page import Numbers, embedded, templates
from studies.report.slides import shown

HEATMAP_HTML = "heatmap.html"
PANEL = 1000
"""Pixels of the longer side of one of a slide's pictures in its PNG file, of which three lie in a row."""
_MARGIN, _HEAD, _FOOT, _TEXT = 24, 44, 56, 22
_STRENGTH = 0.5
_INK, _SOFT = "#171c22", "#4b5561"
_GREY = (0.299, 0.587, 0.114)  # luma of Rec. 601
Pixels = npt.NDArray[np.uint8]


def write_heatmaps(
    slides: Sequence[Slide],
    pictures: Mapping[str, Pixels],
    folder: Path,
    *,
    of: str,
    threshold: float,
    remarks: Sequence[str],
    jpeg: Mapping[str, bytes],
) -> Path:
    """Writes ``heatmap.html`` and a PNG file a slide, each whole or not at all; the path of the page.

    Args:
        slides: at least one.
        pictures: (h, w, 3) uint8 of the tissue of each, by its name.
        folder: made where it is missing; files of the same names are replaced.
        of: the model, such as "NAME/cnn".
        threshold: on its probability.
        remarks: what the reader has to know, a sentence each.
        jpeg: the same pictures as files, for the page.
    """
    widest = widest_spread(slides)
    for slide, file in zip(slides, file_names(slides), strict=True):
        write_whole(folder / file, _png(slide, pictures[slide.name], of, threshold, widest))
    document = {"slides": [plain(numbers_of(slide)) for slide in slides]}
    page = (
        templates()
        .get_template("heatmap.html.j2")
        .render(
            r=document,
            num=Numbers(document).num,
            embedded=embedded,
            title=of,
            slides=shown(slides, jpeg, of, threshold, files=True),
            remarks=[f"{line[:1].upper()}{line[1:].removesuffix('.')}." for line in remarks],
        )
    )
    return write_whole(folder / HEATMAP_HTML, page)


def file_names(slides: Sequence[Slide]) -> list[str]:
    """A PNG file a slide, called like it as far as a file can be."""
    names: list[str] = []
    for slide in slides:
        plain_name = re.sub(r"[^\w.-]+", "-", slide.name)[:80].strip(".-") or "slide"
        same = sum(name == f"{plain_name}.png" or name.startswith(f"{plain_name}~") for name in names)
        names.append(f"{plain_name}.png" if not same else f"{plain_name}~{same + 1}.png")
    return names


# --- a slide as one picture -----------------------------------------------------------------------------------------


def _png(slide: Slide, tissue: Pixels, of: str, threshold: float, widest: float) -> bytes:
    """All layers beside each other, each with its key below."""
    place = max(1, PANEL // max(slide.grid.width, slide.grid.height))
    size = slide.grid.width * place, slide.grid.height * place
    below = Image.fromarray(tissue).resize(size, Image.Resampling.BOX if tissue.shape[1] > size[0] else 0)
    grey = Image.fromarray((np.asarray(below) @ np.array(_GREY)).round().astype(np.uint8)).convert("RGB")
    found = [layer for layer in layers(slide, threshold, widest) if layer.key != "outline"]
    panels = [("Tissue", below), *((layer.title, _over(grey, layer, size)) for layer in found)]
    keys = [None, *(_KEYS[layer.key] for layer in found)]
    across = min(3, len(panels))
    wide, high = max(size[0], 420) + _MARGIN, size[1] + _HEAD + _FOOT
    down = -(-len(panels) // across)
    sheet = Image.new("RGB", (across * wide + _MARGIN, down * high + _HEAD + _MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    draw.text((_MARGIN, _MARGIN // 2), _title(slide, of), _INK, font)
    ends = {"threshold": f"{threshold:.3f}", "widest": f"{widest:.3f}", "half": f"{widest / 2:.3f}"}
    for number, ((title, picture), key) in enumerate(zip(panels, keys, strict=True)):
        left, top = _MARGIN + number % across * wide, _HEAD + number // across * high
        draw.text((left, top + 10), title, _INK, font)
        sheet.paste(picture, (left, top + _HEAD))
        if key is not None:
            _draw_key(draw, key, ends, left, top + _HEAD + size[1] + 8)
    file = io.BytesIO()
    sheet.save(file, format="PNG")
    return file.getvalue()


def _title(slide: Slide, of: str) -> str:
    told = numbers_of(slide)
    counts = f"{told.patches:,} patches, {told.called:,} called IDC"
    if told.idc is not None:
        counts += f", {told.idc:,} labelled IDC; {told.missed:,} missed, {told.false_alarms:,} false alarms"
    return f"Slide {slide.name} by {of}: {counts}. For research only."


def _over(grey: Image.Image, layer: Layer, size: tuple[int, int]) -> Image.Image:
    """A layer laid over the tissue in grey, as strongly as the page does it first."""
    colours = Image.fromarray(layer.picture).resize(size, Image.Resampling.NEAREST)
    strength = _STRENGTH if layer.key != "errors" else 0.85  # signs are to be read
    mask = colours.getchannel("A").point(lambda level: int(level * strength))
    picture = grey.copy()
    picture.paste(colours.convert("RGB"), mask=mask)
    return picture


_KEYS: dict[str, Sequence[tuple[str, str]]] = {
    "labels": ((IDC, "IDC"), (NOT_IDC, "not IDC")),
    "probability": ((NOT_IDC, "0"), (MIDDLE, "threshold"), (IDC, "1")),
    "spread": ((SPREAD[0], "0"), (SPREAD[1], "half"), (SPREAD[2], "widest")),
    "errors": ((IDC, "+ false alarm"), (NOT_IDC, "- missed")),
}
"""What the colours of a layer mean."""


def _draw_key(
    draw: ImageDraw.ImageDraw, key: Sequence[tuple[str, str]], ends: Mapping[str, str], left: int, top: int
) -> None:
    font = ImageFont.load_default(_TEXT - 4)
    for colour, word in key:
        draw.rectangle((left, top, left + 20, top + 20), colour, _SOFT)
        said = f"{word} {ends[word]}" if word == "threshold" else ends.get(word, word)
        draw.text((left + 28, top), said, _SOFT, font)
        left += 44 + int(draw.textlength(said, font))
