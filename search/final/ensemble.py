"""The ensemble: which retrained configurations of all models are averaged, and what their mean says."""

from collections.abc import Mapping, Sequence

import numpy as np

from search.final.member_files import Floats
from search.final.race import Rows
from search.final.retraining import Retrained, fitted
from studies.final_models import Ensemble, FinalModel, Part
from studies.speeds import Speeds, together
from studies.statistics.ensembles import Within, selected, unbounded
from studies.statistics.nested import nested_ensemble

_FEWEST_FOLDS = 3  # one is left out, and of the others one to select a rule by


def assemble(retrained: Sequence[Retrained], rows: Rows, within: Within = unbounded) -> Ensemble | None:
    """Selects it by out-of-fold scores; None where there is nothing to choose from, or too few folds to choose by.

    Args:
        retrained: all models, with the scores of their candidates.
        rows: the development rows.
        within: whether these configurations together are within what a prediction may take.
    """
    named = {f"{one.final.model} {label}": (one, label) for one in retrained for label in one.logits}
    logits = candidates_within(retrained, within)
    if len(logits) < 2 or rows.folds < _FEWEST_FOLDS:
        return None
    rule, counts = selected(rows.labels, rows.fold, logits, np.ones(len(rows.labels), np.bool_), within)
    parts = tuple(_part(named[name][0].final, named[name][1], times) for name, times in counts.items())
    single = max((one.final for one in retrained), key=lambda model: model.candidate(model.chosen).out_of_fold_auc)
    mean = out_of_fold_logit(parts, retrained)
    return Ensemble(
        parts=parts,
        rule=rule,
        fit=fitted(mean, rows.labels, rows.patients),
        single=single.model,
        gain=nested_ensemble(
            *(rows.labels, rows.patients, rows.fold, logits),
            single=named_logits(retrained)[f"{single.model} {single.chosen}"],
            within=within,
        ),
    )


def within_time(speeds: Speeds, members: int, most: float) -> Within:
    """Whether configurations by their names take no longer than ``most`` ms for a patch, so many members of each."""

    def within(names: Sequence[str]) -> bool:
        known = [speeds.of(*name.rsplit(" ", 1)) for name in names]
        return together([(one, members) for one in known if one is not None]).milliseconds <= most

    return within


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
