"""Every kind of finding under a code that never changes, to be looked up in docs/findings.md.

A code is a group and a number: V of verdicts, G of what a search has gained, W of what weakens a claim, L of what a
search teaches, D of what an exploration finds in the data. A kind that is dropped takes its code with it; no other is
ever given it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        name: a few words.
        meaning: what it says wherever it is found, in a sentence.
    """

    name: str
    meaning: str


KINDS: Mapping[str, Kind] = {
    "HT-V01": Kind("A model is better", "Its AUC on the test patients is higher by more than chance explains."),
    "HT-V02": Kind("Equivalent models", "Their AUCs differ by less than the margin that was planned before."),
    "HT-V03": Kind(
        "Not worse", "No difference was found, and the model is not worse by more than the margin planned before."
    ),
    "HT-V04": Kind(
        "No difference found", "Chance may explain the difference; it may be as large as its interval says."
    ),
    "HT-V05": Kind("It cannot be said", "The test patients allow no interval of the difference, or no AUC at all."),
    "HT-V06": Kind("One model alone", "There was no second model; its score stands by itself."),
    "HT-G01": Kind("The search gained", "Out of fold the chosen configuration is better than the default one."),
    "HT-G02": Kind("The search lost", "Out of fold the chosen configuration is worse than the default one."),
    "HT-G03": Kind("No gain can be shown", "Out of fold, chance may explain the gain over the default configuration."),
    "HT-G04": Kind("The default is the best", "Out of fold the default configuration is chosen."),
    "HT-G05": Kind("The gain cannot be judged", "There is no interval of the gain, mostly as patients are too few."),
    "HT-W01": Kind("Changed records", "What the report rests on was changed after it was recorded."),
    "HT-W02": Kind("Made-up patches", "The patches were drawn by a program and say nothing about tissue."),
    "HT-W03": Kind("No patient ids", "Patches of one patient may lie on both sides of the split."),
    "HT-W04": Kind("Few patients", "The test split holds too few patients for intervals to tell much."),
    "HT-W05": Kind("Few patients with a class", "Too few test patients have patches with IDC, or without."),
    "HT-W06": Kind("One patient has most of the patches", "Scores over patches are mostly that patient's."),
    "HT-W07": Kind("Near copies across the seal", "Test patches nearly equal development patches of other patients."),
    "HT-W08": Kind("Easier test", "Patches that are harder than most were left out of the test."),
    "HT-W09": Kind("Test split reopened", "The test patches were read more than once."),
    "HT-W10": Kind("Test patches were shown", "Somebody could look at test patches before the split was drawn."),
    "HT-W11": Kind("Test patients known from other splits", "Another comparison learned from, or chose by, them."),
    "HT-W12": Kind("Random initial weights", "A transfer-learned model began without its pretrained layers."),
    "HT-W13": Kind("Short search", "A search had too few complete trials to be called one."),
    "HT-W14": Kind("No better than a baseline", "A model's AUC does not exceed that of a score that sees no shape."),
    "HT-W15": Kind("Patches and patients disagree", "The mean over patients differs from the score over patches."),
    "HT-W16": Kind("Few folds", "The development patients allowed fewer folds than usual."),
    "HT-W17": Kind("Members on different scales", "The members rank well, each by itself, but not together."),
    "HT-W18": Kind("Temperature at its bound", "No temperature within its range makes probabilities of the scores."),
    "HT-W19": Kind("Small changes cost much", "A change that no label sees takes much of a model's AUC."),
    "HT-L01": Kind("The rung can be trusted", "Values where weak trials end told well what came of the others."),
    "HT-L02": Kind("The rung knew little", "Values where weak trials end hardly told what came of the others."),
    "HT-L03": Kind("The rung cannot be judged", "There were too few complete trials to tell whether to trust it."),
    "HT-L04": Kind("The best lie at an end of a range", "Beyond that end there may be better configurations."),
    "HT-L05": Kind("What made the best trial better", "One parameter after the other, as far as the trials tell it."),
    "HT-L06": Kind("What mattered cannot be told", "The trials foretell one another too little to say what mattered."),
    "HT-D01": Kind("Every patch is shown", "There is no lock, and patches that one may seal are shown as well."),
    "HT-D02": Kind("No split is locked yet", "Shown are the development patches of the split drawn by default."),
    "HT-D03": Kind("Made-up patches", "The patches were drawn by a program and say nothing about tissue."),
    "HT-D04": Kind("Left out", "Some of what was found is in no number of the page."),
    "HT-D05": Kind("Another mixture than on slides", "The share of IDC is far from that of the whole public set."),
    "HT-D06": Kind("Unequal classes", "Who always answers with the larger class is right most of the time."),
    "HT-D07": Kind("Patients are unknown", "Nothing that asks for patients can be known."),
    "HT-D08": Kind("Few patients", "Intervals over so few patients are too wide to tell much."),
    "HT-D09": Kind("Patients of one class", "For many patients nothing but the patient tells the class."),
    "HT-D10": Kind("A few patients hold most patches", "What is learned and measured is mostly about these few."),
    "HT-D11": Kind("Scores rest on fewer patients than there are", "Classes fall on the patients very unevenly."),
    "HT-D12": Kind("Not the colours of haematoxylin and eosin", "Channels are in another order, or the stain is."),
    "HT-D13": Kind("Red and blue may be exchanged", "What is read as red is probably blue."),
    "HT-D14": Kind("Pixels of 0 and 1", "On some patches nothing can be seen: their levels were probably rounded."),
    "HT-D15": Kind("Single measures tell the classes apart", "Part of what a network will reach needs no shape."),
    "HT-D16": Kind(
        "Stain differs more between patients than between classes", "Who trusts absolute colour errs on new patients."
    ),
    "HT-D17": Kind("Patches that show little", "On them the label cannot be read off the picture."),
    "HT-D18": Kind("Patches of one flaw fall on one class", "The flaw tells the class, which raises every score."),
    "HT-D19": Kind("Equal patches", "They would count twice, and a copy in training gives its twin away."),
    "HT-D20": Kind("Equal patches with both labels", "One of the labels must be wrong."),
    "HT-D21": Kind("Nearly equal patches", "They are the same tissue turned, flipped or slightly changed."),
    "HT-D22": Kind("Too few to model", "No two folds leave both classes to learn from."),
    "HT-D23": Kind("A sample was modelled", "Doubtful labels were looked for in a part of the patches only."),
    "HT-D24": Kind("Colour alone gets this far", "So much needs no shape: a network has to beat that."),
    "HT-D25": Kind("Colour alone may be guessing", "Nothing shows that colour by itself tells the classes apart."),
    "HT-D26": Kind("Labels in doubt", "A simple model contradicts labels of patients that it had not seen."),
    "HT-D27": Kind("Labels cannot be judged on these patches", "The model that would judge them may be guessing."),
}


def glossary(codes: Iterable[str]) -> dict[str, Kind]:
    """The kinds of these codes, each once, in the order of the table."""
    wanted = set(codes)
    return {code: kind for code, kind in KINDS.items() if code in wanted}
