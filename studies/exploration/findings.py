"""What an exploration found, what it means, and what to do about it: in words, by stated rules."""

from collections.abc import Iterator
from dataclasses import dataclass

from studies.exploration.explored import Explored
from studies.exploration.numbers import CLASSES, ExplorationNumbers, MeasureNumbers, ScoreNumbers
from studies.statistics.metrics import FEW_PATIENTS, PUBLIC_PREVALENCE

FAR_FROM_PUBLIC = 0.1
"""Difference from the public set's share of IDC from which patches were surely chosen by class."""
MANY_ONE_CLASS = 0.2
APART = 0.65
"""AUC of a single measure from which it tells the classes apart by itself."""
STRAINED = 0.1
"""Share of a measure's variance between patients from which it is worth a word."""
_STAIN = ("brightness", "saturation", "haematoxylin", "eosin")


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        section: of the page that it belongs to.
        title: a few words.
        found: what, with its numbers.
        means: what follows from it.
        action: what to do about it.
    """

    section: str
    title: str
    found: str
    means: str
    action: str


def exploration_findings(explored: Explored, numbers: ExplorationNumbers) -> tuple[Finding, ...]:
    """All of them, in the order of the page's sections."""
    return (
        *_about_the_lock(explored),
        *_about_the_set(explored, numbers),
        *_about_patients(numbers),
        *_about_colour(numbers),
        *_about_quality(numbers),
        *_about_repetitions(numbers),
        *_about_models(explored, numbers),
        *_about_labels(numbers),
    )


# --- the whole set --------------------------------------------------------------------------------------------------


def _about_the_lock(explored: Explored) -> Iterator[Finding]:
    if explored.sealed is None:
        yield Finding(
            "summary",
            "No split is locked yet",
            f"There is no lock under the name {explored.study}: every patch is shown and modelled here, also those "
            "that a lock will seal for the test.",
            "Whoever chooses a rule, a colour correction or a model by what stands here has looked at test patches.",
            "Look for faults of the data, and decide nothing else by this page. Once the first search.launch has "
            "locked the split, run search.explore again: it then shows development patches only.",
        )


def _about_the_set(explored: Explored, numbers: ExplorationNumbers) -> Iterator[Finding]:
    if explored.synthetic:
        yield Finding(
            "summary",
            "Made-up patches",
            f"{explored.source} is drawn by a program.",
            "Nothing here says anything about tissue.",
            "Use it to learn what the page shows; then give real patches with --data.",
        )
    left_out = sum(count for _, count in explored.exclusions)
    if left_out:
        reasons = "; ".join(f"{reason}: {count:,}" for reason, count in explored.exclusions)
        yield Finding(
            "classes",
            "Left out",
            f"{left_out:,} of {explored.found:,} patches were left out ({reasons}).",
            "They are in no number below. A reason that meets one class or a few patients only would shift the rest.",
            "Nothing, where the reasons are as expected: patches of another size lie at the border of a slide.",
        )
    share = numbers.totals.share
    if abs(share - PUBLIC_PREVALENCE) > FAR_FROM_PUBLIC:
        yield Finding(
            "classes",
            "Another mixture than on slides",
            f"{_percent(share)} of the patches have IDC; in the whole public set it is {_percent(PUBLIC_PREVALENCE)}.",
            "The patches were chosen by class. Accuracy, F1 and predictive values hold for this mixture only.",
            "Judge by AUC and balanced accuracy; the report converts the others to the public set's mixture.",
        )
    elif share < 1 / 3 or share > 2 / 3:
        yield Finding(
            "classes",
            "Unequal classes",
            f"{_percent(share)} of the patches have IDC.",
            "A model that always answers with the larger class is right most of the time.",
            "Judge by AUC and balanced accuracy; weighting the classes is among the parameters that are searched.",
        )


# --- patients -------------------------------------------------------------------------------------------------------


def _about_patients(numbers: ExplorationNumbers) -> Iterator[Finding]:
    totals = numbers.totals
    if totals.patients is None or totals.one_class is None or totals.effective is None:
        yield Finding(
            "classes",
            "Patients are unknown",
            "The patches have no patient ids.",
            "It cannot be known how many patients there are, how patches and classes fall on them, how much of a "
            "difference in colour is one between patients, or whether copies cross from one to another. Patches of a "
            "patient are on both sides of every cross-validation here, which flatters it, and its intervals, which "
            "take patches for independent, are too narrow.",
            "Give the ids if you can, as patients.npy beside X.npy. Without them no verdict of a comparison is "
            "stronger than “suggests”.",
        )
        return
    if totals.patients < FEW_PATIENTS:
        yield Finding(
            "classes",
            "Few patients",
            f"All patches come from {totals.patients} patients.",
            "Intervals over so few patients are unreliable, whatever the number of patches.",
            "Add patients, not patches.",
        )
    if totals.effective < totals.patients / 2:
        least = _counted(totals.fewest or 0, "patch", "patches")
        yield Finding(
            "classes",
            "A few patients hold most patches",
            f"Of {totals.patients} patients the smallest has {least} and the largest {totals.most:,}; for a score they "
            f"count as {totals.effective:.0f} of equal weight.",
            "Scores rest on fewer patients than there are, and intervals are wider than their number suggests.",
            "Nothing: intervals of the report count it in. Look at the results patient by patient as well.",
        )
    if totals.one_class > MANY_ONE_CLASS * totals.patients:
        yield Finding(
            "classes",
            "Patients of one class",
            f"{totals.one_class} of {totals.patients} patients have patches of one class only.",
            "For them nothing but the patient tells the class: a model can learn the stain of a patient instead of "
            "IDC.",
            "Keep the split by patient, which takes that advantage away, and try stain jitter.",
        )


# --- colour and quality ---------------------------------------------------------------------------------------------


def _about_colour(numbers: ExplorationNumbers) -> Iterator[Finding]:
    telling = [(name, one) for name, one in numbers.measures.items() if max(one.auc, 1 - one.auc) >= APART]
    if telling:
        _, best = max(telling, key=lambda pair: abs(pair[1].auc - 0.5))
        others = ", ".join(name for name, one in telling if one is not best)
        more = f" So do {others}." if others else ""
        direction = "higher" if best.auc > 0.5 else "lower"
        yield Finding(
            "colour",
            "Single measures tell the classes apart",
            f"{_short(best)} alone, {direction} with IDC, reaches an AUC of {max(best.auc, 1 - best.auc):.3f}.{more}",
            "Part of what a network will reach is colour: IDC is dense with nuclei, so bluer and darker. On slides "
            "with another stain that part may not hold.",
            "Compare every model with colour alone (below, and as a baseline in the report), not with chance.",
        )
    spread = {name: numbers.measures[name] for name in _STAIN}
    strained = {
        name: one
        for name, one in spread.items()
        if one.between_patients is not None and one.between_patients > max(STRAINED, one.between_classes)
    }
    if strained:
        words = ", ".join(
            f"{name} {_percent(one.between_patients or 0)} against {_percent(one.between_classes)}"
            for name, one in strained.items()
        )
        yield Finding(
            "colour",
            "Stain differs more between patients than between classes",
            f"Share of the variance that lies between patients, against that between classes: {words}.",
            "Patients differ in class as well, so that not all of it is staining; but a model that trusts absolute "
            "colour will err on new patients.",
            "Stain jitter is among the parameters that are searched; compare it with 0 in the report's figures.",
        )


def _about_quality(numbers: ExplorationNumbers) -> Iterator[Finding]:
    met = {name: one for name, one in numbers.flags.items() if one.patches}
    if not met:
        return
    counts = ", ".join(f"{one.patches:,} {one.title}" for one in met.values())
    yield Finding(
        "quality",
        "Patches that show little",
        f"{counts}, of {numbers.totals.patches:,}.",
        "On such a patch the label cannot be read off the picture. In small numbers they cost little; where one class "
        "holds more of them, they are a shortcut to its label.",
        "Look at the examples. To train and test without them, begin a new study with --exclude "
        f"{','.join(met)}; the report then says that they were left out.",
    )
    for one in met.values():
        idc, rest = (one.share[name] for name in CLASSES)
        if one.patches >= 20 and max(idc, rest) > 3 * min(idc, rest):
            more = "with" if idc > rest else "without"
            yield Finding(
                "quality",
                f"{one.title.capitalize()} patches fall on one class",
                f"{_percent(idc)} of the patches with IDC are {one.title}, and {_percent(rest)} of the others.",
                f"Being {one.title} tells the class {more} IDC: easy patches that raise every score.",
                "Read the report's scores with and without near-white patches.",
            )


# --- repetitions ----------------------------------------------------------------------------------------------------


def _about_repetitions(numbers: ExplorationNumbers) -> Iterator[Finding]:
    exact, near = numbers.repetitions["exact"], numbers.repetitions["near"]
    if exact.surplus:
        yield Finding(
            "duplicates",
            "Equal patches",
            f"{_counted(exact.surplus, 'patch', 'patches')} with the pixels of another, in "
            f"{_counted(exact.groups, 'group')}{_across(exact.across)}.",
            "They would count twice, and a copy in training gives its twin in the test away.",
            "Nothing: search.launch keeps one of each. If there are many, ask where the files come from.",
        )
    if exact.contradicting:
        yield Finding(
            "duplicates",
            "Equal patches with both labels",
            f"{_counted(exact.contradicting, 'group')} of equal patches with both labels.",
            "One of the labels must be wrong, and nobody can say which from the pixels.",
            "Nothing: search.launch keeps none of them. Correct the labels at their source if you can.",
        )
    if near.surplus:
        unknown = near.across is None
        yield Finding(
            "duplicates",
            "Nearly equal patches",
            f"{_counted(near.surplus, 'patch', 'patches')} nearly equal to another, turned, flipped or slightly "
            f"changed, in {_counted(near.groups, 'group')}{_across(near.across)}.",
            "Within a patient they count a little more than they should. Across patients they are the same tissue "
            "under two names, and a split by patient does not keep them apart.",
            "Without patient ids the split keeps such groups together by itself."
            if unknown
            else "Leave the copies out in a new study with --exclude near_duplicate, above all where they cross "
            "patients.",
        )


def _across(across: int | None) -> str:
    if across is None:
        return "; whether they cross patients is unknown"
    return f"; {across:,} of these cross patients" if across else ", all within a patient"


# --- models ---------------------------------------------------------------------------------------------------------


def _about_models(explored: Explored, numbers: ExplorationNumbers) -> Iterator[Finding]:
    if not numbers.scores:
        yield Finding(
            "alone",
            "Too few patients to model",
            "No two folds of whole patients have both classes.",
            "It cannot be known how far colour alone gets, or which labels are doubtful.",
            "Add patients with both classes.",
        )
        return
    if explored.whole > len(explored.modelled):
        yield Finding(
            "alone",
            "A sample was modelled",
            f"{len(explored.modelled):,} of {explored.whole:,} patches, drawn at random.",
            "Scores hold for all; doubtful labels were looked for in the sample only.",
            "Give --sample a larger number for more of them.",
        )
    colour = numbers.scores[0]
    if colour.auc.value is not None:
        low = "" if colour.auc.low is None else f" ({colour.auc.low:.3f} to {colour.auc.high:.3f})"
        yield Finding(
            "alone",
            "Colour alone gets this far",
            f"A logistic regression on {colour.name} reaches an AUC of {colour.auc.value:.3f}{low} on patients that it "
            "had not seen.",
            "So much needs no shape at all. What a network adds begins here, not at 0.5.",
            "Be content with a network only where its interval lies above this one.",
        )


def _about_labels(numbers: ExplorationNumbers) -> Iterator[Finding]:
    doubts = numbers.doubts
    if doubts is None and numbers.scores:
        yield _no_judge(numbers.scores[-1])
    if doubts is None or not doubts.doubted:
        return
    yield Finding(
        "labels",
        "Labels in doubt",
        f"Confident learning doubts {doubts.doubted:,} of {doubts.modelled:,} labels: {doubts.idc:,} IDC, "
        f"{doubts.not_idc:,} not IDC ({doubts.by}).",
        "Most are hard rather than wrong: the model is simple, and outlines were drawn at low magnification, so that "
        "fat and stroma inside an outline count as IDC. The first of the list are worth the most.",
        "Have a pathologist look at the first of each class. Correct what is wrong at its source, for a new study; "
        "never take test patches out because a model doubts them.",
    )


def _no_judge(model: ScoreNumbers) -> Finding:
    auc = model.auc
    interval = "" if auc.low is None else f" ({auc.low:.3f} to {auc.high:.3f})"
    return Finding(
        "labels",
        "Labels cannot be judged on these patches",
        f"The model that would judge them, a logistic regression on {model.name}, reaches an AUC of "
        f"{auc.value or 0.5:.3f}{interval} on patients that it had not seen: it may be guessing.",
        "Whoever guesses contradicts about half of all labels, and no doubt of theirs says anything: none is shown.",
        "Give VGG16's weights with --vgg16-weights where they were missing, or more patients; else have labels checked "
        "by hand.",
    )


def _counted(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def _short(measure: MeasureNumbers) -> str:
    return measure.title.split(",")[0]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
