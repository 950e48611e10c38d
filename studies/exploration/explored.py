"""What an exploration hands to its page: shown patches as arrays, and what simple models made of them.

Shown are development patches, by the lock or by the split that a launch would draw; of the sealed ones, totals.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.statistics.resampling import Floats, Ints

Strings = npt.NDArray[np.str_]
Bools = npt.NDArray[np.bool_]

MEASURES: Mapping[str, str] = {
    "brightness": "Brightness, 0 to 255",
    "red": "Red, 0 to 255",
    "green": "Green, 0 to 255",
    "blue": "Blue, 0 to 255",
    "saturation": "Saturation, 0 to 1",
    "haematoxylin": "Haematoxylin, optical density",
    "eosin": "Eosin, optical density",
    "sharpness": "Sharpness, variance of the Laplacian",
}
"""Name of a measure -> its title, with the unit."""
FLAGS: Mapping[str, str] = {"near_white": "near-white", "near_black": "near-black", "blurred": "blurred"}
"""Name of a rule of quality -> what it calls a patch."""

SEALED_FOR = "sealed for the test of"
"""Begins the reason of patches that are left out as another comparison has sealed them."""


@dataclass(frozen=True)
class Sealed:
    """What may be told of the sealed patches; the digest is that of the split lock, "" where none is locked yet."""

    lock_digest: str
    patients: int  # 0 where ids are unknown
    patches: int
    idc: int


@dataclass(frozen=True, eq=False)
class Scored:
    """A simple model's scores of patches of patients that it had not seen.

    Attributes:
        name: a few words.
        logits: (M,) of IDC, for the modelled rows.
        fold: (M,) in which each was held out.
    """

    name: str
    logits: Floats
    fold: Ints


@dataclass(frozen=True, eq=False)
class Doubts:
    """Labels in doubt, among the modelled rows.

    Attributes:
        by: name of the model that doubts them.
        probabilities: (M,) its probabilities.
        order: (M,) places in the modelled rows, the most doubtful first.
        doubted: (M,) whether confident learning counts the label as wrong.
    """

    by: str
    probabilities: Floats
    order: Ints
    doubted: Bools


@dataclass(frozen=True, eq=False)
class PatchMap:
    """Patches on a plane: (K,) rows, and (K, 2) places; ``of`` says what of them was mapped, and how."""

    of: str
    rows: Ints
    places: Floats


@dataclass(frozen=True, eq=False)
class Sheet:
    """Example patches of one kind: their rows and their pictures as PNG files."""

    key: str
    rows: Ints
    pictures: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Explored:
    """All that the page is made of; row i of every (N,) array is the same shown patch.

    Attributes:
        study: name of the comparison.
        source: path, or "synthetic:600", as the user typed it.
        synthetic: whether the patches are made up.
        side: of every patch in pixels.
        found: patches and other files found, before anything was left out; sealed ones are among them.
        exclusions: (reason, count), likewise.
        notes: what the reader took for what, and what it converted: a sentence each.
        sealed: totals of the sealed patches, or of those that a launch would seal; None where all are shown.
        labels: (N,) 1 is IDC.
        patients: (N,) ids, "" where they are unknown.
        names: (N,) file names, or numbers of rows.
        measures: by name as in ``MEASURES``, (N,) each.
        flags: by name as in ``FLAGS``, (N,) each.
        highest: (N,) level of any pixel and channel, 0 to 255.
        exact, near: (N,) equal numbers for equal pixels; for equal or near pixels in one of the 8 views.
        modelled: (M,) rows that were modelled: one of each picture, or a sample of them.
        whole: how many there were to be modelled, before a sample was drawn.
        scored: simple models, the best informed last; empty where there are too few patients.
        doubts: by the last of them; None where there is none.
        map: None with too few patches.
        sheets: examples, kind by kind.
        settings: seed, features and whatever else shaped the page, as words.
    """

    study: str
    source: str
    synthetic: bool
    side: int
    found: int
    exclusions: tuple[tuple[str, int], ...]
    sealed: Sealed | None
    labels: Ints
    patients: Strings
    names: Strings
    measures: Mapping[str, Floats]
    flags: Mapping[str, Bools]
    highest: npt.NDArray[np.uint8]
    exact: Ints
    near: Ints
    modelled: Ints
    whole: int
    scored: tuple[Scored, ...]
    doubts: Doubts | None
    map: PatchMap | None
    sheets: tuple[Sheet, ...]
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def sealed_elsewhere(self) -> int:
        """Patches that would be shown, had no other comparison sealed them."""
        return sum(count for reason, count in self.exclusions if reason.startswith(SEALED_FOR))

    @property
    def patient_ids(self) -> bool:
        """Whether patients are known."""
        return bool(np.all(self.patients != ""))
