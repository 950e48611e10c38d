"""The ensemble in numbers: what it averages, what it costs, and whether it is better than the better single model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.final_models import Gain, Part
from studies.findings.verdict import Verdict, judge
from studies.findings.weaknesses import Weakness
from studies.records import ReportData
from studies.statistics.comparison import Comparison, Contestant, compare_all
from studies.statistics.metrics import Estimate
from studies.statistics.resampling import Resampling

ENSEMBLE = "ensemble"
"""Its entry in predictions."""
UNTRAINED = (
    "Its control, as many networks of the default configurations with other seeds, was not trained: what the ensemble "
    "gains may be owed to averaging alone, and not to the search."
)


@dataclass(frozen=True)
class Cost:
    """What a prediction takes.

    Attributes:
        networks: that each see a patch in eight views.
        parameters: of all of them; None where a trial does not tell.
    """

    networks: int
    parameters: int | None


@dataclass(frozen=True)
class EnsembleFindings:
    """The ensemble beside the single model that is the better one out of fold.

    Attributes:
        rule: by which its parts were selected out of fold.
        chosen: whether it is the final model, which it is by its gain.
        gain: over the best single configuration, nested, out of fold.
        single: the model that it is compared with.
        comparison: with that model on the test split; a family of its own.
        verdict: that comparison in words.
        control: why there is no control, in words.
    """

    parts: tuple[Part, ...]
    rule: str
    chosen: bool
    gain: Gain
    temperature: float
    threshold: float
    threshold_rule: str
    auc: Estimate
    balanced_accuracy: Estimate
    single: str
    comparison: Comparison
    verdict: Verdict
    cost: Cost
    cost_of_single: Cost
    control: str


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
        contestants: by entry, the ensemble's and each model's.
        metrics: by entry, the same's metrics on the test split.
        doubts: what weakens every claim.
        resampling: of the test patches.
    """
    ensemble = data.plan.ensemble
    if ensemble is None or ENSEMBLE not in contestants:
        return None
    single = ensemble.single
    (comparison,) = compare_all(data.test.labels, [contestants[ENSEMBLE], contestants[single]], resampling)
    aucs = [(name, metrics[name]["auc"]) for name in (ENSEMBLE, single)]
    chosen = next(model.chosen for model in data.plan.models if model.model == single)
    return EnsembleFindings(
        parts=ensemble.parts,
        rule=ensemble.rule,
        chosen=ensemble.chosen,
        gain=ensemble.gain,
        temperature=ensemble.fit.temperature,
        threshold=ensemble.fit.threshold,
        threshold_rule=ensemble.fit.rule,
        auc=metrics[ENSEMBLE]["auc"],
        balanced_accuracy=metrics[ENSEMBLE]["balanced_accuracy"],
        single=single,
        comparison=comparison,
        verdict=judge([comparison], aucs, doubts, data.plan.margin),
        cost=_cost(data, [(part.model, part.label) for part in ensemble.parts]),
        cost_of_single=_cost(data, [(single, chosen)]),
        control=UNTRAINED,
    )


def _cost(data: ReportData, parts: Sequence[tuple[str, str]]) -> Cost:
    """Of (model, label) of each configuration."""
    by_model = {model.model: model for model in data.plan.models}
    told = {(study.model, trial.number): trial.attributes for study in data.studies for trial in study.trials}
    candidates = [(model, by_model[model].candidate(label)) for model, label in parts]
    sizes = [told.get((model, one.trial), {}).get("parameters") for model, one in candidates]
    networks = [len(one.members) for _, one in candidates]
    known = [int(size) * count for size, count in zip(sizes, networks, strict=True) if size is not None]
    return Cost(sum(networks), sum(known) if len(known) == len(sizes) else None)
