"""What a search takes from an older one: its best configurations, tried first, and its trials, for its sampler."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState, create_trial

from models._spec import Model
from search.comparison import Comparison, space_of
from search.errors import UsageError
from search.trials.enqueue import as_drawn, enqueue
from search.trials.space import none_parameters
from studies.measure import measure_of
from studies.records import TrialResult
from studies.storage.definition import definition_of
from studies.storage.results import CUT_SHORT, ORIGIN, TAKEN_OVER, summarise
from studies.storage.studies import holds

TRIED_FIRST = 5
"""So many of the best configurations of an older study are tried first."""
_SMOOTHED = 3
"""A configuration is ranked by the mean of so many last epochs: the largest of all is mostly luck."""
_FROM = "from"
"""User attribute of a trial that was taken over: its study and its number there."""
_OF_A_LIMIT = " of --max-"
"""In the reason of a trial that its user wanted smaller or faster: another search may allow it."""
Constraints = Mapping[str, float]


def older_study(comparison: Comparison, name: str, model: str) -> optuna.Study:
    """The study of this model in the comparison that a search starts from.

    Raises:
        UsageError: there is none.
    """
    older = comparison.beside(name)
    if model not in older.models():
        raise UsageError(f"--warm-start {name}: the database holds no study {older.study_name(model)}")
    return older.load_study(model)


def start_from(study: optuna.Study, model: Model, older: optuna.Study, *, same_patches: bool) -> str:
    """Enqueues what was best in an older study, and takes its trials over; call it under the study's lease.

    Trials are taken over once. Only the sampler sees them: they are not counted, never the best, and not retrained.
    What ran out of memory is never tried first, and the sampler learns that it did.

    Args:
        study: that is searched.
        model: whose study.
        older: the older one.
        same_patches: whether both are scored by the same validation patches, so that values can be compared.

    Returns:
        What was taken, in words.
    """
    space = {name: json_to_distribution(text) for name, text in space_of(model).items()}
    trials = summarise(older, importance=False).trials
    unfit = _infeasible(older)  # after them: what ran out of memory meanwhile is among these
    told_by = [trial for trial in trials if _tells(trial, unfit)]
    ended = [trial for trial in map(partial(_as_here, model, space), told_by) if _fits(trial, space)]
    first = _foremost([trial for trial in ended if trial.number not in unfit], model, space)
    for params in first.values():
        enqueue(study, params, space, "warm start")
    told = f"warm start from {older.study_name}: {_first(first)}{_left_out(len(told_by) - len(ended))}"
    if same_patches and _same_objective(study, older):
        count = _take_over(study, ended, unfit, older.study_name, space)
        return f"{told}; the sampler learns of {_trials(count)}"
    untrained = [replace(trial, state="PRUNED", curve=()) for trial in ended if trial.number in unfit]
    count = _take_over(study, untrained, unfit, older.study_name, space)
    but = f", only that {_trials(count)} could not be trained" if count else ""
    unlike = "its values are not comparable with those of this search, so the sampler learns nothing of them"
    return f"{told}; {unlike}{but}"


def _trials(count: int) -> str:
    return f"{count} trial" if count == 1 else f"{count} trials"


def _infeasible(older: optuna.Study) -> dict[int, Constraints]:
    """Trial -> its constraints, of those of which one says that their like cannot be trained."""
    trials = older.get_trials(deepcopy=False)
    return {trial.number: trial.constraints for trial in trials if any(one > 0 for one in trial.constraints.values())}


def _tells(trial: TrialResult, unfit: Collection[int]) -> bool:
    """Whether a trial was trained in its study and has a value, or did not fit into memory."""
    if trial.state not in ("COMPLETE", "PRUNED") or trial.by_hand:
        return False
    if trial.number in unfit:
        return _OF_A_LIMIT not in str(trial.attributes.get(CUT_SHORT, ""))
    return bool(trial.curve)


def _first(first: Mapping[int, object]) -> str:
    if not first:
        return "no configuration beside the default has a value there that lies in this space"
    return f"first the configurations of its trials {', '.join(map(str, first))}"


def _left_out(count: int) -> str:
    return f"; left out, as outside of this space: {_trials(count)}" if count else ""


def _as_here(model: Model, space: Mapping[str, BaseDistribution], trial: TrialResult) -> TrialResult:
    """A trial as this space has it: none, which is stored below 0, where it does not reach as far; and what is new."""
    none = {
        name: 0.0
        for name in none_parameters(model)
        if isinstance(value := trial.params.get(name), float) and value < 0 and not holds(space[name], value)
    }
    return replace(trial, params={**model.completed(trial.params), **none})


def _fits(trial: TrialResult, space: Mapping[str, BaseDistribution]) -> bool:
    """Whether nothing that both spaces have lies outside of this one."""
    return all(holds(space[name], value) for name, value in trial.params.items() if name in space)


def _foremost(
    ended: list[TrialResult], model: Model, space: Mapping[str, BaseDistribution]
) -> dict[int, dict[str, Any]]:
    """Trial -> what of its configuration lies in the space, of the foremost that differ from one another."""
    found: dict[int, dict[str, Any]] = {}
    for trial in sorted(ended, key=_worth, reverse=True):
        params = _inside(trial, space)
        if params and params not in (dict(model.default), *found.values()) and len(found) < TRIED_FIRST:
            found[trial.number] = params
    return found


def _worth(trial: TrialResult) -> tuple[bool, int, float]:
    """Complete ones come first, then those that went furthest."""
    return trial.state == "COMPLETE", len(trial.curve), fmean(value for _, value in trial.curve[-_SMOOTHED:])


def _inside(trial: TrialResult, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    params = {name: value for name, value in trial.params.items() if name in space and holds(space[name], value)}
    return {name: as_drawn(space[name], value) for name, value in params.items()}


def _same_objective(study: optuna.Study, older: optuna.Study) -> bool:
    ours, theirs = (definition_of(one.user_attrs) or {} for one in (study, older))
    alike = all(ours.get(one) == theirs.get(one) for one in ("objective", "epochs"))
    return alike and measure_of(ours) == measure_of(theirs)


def _take_over(
    study: optuna.Study,
    ended: list[TrialResult],
    unfit: Mapping[int, Constraints],
    older: str,
    space: Mapping[str, BaseDistribution],
) -> int:
    """How many trials the sampler can learn of: those with a value in the space for every parameter."""
    known = {trial.user_attrs.get(_FROM) for trial in study.get_trials(deepcopy=False)}
    taken = [trial for trial in ended if _inside(trial, space).keys() == space.keys()]
    for trial in taken:
        source = f"{older} {trial.number}"
        if source not in known:
            study.add_trial(_copied(trial, unfit.get(trial.number), source, space))
    return len(taken)


def _copied(
    trial: TrialResult, constraints: Constraints | None, source: str, space: Mapping[str, BaseDistribution]
) -> optuna.trial.FrozenTrial:
    """Without its rungs, and without the epochs of a complete one: pruners compare what is trained here."""
    pruned = trial.state == "PRUNED"
    last = trial.curve[-1][1] if trial.curve else None  # none of what did not fit from the first epoch on
    return create_trial(
        state=TrialState[trial.state],
        params=_inside(trial, space),
        distributions=dict(space),
        value=last if pruned else trial.value,
        intermediate_values=dict(trial.curve) if pruned else {},
        user_attrs={ORIGIN: TAKEN_OVER, _FROM: source, **_why_cut_short(trial)},
        constraints=None if constraints is None else dict(constraints),
    )


def _why_cut_short(trial: TrialResult) -> dict[str, Any]:
    return {CUT_SHORT: trial.attributes[CUT_SHORT]} if CUT_SHORT in trial.attributes else {}
