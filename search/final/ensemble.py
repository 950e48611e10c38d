"""The ensemble: which retrained configurations of all models are averaged, and what their mean says."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from search.final.member_files import Floats
from search.final.race import Rows
from search.final.retraining import Retrained, fitted
from studies.final_models import Ensemble, FinalModel, Part
from studies.speeds import Speeds, together
from studies.statistics.ensembles import Within, selected, unbounded
from studies.statistics.nested import nested_ensemble

_FEWEST_FOLDS = 3  # one is left out, and of the others one to select a rule by
Taken = Callable[[Sequence[str]], float]
"""Milliseconds that a patch takes of these configurations together, by their names, as they would be deployed."""


def assemble(retrained: Sequence[Retrained], rows: Rows, within: Within = unbounded) -> Ensemble | None:
    """Selects it by out-of-fold scores; None where there is nothing to choose from, or too few folds to choose by.

    It and the single model that it is compared with are both within the limit, as one of them becomes final. So where
    a single configuration is within, it is an ensemble by itself.

    Args:
        retrained: all models, with the scores of their candidates.
        rows: the development rows.
        within: whether these configurations together are within what a prediction may take.
    """
    named = {f"{one.final.model} {label}": (one, label) for one in retrained for label in one.logits}
    logits = candidates_within(retrained, within)
    if len(named) < 2 or not logits or rows.folds < _FEWEST_FOLDS:
        return None
    rule, counts = selected(rows.labels, rows.fold, logits, np.ones(len(rows.labels), np.bool_), within)
    parts = tuple(_part(named[name][0].final, named[name][1], times) for name, times in counts.items())
    single = single_within(retrained, within)
    mean = out_of_fold_logit(parts, retrained)
    return Ensemble(
        parts=parts,
        rule=rule,
        fit=fitted(mean, rows.labels, rows.patients),
        single=single.model,
        gain=nested_ensemble(
            *(rows.labels, rows.patients, rows.fold, logits),
            single=named_logits(retrained)[_chosen_of(single)],
            within=within,
        ),
        alone_within=not within([_chosen_of(single)]),
    )


def single_within(retrained: Sequence[Retrained], within: Within = unbounded) -> FinalModel:
    """The better model out of fold, of those whose chosen configuration is within; of all where that of none is."""
    models = [one.final for one in retrained]
    open_to = [model for model in models if within([_chosen_of(model)])]
    return max(open_to or models, key=lambda model: model.candidate(model.chosen).out_of_fold_auc)


def _chosen_of(model: FinalModel) -> str:
    return f"{model.model} {model.chosen}"


def taken_by(speeds: Speeds, members: int) -> Taken:
    """What so many members of each configuration take; those that were not measured are no part of any ensemble."""

    def taken(names: Sequence[str]) -> float:
        known = [(name, speeds.of(*name.rsplit(" ", 1))) for name in names]
        if unknown := [name for name, one in known if one is None]:
            raise LookupError(f"not measured: {', '.join(unknown)}")
        return together([(one, members) for _, one in known if one is not None]).milliseconds

    return taken


def within_time(speeds: Speeds, members: int, most: float) -> Within:
    """Whether configurations by their names take no longer than ``most`` ms for a patch, so many members of each."""
    taken = taken_by(speeds, members)
    return lambda names: taken(names) <= most


def why_no_ensemble(retrained: Sequence[Retrained], rows: Rows, taken: Taken, most: float | None) -> str:
    """Why ``assemble`` finds none within ``most`` ms a patch; None for no limit."""
    if rows.folds < _FEWEST_FOLDS:
        return f"there are {rows.folds} folds, and one is chosen by {_FEWEST_FOLDS} or more"
    names = list(named_logits(retrained))
    if len(names) < 2:
        return "there is nothing to choose from"
    if most is not None:
        least, fastest = min((taken([name]), name) for name in names)
        if least > most:
            return f"nothing is within {most:g} ms a patch: the fastest, {fastest}, takes {least:.4g}"
    return "the plan was frozen without one, elsewhere or by an earlier version"


def above_limit(retrained: Sequence[Retrained], ensemble: Ensemble | None, taken: Taken, most: float) -> str:
    """That the final model takes longer than ``most`` ms a patch, and by how much; "" where it does not."""
    names = [_chosen_of(final_single(retrained, ensemble))]
    if ensemble is not None and ensemble.chosen:
        names = [f"{part.model} {part.label}" for part in ensemble.parts]
    takes = taken(names)
    if takes <= most:
        return ""
    return (
        f"the final model, {' with '.join(names)}, takes {takes:.4g} ms a patch here, {takes - most:.4g} more than the "
        f"{most:g} of --max-ms-per-patch"
    )


def final_single(retrained: Sequence[Retrained], ensemble: Ensemble | None) -> FinalModel:
    """The model that is final where the ensemble is not: the one that it is compared with, else the better one."""
    if ensemble is None:
        return single_within(retrained)
    return next(one.final for one in retrained if one.final.model == ensemble.single)


def candidates_within(retrained: Sequence[Retrained], within: Within) -> dict[str, Floats]:
    """(N,) logits out of fold, by name, of those that may be averaged."""
    return {name: each for name, each in named_logits(retrained).items() if within([name])}


def named_logits(retrained: Sequence[Retrained]) -> dict[str, Floats]:
    """(N,) logits out of fold of the candidates of all models, by model and label in words."""
    return {f"{one.final.model} {label}": each for one in retrained for label, each in one.logits.items()}


def model_of(name: str) -> str:
    """The model of such a name."""
    return name.rpartition(" ")[0]


def _part(model: FinalModel, label: str, times: int) -> Part:
    return Part(model.model, label, times, model.fit_of(label).temperature)


def mean_logit(parts: Sequence[Part], logits: Mapping[tuple[str, str], Floats]) -> Floats:
    """(N,) mean over the parts of their logits on one scale, each as often as it was taken.

    Args:
        parts: of an ensemble.
        logits: (model, label) -> (N,) mean logit over views and members.
    """
    on_one_scale = [logits[part.model, part.label] / part.temperature for part in parts]
    mean: Floats = np.average(on_one_scale, axis=0, weights=[part.times for part in parts])
    return mean


def out_of_fold_logit(parts: Sequence[Part], retrained: Sequence[Retrained]) -> Floats:
    """(N,) the same of the development rows, from the logits out of fold of all models."""
    return mean_logit(
        parts, {(one.final.model, label): each for one in retrained for label, each in one.logits.items()}
    )


def ensemble_logit(ensemble: Ensemble, models: Sequence[FinalModel], logits: Mapping[str, Floats]) -> Floats:
    """(N,) its score of test patches, from those of its parts by their entries."""
    by_model = {model.model: model for model in models}
    entries = {(part.model, part.label): by_model[part.model].entry(part.label) for part in ensemble.parts}
    return mean_logit(ensemble.parts, {part: logits[entry] for part, entry in entries.items()})
