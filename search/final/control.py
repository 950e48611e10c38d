"""The ensemble's control: default configurations with other seeds, averaged in the same way.

Where the ensemble is better than these, its gain is owed to the search, and not to averaging alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from search.errors import UsageError
from search.final.candidates import DEFAULT, Candidate
from search.final.ensemble import mean_logit, named_logits
from search.final.member_files import Floats, member_folder, out_of_fold
from search.final.race import Rows
from search.final.retraining import Retrained, fitted, retrained_result
from studies.final_models import Control, ControlPart, Ensemble, Part
from studies.statistics.nested import nested_over_control


def control_candidates(ensemble: Ensemble, wanted: Mapping[str, Sequence[Candidate]]) -> list[Candidate]:
    """For each configuration that the ensemble averages the default one of its model, with other seeds.

    Args:
        ensemble: whose control it is.
        wanted: the candidates of each model.

    Raises:
        UsageError: the default configuration of a model was not trained.
    """
    return [_candidate(part, number, wanted[part.model]) for number, part in enumerate(ensemble.parts, start=1)]


def _candidate(part: Part, number: int, wanted: Sequence[Candidate]) -> Candidate:
    default = next((one for one in wanted if one.label == DEFAULT), None)
    if default is None:
        raise UsageError(
            f"--control: the default configuration of {part.model} has no trial with a value, so the ensemble has no "
            "control: leave --control out"
        )
    label = f"control-{number}"  # its members' seeds come from the key
    return replace(default, label=label, key=sha256(f"{default.key} {label}".encode()).hexdigest()[:12])


def conclude_control(
    ensemble: Ensemble, candidates: Sequence[Candidate], folder: Path, *, rows: Rows, retrained: Sequence[Retrained]
) -> Control:
    """What its members say, every one of which is stored.

    Args:
        ensemble: whose control it is.
        candidates: of the control, in the order of the ensemble's parts.
        folder: of the comparison.
        rows: the development rows.
        retrained: all models, among whose candidates the ensemble was selected.
    """
    parts = tuple(
        ControlPart(part.model, part.times, retrained_result(candidate, folder, rows))
        for part, candidate in zip(ensemble.parts, candidates, strict=True)
    )
    logits = {one.label: out_of_fold(member_folder(folder, one), rows.fold, rows.folds) for one in candidates}
    mean = control_logit(parts, {part.retrained.label: logits[part.retrained.label] for part in parts})
    gain = nested_over_control(
        *(rows.labels, rows.patients, rows.fold, named_logits(retrained), logits),
        {part.retrained.label: part.times for part in parts},
    )
    return Control(parts, fitted(mean, rows.labels, rows.patients), gain)


def control_logit(parts: Sequence[ControlPart], logits: Mapping[str, Floats]) -> Floats:
    """(N,) mean over the parts of their logits on one scale, (N,) each by label."""
    averaged = [Part(part.model, part.retrained.label, part.times, part.temperature) for part in parts]
    return mean_logit(averaged, {(part.model, part.retrained.label): logits[part.retrained.label] for part in parts})


def frozen_control(ensemble: Ensemble, control: Control) -> bool:
    """Whether the plan before has a control of the same members: what was frozen by it does not change."""
    known = () if ensemble.control is None else ensemble.control.parts
    return [_made_of(part) for part in known] == [_made_of(part) for part in control.parts]


def _made_of(part: ControlPart) -> object:
    return part.model, part.times, [member.sha256 for member in part.retrained.members]
