"""What is put to the test under a plan: each model with its members, as they are stored."""

from dataclasses import dataclass, replace
from pathlib import Path

from search.final.beginning import Final
from search.final.candidates import DEFAULT, Candidate
from search.final.control import control_candidates
from search.final.member_files import member_folder
from search.final.members import StoredModel, source_of
from studies.final_models import CandidateResult, FinalModel
from studies.records import AnalysisPlan


@dataclass(frozen=True)
class Entrant:
    """A model that is put to the test: under which name, and where its members are."""

    entry: str
    stored: StoredModel
    folder: Path


def entrants_of(final: Final, plan: AnalysisPlan, plan_digest: str) -> list[Entrant]:
    """Of all models, in the order of the report, and what the ensemble's control averages."""
    found = [entrant for model in plan.models for entrant in _entrants(final, plan, model, plan_digest)]
    return found + _control_entrants(final, plan, plan_digest)


def _entrants(final: Final, plan: AnalysisPlan, model: FinalModel, plan_digest: str) -> list[Entrant]:
    """The chosen configuration, the default one where another was chosen, and what else the ensemble averages."""
    folder = final.comparison.folder / model.model
    parts = [] if plan.ensemble is None else [part.label for part in plan.ensemble.parts if part.model == model.model]
    others = [one.label for one in model.candidates if one.label in (DEFAULT, *parts) and one.label != model.chosen]
    return [
        Entrant(model.entry(label), _stored(final, model, label, plan_digest), folder)
        for label in (model.chosen, *others)
    ]


def _control_entrants(final: Final, plan: AnalysisPlan, plan_digest: str) -> list[Entrant]:
    """The default configurations with other seeds that the ensemble's control averages."""
    if plan.ensemble is None or plan.ensemble.control is None:
        return []
    by_model, candidates = {one.model: one for one in plan.models}, control_candidates(plan.ensemble, final.wanted)
    return [
        Entrant(
            part.entry,
            _stored_as(final, by_model[part.model], candidate, part.retrained, plan_digest),
            final.comparison.folder / part.model,
        )
        for part, candidate in zip(plan.ensemble.control.parts, candidates, strict=True)
    ]


def _stored(final: Final, model: FinalModel, label: str, plan_digest: str) -> StoredModel:
    candidate = next(candidate for candidate in final.wanted[model.model] if candidate.label == label)
    result = replace(model.candidate(label), fit=model.fit_of(label))
    return _stored_as(final, model, candidate, result, plan_digest)


def _stored_as(
    final: Final, model: FinalModel, candidate: Candidate, result: CandidateResult, plan_digest: str
) -> StoredModel:
    fit, place = result.fit, member_folder(Path(), candidate).relative_to(model.model)
    assert fit is not None
    return StoredModel(
        study=final.comparison.name,
        model=model.model,
        params=candidate.params,
        members=tuple((str(place / f"member_{member.fold}.safetensors"), member.sha256) for member in result.members),
        temperature=fit.temperature,
        threshold=fit.threshold,
        precision=final.precision,
        weights=model.weights,
        plan_digest=plan_digest,
        preprocessing=final.preprocessing,
        source=source_of(model.model),
        side=final.prepared.lock.side,
    )
