"""Slides in a page: thumbnails, and one of them large with layers to choose and what is said of each patch."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from studies.figures.slides import IDC, MIDDLE, NOT_IDC, SPREAD, layers, widest_spread
from studies.findings.slides import Slide


@dataclass(frozen=True)
class Shown:
    """What the templates take.

    Attributes:
        of: the score that is shown, such as "cnn" or "ensemble".
        thumbnails: of each slide: tissue (None where there is none) and probability, as sources of images, which stand
            nowhere else in the page; and its width in places over its height.
        data: what the script takes.
    """

    of: str
    thumbnails: tuple[tuple[str | None, str, float], ...]
    data: dict[str, Any]
    colours: dict[str, str]


def shown(slides: Sequence[Slide], tissue: Mapping[str, bytes], of: str, threshold: float, *, files: bool) -> Shown:
    """Slides as a page takes them.

    Args:
        slides: at least one.
        tissue: JPEG of each slide by its name, where the patches are at hand.
        of: the score that is shown.
        threshold: on its probability.
        files: whether the names of files are told; a report has them in its table.
    """
    widest = widest_spread(slides)
    each = [_data(slide, threshold, widest, files=files) for slide in slides]
    return Shown(
        of=of,
        thumbnails=tuple(
            (
                None if slide.name not in tissue else _uri("jpeg", tissue[slide.name]),
                one["layers"].pop("probability"),
                slide.grid.width / slide.grid.height,
            )
            for one, slide in zip(each, slides, strict=True)
        ),
        data={"slides": each, "threshold": threshold, "widest": widest},
        colours={
            "idc": IDC,
            "not_idc": NOT_IDC,
            "probability": f"linear-gradient(to right, {NOT_IDC}, {MIDDLE}, {IDC})",
            "spread": f"linear-gradient(to right, {', '.join(SPREAD)})",
        },
    )


def _data(slide: Slide, threshold: float, widest: float, *, files: bool) -> dict[str, Any]:
    """A slide as plain values, short as there are many patches: probabilities in thousandths, labels as signs."""
    data: dict[str, Any] = {
        "name": slide.name,
        "remark": slide.remark,
        "width": slide.grid.width,
        "height": slide.grid.height,
        "layers": {layer.key: _uri("png", layer.png) for layer in layers(slide, threshold, widest)},
        "rows": slide.grid.rows.tolist(),
        "columns": slide.grid.columns.tolist(),
        "probabilities": np.round(1000 * slide.probabilities).astype(int).tolist(),
        "called": "".join("01"[int(one)] for one in slide.called),
        "labels": "".join("?01"[int(one) + 1] for one in slide.labels),
    }
    if np.isfinite(slide.spreads).all():
        data["spreads"] = np.round(1000 * slide.spreads).astype(int).tolist()
    if files:
        names = slide.names.tolist()
        common = _common(min(names), max(names))
        data["common"], data["files"] = common, [name[len(common) :] for name in names]
    return data


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _common(first: str, last: str) -> str:
    """How two names begin alike; the first and the last of a sorted list: how all of it do."""
    unlike = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(unlike, min(len(first), len(last)))]
