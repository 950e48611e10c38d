"""What reporting standards ask for, by topic, and where this report answers it.

Topics follow CLAIM 2024 (Radiol Artif Intell 6(4):e240300), TRIPOD+AI (BMJ 2024;385:e078378) and STARD-AI 2025 (Nat Med
31:3283-3289, doi:10.1038/s41591-025-03953-8), by topic and not by number, as their numbering differs. What a tool
cannot know is marked as not available: those who publish must add it.
"""

from dataclasses import dataclass

CLAIM, TRIPOD, STARD = "CLAIM", "TRIPOD+AI", "STARD-AI"
BOTH, ALL = f"{CLAIM}, {TRIPOD}", f"{CLAIM}, {TRIPOD}, {STARD}"


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
    ChecklistItem("Aim and kind of study", ALL, "summary", "comparison of models on one locked test split"),
    ChecklistItem("Intended use and clinical role", ALL, "limits", "research only, not a device"),
    ChecklistItem("Source of the data and eligibility", ALL, "data", "source, stated rules of exclusion"),
    ChecklistItem("Exclusions and missing data, with counts", ALL, "data", "flow diagram"),
    ChecklistItem("Reference standard and its limits", ALL, "limits", "outlines of one pathologist"),
    ChecklistItem("Preparation of the data", ALL, "reproduction", "settings of the analysis plan"),
    ChecklistItem("Sample size and the precision reached", ALL, "test", "intervals, smallest difference to be seen"),
    ChecklistItem("Model, initial weights, training", ALL, "retraining", "configuration, weights, members"),
    ChecklistItem(
        "Hyperparameters: space, trials, selection rule", BOTH, "search", "every trial, also pruned and failed"
    ),
    ChecklistItem("Ensembling", CLAIM, "retraining", "mean logit over members and views"),
    ChecklistItem("Threshold and its rule, fixed before the test", ALL, "retraining", "chosen out of fold"),
    ChecklistItem("Measures of performance with uncertainty", ALL, "test", "95 % intervals"),
    ChecklistItem("Comparison of models, multiplicity", ALL, "test", "paired, simultaneous intervals"),
    ChecklistItem("Cross tabulation of calls and labels", STARD, "test", "counts at the frozen threshold"),
    ChecklistItem("Indeterminate results", STARD, "closer", "every patch is called; what leaving some open would gain"),
    ChecklistItem("Likeness to the population of use", STARD, "test", "share of IDC; values at that of the public set"),
    ChecklistItem("Calibration", TRIPOD, "test", "line, error, reliability, before and after temperature"),
    ChecklistItem("Clinical utility", TRIPOD, "test", "net benefit, as an illustration"),
    ChecklistItem("Subgroups and heterogeneity", ALL, "test", "by share of IDC, brightness and stain"),
    ChecklistItem("Analysis of errors", f"{CLAIM}, {STARD}", "errors", "most confident errors of each kind"),
    ChecklistItem(
        "Explanation of single results, and its limits", CLAIM, "errors", "Grad-CAM, where pictures were kept"
    ),
    ChecklistItem("Analysis plan before the test", ALL, "reproduction", "frozen and hashed, with its time"),
    ChecklistItem(
        "What was known to those who called", STARD, "reproduction", "test labels were sealed until the opening"
    ),
    ChecklistItem("Stored outputs, open to audit", STARD, "reproduction", "every prediction; records chained by hash"),
    ChecklistItem("Code, data and weights", ALL, "reproduction", "versions, commands, hashes"),
    ChecklistItem("Limitations", ALL, "limits", ""),
    ChecklistItem(
        "Demographics and clinical characteristics", ALL, None, "the data set has no age, sex, site or grade"
    ),
    ChecklistItem("Severity of disease, other diagnoses", STARD, None, "the data set has neither"),
    ChecklistItem(
        "Experience of the annotators, and what they knew", f"{CLAIM}, {STARD}", None, "not recorded with the data set"
    ),
    ChecklistItem("Devices and software that captured the data", STARD, None, "not recorded with the data set"),
    ChecklistItem("Time between test and reference standard", STARD, None, "none: both look at the same slide"),
    ChecklistItem("End users, and the expertise that it takes", STARD, None, "to be stated by the authors"),
    ChecklistItem("Adverse events", STARD, None, "none can be: slides that were there"),
    ChecklistItem("External validation", ALL, None, "one source of slides; no external test set"),
    ChecklistItem("Fairness across groups of people", f"{TRIPOD}, {STARD}", None, "no demographic data"),
    ChecklistItem("Comparison with human readers", CLAIM, None, "no readers took part"),
    ChecklistItem("Ethics approval, consent", ALL, None, "to be stated by the authors"),
    ChecklistItem("Patient and public involvement", TRIPOD, None, "to be stated by the authors"),
    ChecklistItem("Registration, funding, conflicts of interest", ALL, None, "to be stated by the authors"),
)


def checklist(*, patient_ids: bool) -> tuple[ChecklistItem, ...]:
    """All topics; without patient ids the disjointness of the partitions is not available."""
    disjoint = "by patient" if patient_ids else "patient ids are unknown: overlap between parts cannot be excluded"
    partitions = ChecklistItem(
        "Partitions and the level at which they are disjoint", ALL, "data" if patient_ids else None, disjoint
    )
    return (*_ALWAYS[:6], partitions, *_ALWAYS[6:])
