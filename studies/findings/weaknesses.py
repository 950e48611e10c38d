"""What weakens a claim, found by stated rules: about the patients, the opening, the searches and the retraining."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.records import FinalModel, ReportData, TrialResult
from studies.statistics.calibration import at_bound
from studies.statistics.metrics import FEW_PATIENTS
from studies.statistics.resampling import FEWEST_PATIENTS, Resampling

FEW_TRIALS = 10
"""Complete trials below which a search has hardly left its random start-up."""
FAR_APART = 0.05
"""How far the pooled out-of-fold AUC may lie below the mean within folds; more than patients explain."""
USUAL_FOLDS = 5
"""Of the development patients, over which final models are retrained; fewer where too few have both classes."""
MADE_UP, FEW = "Made-up patches", "Few patients"


@dataclass(frozen=True)
class Weakness:
    """Something that weakens the claim: a short name and what it means."""

    name: str
    meaning: str
    forbids_verdict: bool  # True: nothing stronger than "suggests" can be said


def weaknesses(data: ReportData, resampling: Resampling) -> tuple[Weakness, ...]:
    """All that weakens the claim, most serious first."""
    known = resampling.known and data.data.patient_ids
    return (
        *about_patches(synthetic=data.data.synthetic, known=known, patients=resampling.patients),
        *about_cleaning(data.data.easing, dict(data.data.exclusions)),
        *about_openings(len(data.openings)),
        *about_searches(_random_weights(data), [_complete(study.trials) for study in data.studies]),
        *about_folds(int(data.plan.settings.get("folds", USUAL_FOLDS))),
        *(weakness for model in data.plan.models for weakness in about_retraining(model)),
    )


def about_patches(*, synthetic: bool, known: bool, patients: int) -> list[Weakness]:
    """Of the test split: whether its patches are real, its patients known, and how many they are."""
    found = []
    if synthetic:
        found.append(Weakness(MADE_UP, "The patches are synthetic: nothing here is about tissue.", False))
    if not known:
        meaning = (
            "Patches of one patient may lie in training and test alike, which flatters every score; intervals treat "
            "patches as independent and are a lower bound of the uncertainty."
        )
        found.append(Weakness("No patient ids", meaning, True))
    elif patients < FEWEST_PATIENTS:
        meaning = (
            f"The test split holds {patients} of them, too few for any interval: chance may explain every number here."
        )
        found.append(Weakness(FEW, meaning, True))
    elif patients < FEW_PATIENTS:
        meaning = f"The test split holds {patients} patients; below {FEW_PATIENTS} intervals are unreliable."
        found.append(Weakness(FEW, meaning, True))
    return found


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
    return [Weakness("Easier test", meaning, False)]


def about_openings(openings: int) -> list[Weakness]:
    """Of the log: more than one opening."""
    if openings < 2:
        return []
    meaning = f"The test patches were read {openings} times; what changed in between may fit them by chance."
    return [Weakness("Test split reopened", meaning, True)]


def about_searches(random_weights: Sequence[str], complete: Sequence[int]) -> list[Weakness]:
    """Of the searches.

    Args:
        random_weights: transfer-learned models that began from random weights.
        complete: complete trials of each study.
    """
    found = []
    if random_weights:
        meaning = f"{' and '.join(random_weights)} began from random weights, not from pretrained layers."
        found.append(Weakness("Random initial weights", meaning, False))
    if any(count < FEW_TRIALS for count in complete):
        meaning = (
            f"At least one search has fewer than {FEW_TRIALS} complete trials: its best configuration is hardly a "
            "tuned one."
        )
        found.append(Weakness("Short search", meaning, False))
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
            found.append(Weakness("No better than a baseline", meaning, False))
    return found


def about_folds(folds: int) -> list[Weakness]:
    """Of the folds: fewer than usual."""
    if folds >= USUAL_FOLDS:
        return []
    meaning = (
        f"Too few development patients have both classes for {USUAL_FOLDS} folds, so there were {folds}: each member "
        f"learned on about {folds - 1} of {folds} parts of the development patches, and configuration, temperature and "
        "threshold were chosen on few patients."
    )
    return [Weakness("Few folds", meaning, False)]


def about_retraining(model: FinalModel) -> list[Weakness]:
    """Of a final model: members that do not score on one scale, and a temperature that ran into its bound."""
    found = []
    pooled, within = _pooled_and_within(model)
    if within is not None and within - pooled > FAR_APART:
        meaning = (
            f"{model.model} reaches an AUC of {within:.3f} within the folds, but {pooled:.3f} over all folds together: "
            "its members do not score on one scale, so one threshold and one temperature hardly fit them all."
        )
        found.append(Weakness("Members on different scales", meaning, False))
    if at_bound(model.temperature):
        meaning = (
            f"The temperature of {model.model}, {model.temperature:.3g}, lies at the end of its range: "
            "its probabilities are not to be taken for risks."
        )
        found.append(Weakness("Temperature at its bound", meaning, False))
    return found


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
