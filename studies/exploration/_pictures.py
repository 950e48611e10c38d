"""What an exploration finds in the pictures: their channels, their colour, and whether anything is to be seen."""

from collections.abc import Iterator

from studies.exploration._words import counted, per_cent, percent
from studies.exploration.explored import Explored
from studies.exploration.finding import Finding
from studies.exploration.numbers import CLASSES, DARK, ExplorationNumbers, MeasureNumbers

APART = 0.65
"""AUC of a single measure from which it tells the classes apart by itself."""
STRAINED = 10.0
"""Per cent of a measure's variance between patients above which it is worth a word."""
SWAPPED = 0.5
"""Share of the patches in which blue exceeds red, above which the two were probably exchanged. Of 9,264 patches of 230
patients, close to a random sample of the public set, 5.6 % have it, of 5,534 chosen by class 7.9 %, and more than half
of them in 5 of 229 patients; exchanged, it is the rest."""
UNLIKE = 0.5
"""Share of the patches in which red exceeds green, below which the colours are not those of the stain: 99.8 and 99.9 %
of the same patches have it."""
MANY_FLAGGED, TIMES = 20, 3
"""Patches that a rule of quality meets, and how many times more often in one class, from which that is worth a word."""
_DARKER_WITH_IDC = ("brightness", "red", "green", "blue")
_STAIN = ("brightness", "saturation", "haematoxylin", "eosin")


def about_channels(explored: Explored, numbers: ExplorationNumbers) -> Iterator[Finding]:
    """Whether channels are in their order and levels in their range; made-up tissue is of no stain."""
    channels = numbers.channels
    seen = f"of {counted(channels.judged, 'patch', 'patches')} that are neither near-white nor near-black"
    judged = channels.judged and not explored.synthetic
    if judged and per_cent(channels.red_over_green) < 100 * UNLIKE:
        yield Finding(
            "HT-D12",
            "colour",
            "Not the colours of haematoxylin and eosin",
            f"Red exceeds green in {percent(channels.red_over_green)} {seen}; in the public set it does in 99.8 %.",
            "The channels are in another order, or the patches are grey or of another stain. Pretrained layers may "
            "help less, and densities of haematoxylin and eosin mean nothing.",
            "Look at the examples. The last axis of the patches is expected as red, green, blue.",
        )
    elif judged and per_cent(channels.blue_over_red) > 100 * SWAPPED:
        yield Finding(
            "HT-D13",
            "colour",
            "Red and blue may be exchanged",
            f"Blue exceeds red in {percent(channels.blue_over_red)} {seen}; in the public set it does in 5.6 %.",
            "Tissue in haematoxylin and eosin is pink to violet. OpenCV keeps blue first, so what is taken for red "
            "is blue: pretrained layers and every measure of stain see another tissue.",
            "Look at the examples. If they are blue, save the patches anew with X[..., ::-1], or read the files with "
            "cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).",
        )
    if channels.dark:
        yield Finding(
            "HT-D14",
            "quality",
            "Pixels of 0 and 1",
            f"{channels.dark:,} of {counted(numbers.totals.patches, 'patch', 'patches')} have no level above {DARK} "
            "of 255.",
            "Nothing can be seen on them. Levels between 0 and 1 were probably rounded, which leaves nothing of the "
            "picture.",
            "Write them anew from the original: (255 * X).round().astype('uint8') where levels are between 0 and 1.",
        )


def about_colour(numbers: ExplorationNumbers) -> Iterator[Finding]:
    telling = {name: one for name, one in numbers.measures.items() if _apart(one) >= APART}
    if telling:
        first = max(telling, key=lambda name: _apart(telling[name]))
        best = telling[first]
        others = [name for name in telling if name != first]
        more = f" So {'do' if len(others) > 1 else 'does'} {', '.join(others)}." if others else ""
        higher = best.auc > 0.5
        expected = higher if first == "haematoxylin" else first in _DARKER_WITH_IDC and not higher
        why = " IDC is dense with nuclei, so bluer and darker." if expected else ""
        yield Finding(
            "HT-D15",
            "colour",
            "Single measures tell the classes apart",
            f"{_short(best)} alone, {'higher' if higher else 'lower'} with IDC, reaches an AUC of {_apart(best):.3f}."
            f"{more}",
            f"Part of what a network will reach needs no shape.{why} On slides of another stain or scanner that part "
            "may not hold.",
            "Compare every model with the colour histogram, a baseline in the report, not with chance.",
        )
    spread = {name: numbers.measures[name] for name in _STAIN}
    strained = {
        name: one
        for name, one in spread.items()
        if one.between_patients is not None
        and per_cent(one.between_patients) > max(STRAINED, per_cent(one.between_classes))
    }
    if strained:
        words = ", ".join(
            f"{name} {percent(one.between_patients or 0)} against {percent(one.between_classes)}"
            for name, one in strained.items()
        )
        yield Finding(
            "HT-D16",
            "colour",
            "Stain differs more between patients than between classes",
            f"Share of the variance that lies between patients, against that between classes: {words}.",
            "Patients differ in class as well, so that not all of it is staining; but a model that trusts absolute "
            "colour will err on new patients.",
            "Stain jitter is among the parameters that are searched; compare it with 0 in the report's figures.",
        )


def about_quality(numbers: ExplorationNumbers) -> Iterator[Finding]:
    met = {name: one for name, one in numbers.flags.items() if one.patches}
    if not met:
        return
    counts = ", ".join(f"{one.patches:,} {one.title}" for one in met.values())
    yield Finding(
        "HT-D17",
        "quality",
        "Patches that show little",
        f"{counts}, of {numbers.totals.patches:,}.",
        "On such a patch the label cannot be read off the picture. In small numbers they cost little; where one class "
        "holds more of them, they are a shortcut to its label.",
        "Look at the examples. To train and test without them, begin a new study with --exclude "
        f"{','.join(met)}; the report then says that they were left out.",
    )
    for name, one in met.items():
        idc, rest = (per_cent(one.share[title]) for title in CLASSES)
        if one.patches >= MANY_FLAGGED and max(idc, rest) > TIMES * min(idc, rest):
            more = "with" if idc > rest else "without"
            yield Finding(
                "HT-D18",
                "quality",
                f"{one.title.capitalize()} patches fall on one class",
                f"{idc:.1f} % of the patches with IDC are {one.title}, and {rest:.1f} % of the others.",
                f"Being {one.title} tells the class {more} IDC: easy patches that raise every score.",
                "Read the report's scores with and without near-white patches."
                if name == "near_white"
                else f"Compare with a study without them: --exclude {name} under another name.",
            )


def _short(measure: MeasureNumbers) -> str:
    return measure.title.split(",")[0]


def _apart(measure: MeasureNumbers) -> float:
    """AUC in the direction in which the measure ranks, as it is printed."""
    return round(max(measure.auc, 1 - measure.auc), 3)
