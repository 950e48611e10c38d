"""The ensemble in numbers: what it averages, what it costs, and whether it is better than the better single model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from studies.final_models import Control, Ensemble, Part
from studies.findings.deployed import Cost, cost_of
from studies.findings.digits import decimal
from studies.findings.entered import Entered, entered
from studies.findings.verdict import Verdict, judge
from studies.findings.weaknesses import Weakness
from studies.records import ReportData
from studies.statistics.comparison import Comparison, Contestant, compare_pairs
from studies.statistics.metrics import Estimate
from studies.statistics.resampling import Resampling

ENSEMBLE, CONTROL = "ensemble", "control"
"""Its entry in predictions, and that of as many default configurations with other seeds."""


@dataclass(frozen=True)
class ControlFindings(Entered):
    """The ensemble beside its control.

    Attributes:
        parts: how many default configurations it averages, by model.
        averaged: for each fold what the control averages that the fold's ensemble is held against; () in plans from
            before each fold had its own.
        gain: of the ensemble over it, nested, out of fold.
        comparison: of the ensemble with it on the test split; interval and p hold for this and the other one together.
    """

    parts: dict[str, int]
    averaged: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True)
class EnsembleFindings(Entered):
    """The ensemble beside the single model that is the better one out of fold.

    Attributes:
        rule: by which its parts were selected out of fold.
        chosen: whether it is the final model, which it is by its gain.
        single: the model that it is compared with.
        gain: over the configuration that this model has chosen, nested, out of fold.
        comparison: with that model on the test split; a family of its own, with that of the control.
        verdict: that comparison in words.
        control: whether the search has paid, by its control; or why that is not known, in words.
        beside_control: None where it was not trained.
    """

    parts: tuple[Part, ...]
    rule: str
    chosen: bool
    single: str
    verdict: Verdict
    cost: Cost
    cost_of_single: Cost
    control: str
    beside_control: ControlFindings | None


def find_ensemble(
    data: ReportData,
    contestants: Mapping[str, Contestant],
    metrics: Mapping[str, Mapping[str, Estimate]],
    doubts: tuple[Weakness, ...],
    resampling: Resampling,
) -> EnsembleFindings | None:
    """Of a plan that has one.

    Args:
        data: of the report.
        contestants: by entry, the ensemble's, its control's and each model's.
        metrics: by entry, the same's metrics on the test split.
        doubts: what weakens every claim.
        resampling: of the test patches.
    """
    ensemble = data.plan.ensemble
    if ensemble is None or ENSEMBLE not in contestants:
        return None
    single = ensemble.single
    opponents = [single] if ensemble.control is None else [single, CONTROL]
    pairs = [(contestants[ENSEMBLE], contestants[opponent]) for opponent in opponents]
    comparison, *others = compare_pairs(data.test.labels, pairs, resampling)
    aucs = [(name, metrics[name]["auc"]) for name in (ENSEMBLE, single)]
    chosen = next(model.chosen for model in data.plan.models if model.model == single)
    return EnsembleFindings(
        parts=ensemble.parts,
        rule=ensemble.rule,
        chosen=ensemble.chosen,
        single=single,
        verdict=judge([comparison], aucs, doubts, data.plan.margin),
        cost=cost_of(data, [(part.model, part.label) for part in ensemble.parts]),
        cost_of_single=cost_of(data, [(single, chosen)]),
        control=_in_words(data, ensemble),
        beside_control=_beside(data, ensemble.control, metrics, others[0]) if ensemble.control else None,
        **entered(ensemble.gain, ensemble.fit, metrics[ENSEMBLE], comparison),
    )


def _beside(
    data: ReportData, control: Control, metrics: Mapping[str, Mapping[str, Estimate]], comparison: Comparison
) -> ControlFindings:
    return ControlFindings(
        parts=dict(Counter(part.model for part in control.parts)),
        averaged=control.averaged,
        cost=cost_of(data, [(part.model, part.retrained.label) for part in control.parts]),
        **entered(control.gain, control.fit, metrics[CONTROL], comparison),
    )


def _in_words(data: ReportData, ensemble: Ensemble) -> str:
    """What the control says of the search, out of fold."""
    if ensemble.control is None:
        return _untrained(data, ensemble)
    gain = ensemble.control.gain
    other = "its control, as many networks of the default configurations with other seeds"
    if gain.low is None or gain.high is None:
        return f"Whether the search has paid cannot be said: there is no interval beside {other}, as {gain.reason}."
    value, low, high = (decimal(each, signed=True) for each in (gain.value, gain.low, gain.high))
    shown = f"AUC {value} ({low} to {high}), out of fold"
    if gain.low > 0:
        return f"The search has paid: the ensemble is better than {other}, by {shown}."
    if gain.high < 0:
        return f"The search has cost: the ensemble is worse than {other}, by {shown}."
    return f"That the search has paid cannot be shown: between the ensemble and {other} lies {shown}."


def _untrained(data: ReportData, ensemble: Ensemble) -> str:
    """What the control would take, by what members of the default configurations took."""
    models = {model.model: model for model in data.plan.models}
    members = [
        member
        for part in ensemble.parts
        for one in models[part.model].candidates
        if one.label == "default"
        for member in one.members
    ]
    hours = sum(member.seconds for member in members) / 3600
    takes = (
        f"It takes {len(members)} networks or a few more, about {hours:.2g} hours of a worker"
        if members
        else "To train it"
    )
    return (
        "Its control, as many networks of the default configurations with other seeds, was not trained: what the "
        f"ensemble gains may be owed to averaging alone, and not to the search. {takes}: search.finalize --study "
        f'{data.name} --control, with a --reopen "reason" now that the test split was opened without it.'
    )
