"""What reporting standards ask for, by topic, and where this report answers it.

Topics follow CLAIM 2024 (Radiol Artif Intell 6(4):e240300) and TRIPOD+AI (BMJ 2024;385:e078378), by topic and not by
number, as their numbering differs. What a tool cannot know is marked as not available: those who publish must add it.
"""

from dataclasses import dataclass

BOTH, CLAIM, TRIPOD = "CLAIM, TRIPOD+AI", "CLAIM", "TRIPOD+AI"


@dataclass(frozen=True)
class ChecklistItem:
    """One topic.

    Attributes:
        asked_by: the standards that ask for it.
        section: id of the answering section; None where the answer is not available.
        remark: what is there, or what is missing.
    """

    topic: str
    asked_by: str
    section: str | None
    remark: str


_ALWAYS = (
    ChecklistItem("Aim and kind of study", BOTH, "summary", "comparison of models on one locked test split"),
    ChecklistItem("Intended use and clinical role", BOTH, "limits", "research only, not a device"),
    ChecklistItem("Source of the data and eligibility", BOTH, "data", "source, stated rules of exclusion"),
    ChecklistItem("Exclusions and missing data, with counts", BOTH, "data", "flow diagram"),
    ChecklistItem("Reference standard and its limits", BOTH, "limits", "outlines of one pathologist"),
    ChecklistItem("Preparation of the data", BOTH, "reproduction", "settings of the analysis plan"),
    ChecklistItem("Sample size and the precision reached", BOTH, "test", "intervals, smallest difference to be seen"),
    ChecklistItem("Model, initial weights, training", BOTH, "retraining", "configuration, weights, members"),
    ChecklistItem(
        "Hyperparameters: space, trials, selection rule", BOTH, "search", "every trial, also pruned and failed"
    ),
    ChecklistItem("Ensembling", CLAIM, "retraining", "mean logit over members and views"),
    ChecklistItem("Threshold and its rule, fixed before the test", BOTH, "retraining", "chosen out of fold"),
    ChecklistItem("Measures of performance with uncertainty", BOTH, "test", "95 % intervals over patients"),
    ChecklistItem("Comparison of models, multiplicity", BOTH, "test", "paired, simultaneous intervals"),
    ChecklistItem("Calibration", TRIPOD, "test", "line, error, reliability, before and after temperature"),
    ChecklistItem("Clinical utility", TRIPOD, "test", "net benefit, as an illustration"),
    ChecklistItem("Subgroups and heterogeneity", BOTH, "test", "by share of IDC, brightness and stain"),
    ChecklistItem("Analysis of errors", CLAIM, "errors", "most confident errors of each kind"),
    ChecklistItem(
        "Explanation of single results, and its limits", CLAIM, "errors", "Grad-CAM, where pictures were kept"
    ),
    ChecklistItem("Analysis plan before the test", BOTH, "reproduction", "frozen and hashed, with its time"),
    ChecklistItem("Code, data and weights", BOTH, "reproduction", "versions, commands, hashes"),
    ChecklistItem("Limitations", BOTH, "limits", ""),
    ChecklistItem(
        "Demographics and clinical characteristics", BOTH, None, "the data set has no age, sex, site or grade"
    ),
    ChecklistItem("External validation", BOTH, None, "one source of slides; no external test set"),
    ChecklistItem("Fairness across groups of people", TRIPOD, None, "no demographic data"),
    ChecklistItem("Comparison with human readers", CLAIM, None, "no readers took part"),
    ChecklistItem("Ethics approval, consent", BOTH, None, "to be stated by the authors"),
    ChecklistItem("Patient and public involvement", TRIPOD, None, "to be stated by the authors"),
    ChecklistItem("Registration, funding, conflicts of interest", BOTH, None, "to be stated by the authors"),
)


def checklist(*, patient_ids: bool) -> tuple[ChecklistItem, ...]:
    """All topics; without patient ids the disjointness of the partitions is not available."""
    disjoint = "by patient" if patient_ids else "patient ids are unknown: overlap between parts cannot be excluded"
    partitions = ChecklistItem(
        "Partitions and the level at which they are disjoint", BOTH, "data" if patient_ids else None, disjoint
    )
    return (*_ALWAYS[:6], partitions, *_ALWAYS[6:])
