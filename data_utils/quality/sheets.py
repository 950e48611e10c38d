"""Which patches stand for a group when a page shows it, and their pictures."""

import io

import numpy as np
from PIL import Image

from data_utils.quality.exploration import Measures, Repetitions, contradicting, inexact
from data_utils.quality.suspects import Suspects
from data_utils.readers.patchset import Bools, Ints, PatchSet, Pixels, known

OF_A_CLASS = 24
OF_A_KIND = 16
_OF_A_GROUP = 4  # copies of a picture
SHOWN = 128
"""Pixels of a patch's picture at most, of which a page shows 102: a hundred of larger ones would take 15 MB."""


def choose_sheets(patches: PatchSet, measures: Measures, repetitions: Repetitions, seed: int) -> dict[str, Ints]:
    """Name of a sheet -> rows; those without a patch are left out.

    Sheets: "idc", "not_idc", "near_white", "near_black" and "blurred", drawn at random; "contradicting",
    "exact_duplicates" and "near_duplicates", the members of a group beside each other.
    """
    labels, rng = known(patches), np.random.default_rng(seed)
    flagged = {name: getattr(measures, name) for name in ("near_white", "near_black", "blurred")}
    sheets = {
        "idc": _drawn(labels == 1, OF_A_CLASS, rng),
        "not_idc": _drawn(labels == 0, OF_A_CLASS, rng),
        **{name: _drawn(inside, OF_A_KIND, rng) for name, inside in flagged.items()},
        "contradicting": _grouped(repetitions.near, contradicting(repetitions.near, labels)),
        "exact_duplicates": _grouped(repetitions.exact, np.ones(len(patches), dtype=np.bool_)),
        "near_duplicates": _grouped(repetitions.near, inexact(repetitions)),
    }
    return {name: rows for name, rows in sheets.items() if len(rows)}


def suspicious_sheets(labels: Ints, modelled: Ints, suspects: Suspects) -> dict[str, Ints]:
    """The most doubtful labels of each class: "doubted_idc" and "doubted_not_idc".

    Args:
        labels: (N,).
        modelled: (M,) the rows that were modelled.
        suspects: of those rows.
    """
    doubtful = modelled[suspects.order[suspects.doubted[suspects.order]]]
    sheets = {
        "doubted_idc": doubtful[labels[doubtful] == 1][:OF_A_KIND],
        "doubted_not_idc": doubtful[labels[doubtful] == 0][:OF_A_KIND],
    }
    return {name: rows for name, rows in sheets.items() if len(rows)}


def png(patch: Pixels) -> bytes:
    """One (S, S, 3) patch as a PNG file, no larger than a page shows it."""
    file = io.BytesIO()
    picture = Image.fromarray(np.asarray(patch))
    picture.thumbnail((SHOWN, SHOWN), Image.Resampling.BOX)  # smaller ones stay as they are
    picture.save(file, format="PNG")
    return file.getvalue()


def _drawn(inside: Bools, most: int, rng: np.random.Generator) -> Ints:
    return rng.permutation(np.flatnonzero(inside))[:most]


def _grouped(groups: Ints, inside: Bools) -> Ints:
    """Some rows of groups with more than one member inside, group after group."""
    sizes = np.bincount(groups[inside], minlength=groups.max() + 1)
    rows: list[int] = []
    for group in np.flatnonzero(sizes > 1)[: OF_A_KIND // 2]:
        rows += np.flatnonzero(inside & (groups == group))[:_OF_A_GROUP].tolist()
    return np.array(rows[:OF_A_KIND], dtype=np.int64)
