"""Optuna's trials as records: summaries of studies, and the ranking of their trials."""

import hashlib
import json
import shlex
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.errors import NoCompleteTrialError
from studies.records import BEST_EPOCH, TRAINED_AS, ParamValue, StudySummary, TrialResult
from studies.storage.definition import definition_of
from studies.storage.studies import quiet_optuna

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
ORIGIN = "origin"
"""User attribute of a trial that was not sampled: "default", "file", "warm start" or ``TAKEN_OVER``."""
IGNORED = "ignored"
"""User attribute of a trial: names of parameters that were drawn and make no difference to its configuration."""
CUT_SHORT = "cut_short"
"""User attribute of a PRUNED trial that no pruner ended: why it could not go on, or was not begun with."""
TAKEN_OVER = "taken over"
"""Trained in an older study: the sampler learns of it, and it counts for nothing else."""
ZERO_IS_NONE = "none"
"""In the space of a summary, of a float whose 0 is none at all and is drawn as often as a choice would be."""
Space: TypeAlias = Mapping[str, Mapping[str, Any]]
_DIGITS = 12  # of a value; what lies behind them is no difference
_FEWEST_FOR_IMPORTANCE = 5


def counted(trial: TrialResult, space: Space) -> dict[str, ParamValue]:
    """The parameters that made a difference, as they count: not the rate of an optimizer that was not drawn."""
    ignored = trial.attributes.get(IGNORED, ())
    return {name: value for name, value in as_used(trial.params, space).items() if name not in ignored}


def as_used(params: Mapping[str, ParamValue], space: Space) -> dict[str, ParamValue]:
    """Parameters with 0 for what is stored below it and is none."""
    return {
        name: max(0.0, value) if space.get(name, {}).get(ZERO_IS_NONE) and isinstance(value, float) else value
        for name, value in params.items()
    }


def own_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those of the study itself, without those that were taken over from an older one."""
    return [trial for trial in trials if trial.user_attrs.get(ORIGIN) != TAKEN_OVER]


def trained_as(study: str, number: int) -> str:
    """What a launch writes of a trial that it has trained."""
    return f"{study} {number}"


def trained_here(study: str, trial: FrozenTrial) -> bool:
    """Whether a launch has trained it, as this very trial of this study.

    Who adds trials of another study (``study.add_trials``) brings their attributes along. Trials of earlier versions do
    not say what they were trained as.
    """
    told = trial.user_attrs.get(TRAINED_AS, trained_as(study, trial.number))
    return BEST_EPOCH in trial.user_attrs and told == trained_as(study, trial.number)


def trial_result(study: str, trial: FrozenTrial) -> TrialResult:
    """One trial of Optuna as a record of ours; without a best epoch where that is of the trial it is a copy of."""
    not_its_own = () if trained_here(study, trial) else (BEST_EPOCH,)
    return TrialResult(
        number=trial.number,
        state=trial.state.name,
        value=trial.value if trial.state.name == "COMPLETE" else _best_of(trial.intermediate_values),
        params=dict(trial.params),
        curve=tuple(sorted(trial.intermediate_values.items())),
        started=_utc(trial.datetime_start),
        finished=_utc(trial.datetime_complete),
        attributes={key: value for key, value in trial.user_attrs.items() if key not in not_its_own},
    )


def ranking(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """COMPLETE trials, best first; of equal values the one that took fewer epochs, then the older one.

    Without those that were added or told by hand.
    """
    complete = [
        trial for trial in trials if trial.state == "COMPLETE" and trial.value is not None and not trial.by_hand
    ]
    return sorted(complete, key=lambda trial: _rank(trial.value, trial.attributes, trial.number))


def leader(study: str, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The first of the ranking, without making records of all the others; None where no trial is COMPLETE."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trained_here(study, trial)]
    return min(complete, key=lambda trial: _rank(trial.value, trial.user_attrs, trial.number), default=None)


def best_trial(study: StudySummary) -> TrialResult:
    """The first of the ranking.

    Raises:
        NoCompleteTrialError: no trial is COMPLETE.
    """
    ranked = ranking(study.trials)
    if not ranked:
        raise NoCompleteTrialError(f"{why_no_best(study)}. {way_out(study)}")
    return ranked[0]


def why_no_best(study: StudySummary) -> str:
    """What became of the trials of a study of which none is COMPLETE."""
    told = f"no trial of study {study.name} is COMPLETE ({count_states(study.trials)})"
    reasons = [*failures(study.trials), *cut_short(study.trials)]
    return ": ".join([told, *filter(None, ["; ".join(reasons)])])


def way_out(study: StudySummary) -> str:
    """How a study without a best trial comes to one: the command of its last launch, as long as that has trials left.

    One that holds all that it was to hold needs more of them: a launch of as many finds nothing to do.
    """
    command = study.settings.get("command") or f"python -m search.launch --model {study.model}"
    finished, wanted = sum(trial.state in FINISHED for trial in study.trials), int(study.settings.get("trials", 0))
    if finished < wanted or not finished:
        return f"Search on with: {command}"
    words = shlex.split(command)
    if "--trials" in words:
        place = words.index("--trials")
        del words[place : place + 2]
    more = max(wanted, finished)
    return f"Mend this, then try {more} more: {shlex.join([*words, '--trials', str(finished + more)])}"


def failures(trials: Sequence[TrialResult]) -> list[str]:
    """Why trials failed, the most frequent reason first, such as "3 x its worker died 3 times (trials 0-1, 4)"."""
    return _reasons(
        (trial.number, trial.attributes.get("failure", "unknown")) for trial in trials if trial.state == "FAIL"
    )


def cut_short(trials: Sequence[TrialResult]) -> list[str]:
    """Why trials that did not fail could not go on, or were not begun with, likewise."""
    return _reasons((trial.number, trial.attributes[CUT_SHORT]) for trial in trials if CUT_SHORT in trial.attributes)


def _reasons(told: Iterable[tuple[int, object]]) -> list[str]:
    numbers: dict[str, list[int]] = {}
    for number, reason in told:
        numbers.setdefault(str(reason), []).append(number)
    ordered = sorted(numbers.items(), key=lambda pair: -len(pair[1]))
    return [f"{len(which)} x {reason} ({_listed(sorted(which))})" for reason, which in ordered]


def _listed(numbers: Sequence[int]) -> str:
    """Numbers of trials in words, runs of them together: "trial 3", "trials 0-2, 5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"trial{'s' if len(numbers) > 1 else ''} {shown}"


def count_states(trials: Sequence[TrialResult]) -> str:
    """Trials by state in words, such as "12 COMPLETE, 7 PRUNED"."""
    states = [trial.state for trial in trials]
    counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "no trials"
    return "; ".join(filter(None, [counted, by_hand(trials)]))


def by_hand(trials: Sequence[TrialResult]) -> str:
    """In words, how many trials no launch has trained; empty where there are none."""
    count = sum(trial.by_hand for trial in trials)
    return f"{count} added or told by hand, which count but are never the best nor retrained" if count else ""


def taken_over(study: StudySummary) -> str:
    """In words, how many trials of an older study the sampler learned of; empty where there are none."""
    return (
        f"{study.taken_over} taken over by --warm-start, of which only the sampler learns" if study.taken_over else ""
    )


def trials_digest(study: StudySummary) -> str:
    """Sha256 over the finished trials: number, state, configuration, and the objective after each epoch."""
    rows = [
        [trial.number, trial.state, trial.value, sorted(trial.params.items()), trial.curve]
        for trial in study.trials
        if trial.state in FINISHED
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def summarise(study: optuna.Study, *, importance: bool = True, only: Collection[int] | None = None) -> StudySummary:
    """All that a report shows of one study.

    Args:
        study: of one model.
        importance: whether that of the parameters is wanted, which takes a moment.
        only: numbers of the trials that count, as if there were no others; None for all.
    """
    stored = study.get_trials(deepcopy=False)
    frozen = [trial for trial in own_trials(stored) if only is None or trial.number in only]
    trials = tuple(trial_result(study.study_name, trial) for trial in frozen)
    ranked = ranking(trials)
    default = [trial.number for trial in trials if trial.attributes.get(ORIGIN) == "default"]
    definition = definition_of(study.user_attrs) or {}
    return StudySummary(
        name=study.study_name,
        model=definition.get("model", ""),
        definition=definition,
        space=_space(frozen),
        trials=trials,
        best=ranked[0].number if ranked else None,
        default=default[0] if default else None,
        importance=_importance(frozen, study.direction, len(ranked)) if importance else None,
        settings=study.user_attrs.get("settings", {}),
        taken_over=len(stored) - len(own_trials(stored)),
    )


def _rank(value: float | None, attributes: Mapping[str, Any], number: int) -> tuple[float, int, int]:
    lost = float("inf") if value is None else round(-value, _DIGITS)
    return (lost, int(attributes.get(BEST_EPOCH, 0)), number)


def _best_of(values: dict[int, float]) -> float | None:
    return max(values.values(), default=None)


def _utc(moment: datetime | None) -> datetime | None:
    # Optuna stores naive local time (FACTS.md); the launchers of this project run it under TZ=UTC or convert here.
    return moment.astimezone(UTC) if moment is not None else None


def _space(trials: Sequence[FrozenTrial]) -> dict[str, dict[str, Any]]:
    distributions: dict[str, BaseDistribution] = {}
    for trial in trials:
        distributions.update(trial.distributions)
    return {name: _describe(distribution) for name, distribution in sorted(distributions.items())}


def _describe(distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "choices", "choices": list(distribution.choices)}
    fields = json.loads(distribution_to_json(distribution))
    kind = "integer" if fields["name"].startswith("Int") else "float"
    low, high, log = (fields["attributes"][key] for key in ("low", "high", "log"))
    if kind == "float" and low < 0 and low == -high / 4:  # as models._spec.suggest_or_none draws it
        return {"kind": kind, "low": 0.0, "high": high, "log": log, ZERO_IS_NONE: True}
    return {"kind": kind, "low": low, "high": high, "log": log}


def _importance(
    trials: Sequence[FrozenTrial], direction: optuna.study.StudyDirection, complete: int
) -> dict[str, float] | None:
    """Importance by PED-ANOVA (Watanabe, Bansal, Hutter 2023, arXiv:2304.10255); None with too few trials for it.

    A parameter that some trials ignored is judged by those in which it counted.
    """
    if complete < _FEWEST_FOR_IMPORTANCE:
        return None
    with quiet_optuna():
        study = optuna.create_study(direction=direction)
        study.add_trials([_as_counted(trial) for trial in trials if trial.state == TrialState.COMPLETE])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what the report says in words: too few trials
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (ValueError, RuntimeError):
            return None  # all values equal, or one distinct configuration


def _as_counted(trial: FrozenTrial) -> FrozenTrial:
    """Without the parameters that made no difference to it, as if its space were conditional."""
    names = trial.params.keys() - set(trial.user_attrs.get(IGNORED, ()))
    return create_trial(
        value=trial.value,
        params={name: value for name, value in trial.params.items() if name in names},
        distributions={name: value for name, value in trial.distributions.items() if name in names},
    )
