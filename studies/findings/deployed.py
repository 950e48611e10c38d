"""What a prediction costs, beside how good it is: every finalist as it would be deployed, and the ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass

from studies.records import ReportData
from studies.speeds import together


@dataclass(frozen=True)
class Cost:
    """What a prediction takes.

    Attributes:
        networks: that each see a patch in eight views.
        parameters: of all of them; None where neither a trial nor a measurement tells.
        multiply_adds, milliseconds: a patch, in all networks and views; None where they were not measured.
    """

    networks: int
    parameters: int | None
    multiply_adds: int | None
    milliseconds: float | None


@dataclass(frozen=True)
class Deployed:
    """A configuration with all its members, or the ensemble.

    Attributes:
        name: such as "cnn best".
        model: whose; "" of the ensemble.
        final: whether it is the final one of its model, or of the comparison.
        auc: out of fold, of the ensemble that of the better single model and its nested gain; None of dropped ones,
            whose scores are of other patients.
        memory: bytes that its training took at most; None where that is not known.
    """

    name: str
    model: str
    final: bool
    auc: float | None
    cost: Cost
    memory: int | None


def deployed(data: ReportData) -> tuple[Deployed, ...]:
    """All finalists, and the ensemble where there is one."""
    told = {(study.model, trial.number): trial.attributes for study in data.studies for trial in study.trials}
    found = [
        Deployed(
            name=f"{model.model} {one.label}",
            model=model.model,
            final=one.label == model.chosen,
            auc=None if one.dropped else one.out_of_fold_auc,
            cost=cost_of(data, [(model.model, one.label)]),
            memory=told.get((model.model, one.trial), {}).get("peak_memory"),
        )
        for model in data.plan.models
        for one in model.candidates
    ]
    ensemble = data.plan.ensemble
    if ensemble is None:
        return tuple(found)
    single = next(one for one in found if one.model == ensemble.single and one.final)
    memory = [one.memory for one in found if any(one.name == f"{part.model} {part.label}" for part in ensemble.parts)]
    whole = Deployed(
        name="ensemble",
        model="",
        final=ensemble.chosen,
        auc=None if single.auc is None else single.auc + ensemble.gain.value,
        cost=cost_of(data, [(part.model, part.label) for part in ensemble.parts]),
        memory=max((one for one in memory if one is not None), default=None),
    )
    return (*found, whole)


def cost_of(data: ReportData, parts: Sequence[tuple[str, str]]) -> Cost:
    """Of all members of each (model, label) together; one that was dropped would have as many as the others."""
    members = max(len(one.members) for model in data.plan.models for one in model.candidates)
    configurations = [(model, _of_default(label)) for model, label in parts]
    speeds = [None if data.speeds is None else data.speeds.of(*one) for one in configurations]
    known = [(one, members) for one in speeds if one is not None]
    whole = together(known) if len(known) == len(parts) else None
    return Cost(
        networks=members * len(parts),
        parameters=_parameters(data, configurations, members) if whole is None else whole.parameters,
        multiply_adds=None if whole is None else whole.multiply_adds,
        milliseconds=None if whole is None else whole.milliseconds,
    )


def _of_default(label: str) -> str:
    """The same configuration among the finalists: a control's are the default one with other seeds."""
    return "default" if label.startswith("control-") else label


def _parameters(data: ReportData, parts: Sequence[tuple[str, str]], members: int) -> int | None:
    """As the trials tell; None where one does not."""
    by_model = {model.model: model for model in data.plan.models}
    told = {(study.model, trial.number): trial.attributes for study in data.studies for trial in study.trials}
    sizes = [told.get((model, by_model[model].candidate(label).trial), {}).get("parameters") for model, label in parts]
    return None if None in sizes else members * sum(int(size) for size in sizes if size is not None)
