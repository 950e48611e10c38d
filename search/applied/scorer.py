"""A final model at work on patches that come piece by piece: what the table says of each, and what is told at last."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from data_utils.readers.patchset import Ints, PatchSet
from search.applied.abstaining import Abstaining
from search.applied.table import Columns
from search.final.likeness import USUAL, Likeness, judged, load_likeness
from search.final.members import StoredModel, place_members
from search.final.scored import patients_of
from search.final.stored_ensemble import Final, final_logits, models_in
from search.final.wholes import USUAL_OF_PATIENTS, Sums
from studies.records import Floats
from studies.statistics.calibration import sigmoid

_BLUE = 0.05
"""Share of patches as blue as red and blue in each other's place would make them, from which it is said: far more than
patches of the same kind have, and less than one patient of five brings that was read so."""


class Scorer:
    """Its networks are loaded once. It counts what of all patches so far was left open, and what was unlike its own.

    Attributes:
        logits: of each piece so far, (n,) before the temperature.
    """

    def __init__(self, stored: Final, folder: Path, device: str, abstaining: Abstaining | None = None) -> None:
        """Verifies the members.

        Args:
            stored: the model, or the ensemble.
            folder: of its JSON.
            device: "cpu" or "cuda".
            abstaining: when a patch is left open; never by default.

        Raises:
            UsageError: a member's file is missing, or is not the one that was put to the test.
            RecordError: what is usual of its development patches cannot be read.
        """
        self._stored, self._folder, self._device = stored, folder, device
        self._abstaining = abstaining
        parts = models_in(stored, folder)
        self._networks = [place_members(model, place, device) for model, place in parts]
        self._judge: tuple[Likeness, StoredModel, list[nn.Module]] | None = None  # of the first part that has one
        for (model, place), networks in zip(parts, self._networks, strict=True):
            found = load_likeness(model, place)
            if found is not None and self._judge is None:
                self._judge = found, model, networks
        self.logits: list[Floats] = []
        self._count = self._left_open = 0
        self._unlike: Counter[str] = Counter()
        self._blue = 0
        self._wholes = Sums()

    def columns(self, patches: PatchSet) -> Columns:
        """What the table says of these patches; labels and patients where they are known."""
        pixels = patches.pixels
        logits = final_logits(self._stored, self._folder, pixels, self._device, _silent, self._networks)
        self.logits.append(logits.mean(axis=1))
        probabilities = sigmoid(self.logits[-1], self._stored.temperature)
        nothing = [None] * len(patches)
        sets, called = self._called(probabilities)
        self._count += len(patches)
        self._left_open += called.count(None)
        return {
            "name": patches.names.tolist(),
            "patient": nothing if patches.patients is None else [one or None for one in patches.patients.tolist()],
            "x": _known(patches.x),
            "y": _known(patches.y),
            "label": nothing if patches.labels is None else _known(patches.labels),
            "probability": probabilities.tolist(),
            "predicted": called,
            "member_spread": sigmoid(logits, self._stored.temperature).std(axis=1).tolist(),
            "set": sets,
            **self._judged(patches),
            "source": [patches.source] * len(patches),
        }

    def _called(self, probabilities: Floats) -> tuple[Sequence[str | None], list[int | None]]:
        """Set and class of each patch; by the threshold there is no set, by sets some have no class."""
        if self._abstaining is None:
            return [None] * len(probabilities), (probabilities >= self._stored.threshold).astype(int).tolist()
        sets = self._abstaining.sets(probabilities)
        return sets, [int(one) if len(one) == 1 else None for one in sets]

    def _judged(self, patches: PatchSet) -> Columns:
        """How far they are from the development patches, and beyond what; nothing where that is not known."""
        nothing = [None] * len(patches)
        if self._judge is None:
            return {"distance": nothing, "unlike": nothing}
        likeness, model, networks = self._judge
        found = judged(patches.pixels)
        distances, beyond = likeness.judge(model, networks, patches.pixels, found, self._device)
        self._unlike.update(kind for one in beyond for kind in ("any", *one.split(",")) if one)
        self._blue += int(likeness.as_swapped(found).sum())
        self._wholes.add(found, patients_of(patches))
        far = nothing if np.isnan(distances).any() else distances.tolist()
        return {"distance": far, "unlike": [one or None for one in beyond]}

    def told(self) -> Iterator[str]:
        """What came of it, a line each."""
        yield self._told_unlike()
        if told := self._told_wholes():
            yield told
        if self._abstaining is not None:
            yield self._abstaining.told(self._left_open, self._count)

    def _told_unlike(self) -> str:
        if self._judge is None:
            return (
                "whether the patches are like the development patches is not known: this model was published without "
                f"what is usual of these; python -m search.finalize --study {self._stored.study} adds it, with the "
                "version that it was begun with"
            )
        kinds = ", ".join(f"{kind} {self._unlike[kind] / max(self._count, 1):.1%}" for kind in self._judge[0].kinds)
        many = f"{self._unlike['any']} of {self._count} patches {'is' if self._unlike['any'] == 1 else 'are'}"
        blue = self._blue / max(self._count, 1)
        as_swapped = f"; {blue:.0%} are as blue as if red and blue were swapped: see that they are read as RGB"
        return (
            f"{many} unlike the development patches: beyond the bounds of {kinds} ({USUAL:.0%} each is usual)"
            f"{as_swapped if blue > _BLUE else ''}"
        )

    def _told_wholes(self) -> str:
        """Of patients, each taken as a whole; "" where too little is known of them, or there are none."""
        if self._judge is None or not self._count:
            return ""
        likeness = self._judge[0]
        if likeness.older:
            return "patients are not judged as wholes: this model is of an earlier version"
        if likeness.wholes is None:
            return ""
        names, means, counts = self._wholes.means()
        of_nobody = ""
        if names != [""]:
            known = np.array(names) != ""
            of_nobody = "" if known.all() else f"; {counts[~known].sum():.0f} patches are of nobody"
            names, means, counts = [name for name in names if name], means[known], counts[known]
        found = likeness.unlike_as_wholes(means, counts)
        unlike = Counter(kind for kinds in found for kind in kinds.split(",") if kind)
        if names == [""]:
            return f"taken together they are unlike the development patients: by {', '.join(unlike)}" if unlike else ""
        by = "".join(f", {kind} {count / len(names):.1%}" for kind, count in unlike.items())
        many = f"{sum(map(bool, found))} of {len(names)} patients"
        usual = f"up to {USUAL_OF_PATIENTS:.0%} each is usual{of_nobody}"
        return f"{many}, each taken as a whole, are unlike the development patients{by} ({usual})"


def _silent(_done: int, _of: int) -> None:
    """Pieces are counted, not members."""


def _known(numbers: Ints) -> list[int | None]:
    return [None if number < 0 else number for number in numbers.tolist()]
