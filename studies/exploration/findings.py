"""What an exploration found, what it means, and what to do about it: in words, by stated rules.

A rule looks at its numbers as they are printed, so that no reader finds a sentence that its own numbers contradict.
"""

from collections.abc import Iterator

from studies.exploration._pictures import about_channels, about_colour, about_quality
from studies.exploration._words import counted, per_cent, percent
from studies.exploration.explored import Explored
from studies.exploration.finding import Finding
from studies.exploration.numbers import ExplorationNumbers, ScoreNumbers, Totals
from studies.statistics.metrics import FEW_PATIENTS, PUBLIC_PREVALENCE

FAR_FROM_PUBLIC = 10.0
"""Per cent of patches by which IDC may be more or less frequent than in the public set."""
FEW_HOLD_MOST = 0.2
"""Share of the patients, the largest, that would hold more than half of the patches; of equal ones it is a half."""
MANY_ONE_CLASS = 0.2


def exploration_findings(explored: Explored, numbers: ExplorationNumbers) -> tuple[Finding, ...]:
    """All of them, in the order of the page's sections."""
    return (
        *_about_the_lock(explored),
        *_about_the_set(explored, numbers),
        *_about_patients(numbers),
        *about_channels(explored, numbers),
        *about_colour(numbers),
        *about_quality(numbers),
        *_about_repetitions(numbers),
        *_about_models(explored, numbers),
        *_about_labels(explored, numbers),
    )


# --- the whole set --------------------------------------------------------------------------------------------------


def _about_the_lock(explored: Explored) -> Iterator[Finding]:
    others = f" but the {explored.sealed_elsewhere:,} that other comparisons have sealed"
    but_others = others if explored.sealed_elsewhere else ""
    if explored.sealed is None:
        yield Finding(
            "HT-D01",
            "summary",
            f"Every {'other ' if but_others else ''}patch is shown",
            f"There is no lock under the name {explored.study}, and every patch{but_others} is shown and modelled "
            "here, also those that a lock will seal for the test.",
            "Whoever chooses a rule, a colour correction or a model by what stands here has looked at test patches; "
            "the report will say so.",
            "Look for faults of the data, and decide nothing else by this page. Without --all only the development "
            "patches are shown, where a split can be drawn.",
        )
    elif not explored.sealed.lock_digest:
        yield Finding(
            "HT-D02",
            "summary",
            "No split is locked yet",
            f"There is no lock under the name {explored.study}. Shown are the development patches of the split that "
            f"search.launch draws by default{but_others}.",
            "A launch with another --split, --split-seed, --split-file or --exclude draws other test patients; those "
            "of them who are shown here are counted, and the report will say so.",
            "Look, decide, and launch with the default split, or look again after the first launch.",
        )


def _about_the_set(explored: Explored, numbers: ExplorationNumbers) -> Iterator[Finding]:
    if explored.synthetic:
        yield Finding(
            "HT-D03",
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
            "HT-D04",
            "classes",
            "Left out",
            f"{left_out:,} of {explored.found:,} found were left out ({reasons}).",
            "They are in no number below. A reason that meets one class or a few patients only would shift the rest.",
            "Nothing, where the reasons are as expected: patches of another size lie at the border of a slide.",
        )
    share = numbers.totals.share
    if round(abs(per_cent(share) - per_cent(PUBLIC_PREVALENCE)), 1) > FAR_FROM_PUBLIC:
        yield Finding(
            "HT-D05",
            "classes",
            "Another mixture than on slides",
            f"{percent(share)} of the patches have IDC; in the whole public set it is {percent(PUBLIC_PREVALENCE)}.",
            "The patches were chosen by class, or come from slides of another kind. Accuracy, F1 and predictive values "
            "hold for this mixture only.",
            "Judge by AUC and balanced accuracy; the report converts the others to the public set's mixture.",
        )
    elif per_cent(share) < 33.3:  # more than two thirds are far from the public set
        yield Finding(
            "HT-D06",
            "classes",
            "Unequal classes",
            f"{percent(share)} of the patches have IDC.",
            "A model that always answers with the larger class is right most of the time.",
            "Judge by AUC and balanced accuracy; weighting the classes is among the parameters that are searched.",
        )


# --- patients -------------------------------------------------------------------------------------------------------


def _about_patients(numbers: ExplorationNumbers) -> Iterator[Finding]:
    totals = numbers.totals
    if totals.patients is None:
        yield Finding(
            "HT-D07",
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
            "HT-D08",
            "classes",
            "Few patients",
            f"All patches come from {counted(totals.patients, 'patient')}.",
            "Intervals over so few patients are too wide to tell much, whatever the number of patches.",
            "Add patients, not patches.",
        )
    yield from _about_weights(totals, totals.patients)
    several, one_class = totals.patients - (totals.single or 0), (totals.one_class or 0) - (totals.single or 0)
    if one_class > MANY_ONE_CLASS * several:
        yield Finding(
            "HT-D09",
            "classes",
            "Patients of one class",
            f"{one_class} of {counted(several, 'patient')} with two patches or more have one class only.",
            "For them nothing but the patient tells the class: a model can learn the stain of a patient instead of "
            "IDC.",
            "Keep the split by patient, which takes that advantage away, and try stain jitter.",
        )


def _about_weights(totals: Totals, patients: int) -> Iterator[Finding]:
    """How unevenly patches, and patches of a class, fall on patients."""
    half, effective = totals.half or 0, round(totals.effective or 0.0, 1)
    if half < FEW_HOLD_MOST * patients:
        least = counted(totals.fewest or 0, "patch", "patches")
        yield Finding(
            "HT-D10",
            "classes",
            "A few patients hold most patches",
            f"More than half of the patches are of {counted(half, 'patient')} out of {patients}; the smallest has "
            f"{least}, the largest {totals.most:,}.",
            "What is learned and what is measured is mostly about these few.",
            "Look at the results patient by patient as well; where you can, take fewer patches of the largest.",
        )
    if effective < patients / 2:
        yield Finding(
            "HT-D11",
            "classes",
            "Scores rest on fewer patients than there are",
            f"Of {patients} patients {totals.with_idc} have patches with IDC and {totals.with_others} have others; by "
            f"how unevenly each class falls on them, they count as {effective:.1f} of equal weight.",
            "Intervals are wider than the number of patients suggests.",
            "Nothing: intervals of the report count it in.",
        )


# --- repetitions ----------------------------------------------------------------------------------------------------


def _about_repetitions(numbers: ExplorationNumbers) -> Iterator[Finding]:
    exact, near = numbers.repetitions["exact"], numbers.repetitions["near"]
    if exact.surplus:
        yield Finding(
            "HT-D19",
            "duplicates",
            "Equal patches",
            f"{counted(exact.surplus, 'patch', 'patches')} with the pixels of another, in "
            f"{counted(exact.groups, 'group')}{_across(exact.across)}.",
            "They would count twice, and a copy in training gives its twin in the test away.",
            "Nothing: search.launch keeps one of each. If there are many, ask where the files come from.",
        )
    if exact.contradicting:
        yield Finding(
            "HT-D20",
            "duplicates",
            "Equal patches with both labels",
            f"{counted(exact.contradicting, 'group')} of equal patches with both labels.",
            "One of the labels must be wrong, and nobody can say which from the pixels.",
            "Nothing: search.launch keeps none of them. Correct the labels at their source if you can.",
        )
    if near.surplus:
        unknown = near.across is None
        yield Finding(
            "HT-D21",
            "duplicates",
            "Nearly equal patches",
            f"{counted(near.surplus, 'patch', 'patches')} nearly equal to another, turned, flipped or slightly "
            f"changed, in {counted(near.groups, 'group')}{_across(near.across)}.",
            f"{_WITHIN}{'' if near.across == 0 else _ACROSS}",
            "Without patient ids the split keeps such groups together by itself."
            if unknown
            else "Leave the copies out in a new study with --exclude near_duplicate"
            f"{', above all as they cross patients' if near.across else ', or leave them'}.",
        )


_WITHIN = "Within a patient they count a little more than they should."
_ACROSS = " Across patients they are the same tissue under two names, and a split by patient does not keep them apart."


def _across(across: int | None) -> str:
    if across is None:
        return "; whether they cross patients is unknown"
    return f"; {across:,} of these cross patients" if across else ", all within a patient"


# --- models ---------------------------------------------------------------------------------------------------------


def _about_models(explored: Explored, numbers: ExplorationNumbers) -> Iterator[Finding]:
    if not numbers.scores:
        yield Finding(
            "HT-D22",
            "alone",
            "Too few patients to model" if explored.patient_ids else "Too few patches to model",
            f"No two folds of whole {'patients' if explored.patient_ids else 'groups of near duplicates'} leave both "
            "classes to learn from.",
            "It cannot be known how far colour alone gets, or which labels are doubtful.",
            f"Add {'patients' if explored.patient_ids else 'patches'} of both classes.",
        )
        return
    if explored.whole > len(explored.modelled):
        yield Finding(
            "HT-D23",
            "alone",
            "A sample was modelled",
            f"{len(explored.modelled):,} of {explored.whole:,} patches, drawn at random.",
            "Scores hold for all; doubtful labels were looked for in the sample only.",
            "Give --sample a larger number for more of them.",
        )
    colour = numbers.scores[0]
    if colour.auc.value is not None:
        guessing = (colour.auc.value if colour.auc.low is None else colour.auc.low) <= 0.5
        yield Finding(
            "HT-D25" if guessing else "HT-D24",
            "alone",
            "Colour alone may be guessing" if guessing else "Colour alone gets this far",
            f"A logistic regression on {colour.name} reaches {_reached(colour)} on {_unseen(explored)}.",
            "Nothing here shows that colour by itself tells the classes apart."
            if guessing
            else "So much needs no shape at all. What a network adds begins here, not at 0.5.",
            "Be content with a network only where its interval lies above this one.",
        )


def _reached(model: ScoreNumbers) -> str:
    auc = model.auc
    interval = "" if auc.low is None else f" ({auc.low:.3f} to {auc.high:.3f})"
    return "no AUC that is defined" if auc.value is None else f"an AUC of {auc.value:.3f}{interval}"


def _unseen(explored: Explored) -> str:
    kind = "patients" if explored.patient_ids else "patches, though not always of patients,"
    return f"{kind} that it had not seen"


def _about_labels(explored: Explored, numbers: ExplorationNumbers) -> Iterator[Finding]:
    doubts = numbers.doubts
    if doubts is None and numbers.scores:
        yield _no_judge(explored, numbers.scores[-1])
    if doubts is None or not doubts.doubted:
        return
    yield Finding(
        "HT-D26",
        "labels",
        "Labels in doubt",
        f"Confident learning doubts {doubts.doubted:,} of {doubts.modelled:,} labels: {doubts.idc:,} IDC, "
        f"{doubts.not_idc:,} not IDC ({doubts.by}).",
        "Most are hard rather than wrong: the model is simple, and outlines were drawn at low magnification, so that "
        "fat and stroma inside an outline count as IDC. The first of the list are worth the most.",
        "Have a pathologist look at the first of each class. Correct what is wrong at its source, for a new study; "
        "never take test patches out because a model doubts them.",
    )


def _no_judge(explored: Explored, model: ScoreNumbers) -> Finding:
    return Finding(
        "HT-D27",
        "labels",
        "Labels cannot be judged on these patches",
        f"The model that would judge them, a logistic regression on {model.name}, reaches {_reached(model)} on "
        f"{_unseen(explored)}: it may be guessing.",
        "Whoever guesses contradicts about half of all labels, and no doubt of theirs says anything: none is shown.",
        "Give VGG16's weights with --vgg16-weights where they were missing, or more patients; else have labels checked "
        "by hand.",
    )
