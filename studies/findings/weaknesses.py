"""What weakens a claim, found by stated rules: about the patients, the opening, the searches and the retraining."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.final_models import FinalModel
from studies.findings.robustness import Moved, Robustness
from studies.records import Look, ReportData, TrialResult
from studies.statistics.calibration import at_bound
from studies.statistics.comparison import LEVEL
from studies.statistics.estimands import JUDGED, Estimands
from studies.statistics.intervals import FEWEST_OF_A_CLASS
from studies.statistics.metrics import FEW_PATIENTS
from studies.statistics.resampling import FEWEST_PATIENTS, Resampling

FEW_TRIALS = 10
"""Complete trials below which a search has hardly left its random start-up."""
FAR_APART = 0.05
"""How far the pooled out-of-fold AUC may lie below the mean within folds; more than patients explain."""
USUAL_FOLDS = 5
"""Of the development patients, over which final models are retrained; fewer where too few have both classes."""
MOST = 0.5
"""Share of the test patches from which on one patient has too many of them."""
MOST_NEAR = 0.01
"""Share of the test patches from which on near copies of them in development are too many."""
FEW_OF_A_CLASS = 5
"""Below this number of patients with patches of a class the report warns."""
MUCH = 0.05
"""Of the AUC, taken by a small change of the patches."""
MADE_UP, FEW = "Made-up patches", "Few patients"


@dataclass(frozen=True)
class Weakness:
    """Something that weakens the claim: the code of its kind, a short name and what it means."""

    code: str
    name: str
    meaning: str
    forbids_verdict: bool  # True: nothing stronger than "suggests" can be said


def weaknesses(data: ReportData, resampling: Resampling) -> tuple[Weakness, ...]:
    """All that weakens the claim, most serious first."""
    known = resampling.known and data.data.patient_ids
    return (
        *about_records(data.broken),
        *about_patches(synthetic=data.data.synthetic, known=known, patients=resampling.patients),
        *(about_classes(data.test.patients, data.test.labels) if known else ()),
        *about_shares(data.test.patients if known else ()),
        *about_near_copies(data.data.near_sealed, len(data.test.labels)),
        *about_cleaning(data.data.easing, dict(data.data.exclusions)),
        *about_openings(len(data.openings)),
        *about_looks(data.looks),
        *about_other_splits(data.elsewhere),
        *about_searches(_random_weights(data), [_complete(study.trials) for study in data.studies]),
        *about_folds(int(data.plan.settings.get("folds", USUAL_FOLDS))),
        *(weakness for model in data.plan.models for weakness in about_retraining(model)),
    )


def about_records(broken: Sequence[str]) -> list[Weakness]:
    """Of the chain of records and what the plan rests on: whatever was changed after it was recorded, in words."""
    if not broken:
        return []
    meaning = f"What this report rests on was changed after it was recorded: {'; '.join(broken)}. Trust no number here."
    return [Weakness("HT-W01", "Changed records", meaning, True)]


def about_patches(*, synthetic: bool, known: bool, patients: int) -> list[Weakness]:
    """Of the test split: whether its patches are real, its patients known, and how many they are."""
    found = []
    if synthetic:
        found.append(Weakness("HT-W02", MADE_UP, "The patches are synthetic: nothing here is about tissue.", False))
    if not known:
        meaning = (
            "Patches of one patient may lie in training and test alike, which flatters every score; intervals treat "
            "patches as independent and are a lower bound of the uncertainty."
        )
        found.append(Weakness("HT-W03", "No patient ids", meaning, True))
    elif patients < FEWEST_PATIENTS:
        meaning = (
            f"The test split holds {patients} of them, too few for any interval: chance may explain every number here."
        )
        found.append(Weakness("HT-W04", FEW, meaning, True))
    elif patients < FEW_PATIENTS:
        meaning = (
            f"The test split holds {patients} patients. Over fewer than {FEW_PATIENTS}, intervals that hold "
            "the truth are wide: too wide to tell models apart that differ by little."
        )
        found.append(Weakness("HT-W04", FEW, meaning, True))
    return found


def about_classes(patients: npt.NDArray[np.str_], labels: npt.NDArray[np.int64]) -> list[Weakness]:
    """Of the test patches' patients: only a few of them have one of the classes."""
    found = []
    for label, which in ((1, "with IDC"), (0, "without IDC")):
        count, all_of_them = len(np.unique(patients[labels == label])), len(np.unique(patients))
        if count >= FEW_OF_A_CLASS or all_of_them < FEWEST_PATIENTS:
            continue
        what = "has no interval" if count < FEWEST_OF_A_CLASS else "stands or falls with one of them"
        what = what if count else "is undefined"
        meaning = (
            f"{count} of {all_of_them} test patients {'has' if count == 1 else 'have'} patches {which}: every number "
            f"that rests on these {what}."
        )
        found.append(Weakness("HT-W05", f"Few patients {which}", meaning, True))
    return found


def about_shares(patients: Sequence[str] | npt.NDArray[np.str_]) -> list[Weakness]:
    """Of the test patches' patients: one of them has most of the patches."""
    if not len(patients):
        return []
    ids, counts = np.unique(np.asarray(patients), return_counts=True)
    share = float(counts.max() / counts.sum())
    if len(ids) < 2 or share <= MOST:
        return []
    wide = ", and intervals over patients are wide" if len(ids) >= FEWEST_PATIENTS else ""
    meaning = (
        f"{share:.0%} of the test patches are of one patient, {ids[counts.argmax()]}: scores over patches are mostly "
        f"of this one{wide}."
    )
    return [Weakness("HT-W06", "One patient has most of the patches", meaning, False)]


def about_near_copies(sealed: int, patches: int) -> list[Weakness]:
    """Of the split: test patches that have a near copy in development, and how many there are in all."""
    if sealed <= MOST_NEAR * patches:
        return []
    meaning = (
        f"{sealed} of {patches} test patches are nearly equal, turned or flipped, to development patches of other "
        "patients: who remembers the copy knows the answer."
    )
    return [Weakness("HT-W07", "Near copies across the seal", meaning, False)]


def about_cleaning(easing: Sequence[tuple[str, str]], left_out: Mapping[str, int]) -> list[Weakness]:
    """Of the rules that were on.

    Args:
        easing: (reason, why) of each rule that makes the test easier.
        left_out: patches by reason.
    """
    meanings = [f"{reason} ({left_out.get(reason, 0)} patches), though {why}" for reason, why in easing]
    if not meanings:
        return []
    meaning = f"By --exclude the test has no such patches: {'; '.join(meanings)}. Scores are of the others only."
    return [Weakness("HT-W08", "Easier test", meaning, False)]


def about_openings(openings: int) -> list[Weakness]:
    """Of the log: more than one opening."""
    if openings < 2:
        return []
    meaning = f"The test patches were read {openings} times; what changed in between may fit them by chance."
    return [Weakness("HT-W09", "Test split reopened", meaning, True)]


def about_looks(looks: Sequence[Look]) -> list[Weakness]:
    """Of the log: test patches that were shown before the split was drawn."""
    shown = [f"{look.patches} of the test patches were {look.words}" for look in looks if look.kind == "exploration"]
    if not shown:
        return []
    meaning = f"{'; '.join(shown)}. Whatever was decided by that page was decided by test patches too."
    return [Weakness("HT-W10", "Test patches were shown", meaning, False)]


def about_other_splits(elsewhere: Sequence[tuple[str, bool]]) -> list[Weakness]:
    """Of other comparisons that hold these test patients: in words, and whether they were trained or chosen by them."""
    known = [words for words, chosen_by in elsewhere if chosen_by]
    if not known:
        return []
    meaning = (
        f"{'; '.join(known)}. What was learned there may have shaped this comparison, though this log counts its "
        "openings alone."
    )
    return [Weakness("HT-W11", "Test patients known from other splits", meaning, False)]


def about_searches(random_weights: Sequence[str], complete: Sequence[int]) -> list[Weakness]:
    """Of the searches.

    Args:
        random_weights: transfer-learned models that began from random weights.
        complete: complete trials of each study.
    """
    found = []
    if random_weights:
        meaning = f"{' and '.join(random_weights)} began from random weights, not from pretrained layers."
        found.append(Weakness("HT-W12", "Random initial weights", meaning, False))
    if any(count < FEW_TRIALS for count in complete):
        meaning = (
            f"At least one search has fewer than {FEW_TRIALS} complete trials: its best configuration is hardly a "
            "tuned one."
        )
        found.append(Weakness("HT-W13", "Short search", meaning, False))
    return found


def about_baselines(aucs: Mapping[str, float], models: Sequence[str], baselines: Sequence[str]) -> list[Weakness]:
    """Of models that are no better than what knows nothing of tissue.

    Args:
        aucs: AUC on the test split of each model and baseline; those without one are passed over.
        models: names of the models.
        baselines: names of the baselines.
    """
    found = []
    for baseline in (name for name in baselines if name in aucs):
        if beaten := [name for name in models if name in aucs and aucs[name] <= aucs[baseline]]:
            scores = " and ".join(f"{name}'s AUC of {aucs[name]:.3f}" for name in beaten)
            meaning = (
                f"{scores} does not exceed that of the {baseline}, {aucs[baseline]:.3f}: nothing more was learned."
            )
            found.append(Weakness("HT-W14", "No better than a baseline", meaning, False))
    return found


def about_estimands(found: Mapping[str, Estimands]) -> list[Weakness]:
    """In one line: scores of models over patches that differ from the mean over patients by more than chance."""
    told: list[str] = []
    for name, model in found.items():
        for metric in JUDGED:
            one = model.metrics[metric]
            p, patches, patients = one.difference.p_adjusted, one.patches.value, one.patients.value
            if p is not None and p < LEVEL and patches is not None and patients is not None:
                numbers = f"{patches:.3f} and {patients:.3f}"
                if not told:
                    numbers = f"is {patches:.3f} over patches, and {patients:.3f} where every patient counts the same"
                told.append(f"the {_SPOKEN[metric]} of {name} {numbers}")
    if not told:
        return []
    meaning = f"{_listed(told)}: the first is mostly that of the patients with most patches."
    return [Weakness("HT-W15", "Patches and patients disagree", meaning, False)]


_SPOKEN = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}


def about_folds(folds: int) -> list[Weakness]:
    """Of the folds: fewer than usual."""
    if folds >= USUAL_FOLDS:
        return []
    meaning = (
        f"Too few development patients have both classes for {USUAL_FOLDS} folds, so there were {folds}: each member "
        f"learned on about {folds - 1} of {folds} parts of the development patches, and configuration, temperature and "
        "threshold were chosen on few patients."
    )
    return [Weakness("HT-W16", "Few folds", meaning, False)]


def about_retraining(model: FinalModel) -> list[Weakness]:
    """Of a final model: members that do not score on one scale, and a temperature that ran into its bound."""
    found = []
    pooled, within = _pooled_and_within(model)
    if within is not None and within - pooled > FAR_APART:
        meaning = (
            f"{model.model} reaches an AUC of {within:.3f} within the folds, but {pooled:.3f} over all folds together: "
            "its members do not score on one scale, so one threshold and one temperature hardly fit them all."
        )
        found.append(Weakness("HT-W17", "Members on different scales", meaning, False))
    if at_bound(model.temperature):
        meaning = (
            f"The temperature of {model.model}, {model.temperature:.3g}, lies at the end of its range: "
            "its probabilities are not to be taken for risks."
        )
        found.append(Weakness("HT-W18", "Temperature at its bound", meaning, False))
    return found


def about_changes(found: Mapping[str, Robustness]) -> list[Weakness]:
    """Of each model: of the small changes of its patches that cost it much for certain, the one that costs the most."""
    told, patches = [], 0
    for name, model in found.items():
        much = [one for one in model.moved if _taken(one) >= MUCH and one.auc.high is not None and one.auc.high < 0]
        for worst in sorted(much, key=_taken)[-1:]:
            low, high = worst.auc.low or 0.0, worst.auc.high or 0.0
            told.append(f"{worst.change} takes {_taken(worst):.3f} ({-high:.3f} to {-low:.3f}) of the AUC of {name}")
            patches = max(patches, model.patches)
    if not told:
        return []
    return [Weakness("HT-W19", "Small changes cost much", f"{_listed(told)}, on {patches} development patches.", False)]


def _listed(told: Sequence[str]) -> str:
    """All in one sentence, without what ends it."""
    meaning = "; ".join(told)
    return f"{meaning[:1].upper()}{meaning[1:]}"


def _taken(one: Moved) -> float:
    """Of the AUC, by a change."""
    return -(one.auc.value or 0.0)


def _pooled_and_within(model: FinalModel) -> tuple[float, float | None]:
    """Out-of-fold AUC of the chosen candidate over all rows, and its mean within folds (None with no defined fold)."""
    chosen = next(candidate for candidate in model.candidates if candidate.label == model.chosen)
    within = [member.out_of_fold_auc for member in chosen.members if member.out_of_fold_auc is not None]
    return chosen.out_of_fold_auc, sum(within) / len(within) if within else None


def _complete(trials: Sequence[TrialResult]) -> int:
    return sum(trial.state == "COMPLETE" for trial in trials)


def _random_weights(data: ReportData) -> list[str]:
    """Models that are meant to begin from pretrained layers ("none" in the plan, or so defined) and did not."""
    meant = {study.model for study in data.studies if study.definition.get("pretrained")}
    return [
        model.model
        for model in data.plan.models
        if model.weights.startswith("none") or (model.weights == "random" and model.model in meant)
    ]
