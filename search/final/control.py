"""The ensemble's control: default configurations with other seeds, averaged in the same way.

Where the ensemble is better than these, its gain is owed to the search, and not to averaging alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from search.errors import UsageError
from search.final.candidates import DEFAULT, Candidate
from search.final.ensemble import candidates_within, mean_logit, model_of, named_logits
from search.final.member_files import Floats, member_folder, out_of_fold
from search.final.race import Rows
from search.final.retraining import Retrained, fitted, retrained_result
from studies.final_models import Control, ControlPart, Ensemble, Part
from studies.statistics.ensembles import Counts, Within, unbounded
from studies.statistics.nested import chosen_by_others, in_words, nested_over_control


def control_candidates(ensemble: Ensemble, wanted: Mapping[str, Sequence[Candidate]]) -> list[Candidate]:
    """For each configuration that the ensemble averages the default one of its model, with other seeds.

    Args:
        ensemble: whose control it is.
        wanted: the candidates of each model.

    Raises:
        UsageError: the default configuration of a model was not trained.
    """
    return _defaults([part.model for part in ensemble.parts], wanted, first=1)


def further_candidates(
    ensemble: Ensemble, chosen: Sequence[Counts], wanted: Mapping[str, Sequence[Candidate]]
) -> list[Candidate]:
    """Those that single folds need besides: their ensembles may average more networks, or other models.

    Args:
        ensemble: whose control it is.
        chosen: for each fold what its ensemble averages.
        wanted: the candidates of each model.

    Raises:
        UsageError: the default configuration of a model was not trained.
    """
    needed: Counter[str] = Counter()
    for counts in chosen:
        needed |= Counter(map(model_of, counts))  # the most of each model that a fold averages
    lacking = needed - Counter(part.model for part in ensemble.parts)
    return _defaults(sorted(lacking.elements()), wanted, first=len(ensemble.parts) + 1)


def _defaults(models: Iterable[str], wanted: Mapping[str, Sequence[Candidate]], first: int) -> list[Candidate]:
    return [_default(model, number, wanted[model]) for number, model in enumerate(models, start=first)]


def _default(model: str, number: int, wanted: Sequence[Candidate]) -> Candidate:
    default = next((one for one in wanted if one.label == DEFAULT), None)
    if default is None:
        raise UsageError(
            f"--control: the default configuration of {model} has no trial with a value, so the ensemble has no "
            "control: leave --control out"
        )
    label = f"control-{number}"  # its members' seeds come from the key
    return replace(default, label=label, key=sha256(f"{default.key} {label}".encode()).hexdigest()[:12])


def control_parts(
    ensemble: Ensemble, candidates: Sequence[Candidate], folder: Path, rows: Rows
) -> tuple[ControlPart, ...]:
    """What was trained in the place of the ensemble's parts, every member of which is stored.

    Args:
        ensemble: whose control it is.
        candidates: of the control, first those in the place of the ensemble's parts, in their order.
        folder: of the comparison.
        rows: the development rows.
    """
    return tuple(
        ControlPart(part.model, part.times, retrained_result(candidate, folder, rows))
        for part, candidate in zip(ensemble.parts, candidates[: len(ensemble.parts)], strict=True)
    )


def chosen_in_folds(retrained: Sequence[Retrained], rows: Rows, within: Within = unbounded) -> list[Counts]:
    """For each fold what the ensemble averages that the other folds select, ``within`` what it may take."""
    return chosen_by_others(rows.labels, rows.fold, candidates_within(retrained, within), within)


def conclude_control(
    ensemble: Ensemble,
    candidates: Sequence[Candidate],
    chosen: Sequence[Counts],
    folder: Path,
    *,
    rows: Rows,
    retrained: Sequence[Retrained],
) -> Control:
    """What its members say, every one of which is stored.

    Args:
        ensemble: whose control it is.
        candidates: of the control, first those in the place of the ensemble's parts, in their order.
        chosen: for each fold what its ensemble averages.
        folder: of the comparison.
        rows: the development rows.
        retrained: all models, among whose candidates the ensembles were selected.
    """
    parts = control_parts(ensemble, candidates, folder, rows)
    logits = {one.label: out_of_fold(member_folder(folder, one), rows.fold, rows.folds) for one in candidates}
    mean = control_logit(parts, {part.retrained.label: logits[part.retrained.label] for part in parts})
    pairs = [(counts, _instead(counts, candidates)) for counts in chosen]
    further = candidates[len(parts) :]
    return Control(
        parts,
        fitted(mean, rows.labels, rows.patients),
        nested_over_control(rows.labels, rows.patients, rows.fold, named_logits(retrained), logits, pairs),
        averaged=tuple(_named(instead, candidates) for _, instead in pairs),
        others=tuple(ControlPart(one.model, 0, retrained_result(one, folder, rows)) for one in further),
    )


def _instead(counts: Counts, candidates: Sequence[Candidate]) -> Counts:
    """Default configurations in the place of others: for each another one of its model, as often."""
    labels: Mapping[str, list[str]] = defaultdict(list)
    for one in candidates:
        labels[one.model].append(one.label)
    return {labels[model_of(name)].pop(0): times for name, times in counts.items()}


def _named(counts: Counts, candidates: Sequence[Candidate]) -> str:
    """In words, with the model of each."""
    models = {one.label: one.model for one in candidates}
    return in_words({f"{models[label]} {label}": times for label, times in counts.items()})


def control_logit(parts: Sequence[ControlPart], logits: Mapping[str, Floats]) -> Floats:
    """(N,) mean over the parts of their logits on one scale, (N,) each by label."""
    averaged = [Part(part.model, part.retrained.label, part.times, part.temperature) for part in parts]
    return mean_logit(averaged, {(part.model, part.retrained.label): logits[part.retrained.label] for part in parts})


def frozen_control(ensemble: Ensemble, parts: Sequence[ControlPart]) -> bool:
    """Whether the plan before has a control of the same members: what was frozen by it does not change."""
    known = () if ensemble.control is None else ensemble.control.parts
    return [_made_of(part) for part in known] == [_made_of(part) for part in parts]


def _made_of(part: ControlPart) -> object:
    return part.model, part.times, [member.sha256 for member in part.retrained.members]
