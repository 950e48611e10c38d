"""Which configurations of a study are retrained, and in which order their members are handed out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from models._spec import ParamValue
from studies.findings.costs import seconds_per_epoch
from studies.measure import BEFORE, Measure, measure_of
from studies.records import AnalysisPlan, StudySummary, TrialResult
from studies.storage.results import ranking

FINALISTS = 4
"""Best configurations of each model that are retrained, where nobody says how many: the best by one validation split
is often not the best of the first few."""
DEFAULT = "default"


@dataclass(frozen=True)
class Candidate:
    """A configuration that is to be retrained.

    Attributes:
        label: "best", "finalist-2" ... or "default".
        trial: number in the study.
        search_value: objective in the search.
        epochs: length of the learning-rate schedule.
        last_epoch: the epoch that the trial's value is of, where its members end.
        key: a short name of its own, from all that shapes its members; also the name of their folder.
        seconds: that a member is expected to take, at the pace of the trial; None where that is not known.
        measure: what of a network the search has scored.
    """

    model: str
    label: str
    trial: int
    params: dict[str, ParamValue]
    search_value: float
    epochs: int
    last_epoch: int
    key: str
    seconds: float | None = None
    measure: Measure = BEFORE


def candidates(study: StudySummary, finalists: int) -> list[Candidate]:
    """The best configurations of a study and its default one, without doubles; best first.

    The default configuration is retrained even where its trial was pruned, then to the end of its schedule.
    """
    best = ranking(study.trials)[:finalists]
    default = next((trial for trial in study.trials if trial.number == study.default), None)
    chosen = [_candidate(study, trial, _label(trial, place, study)) for place, trial in enumerate(best)]
    trained = default is not None and default.state in ("COMPLETE", "PRUNED") and not default.by_hand
    if default is not None and trained and default.value is not None and default not in best:
        chosen.append(_candidate(study, default, DEFAULT))
    return chosen


def _label(trial: TrialResult, place: int, study: StudySummary) -> str:
    if trial.number == study.default:
        return DEFAULT
    return "best" if place == 0 else f"finalist-{place + 1}"


def _candidate(study: StudySummary, trial: TrialResult, label: str) -> Candidate:
    epochs = int(study.definition["epochs"])
    last = int(trial.attributes["best_epoch"]) if trial.state == "COMPLETE" else epochs
    identity = (sorted(study.definition.items(), key=str), sorted(trial.params.items()), last)
    return Candidate(
        model=study.model,
        label=label,
        trial=trial.number,
        params=trial.params,
        search_value=float(trial.value or 0.0),
        epochs=epochs,
        last_epoch=last,
        key=sha256(repr(identity).encode()).hexdigest()[:12],
        measure=measure_of(study.definition),
        seconds=None if (pace := seconds_per_epoch(trial)) is None else pace * last,
    )


def planned_finalists(plan: AnalysisPlan, studies: Sequence[StudySummary]) -> int | None:
    """The fewest with which the configurations of a plan are retrained; None where no number gives just these."""
    most = max((len(model.candidates) for model in plan.models), default=0)
    return next((number for number in range(1, 1 + most) if are_planned(plan, studies, number)), None)


def are_planned(plan: AnalysisPlan, studies: Sequence[StudySummary], finalists: int) -> bool:
    """Whether so many finalists are the configurations of a plan."""
    planned = {model.model: [one.trial for one in model.candidates] for model in plan.models}
    return planned == {study.model: [one.trial for one in candidates(study, finalists)] for study in studies}


def in_turn(wanted: Sequence[Candidate], folds: int, *, racing: bool) -> list[tuple[Candidate, int]]:
    """(candidate, fold) of each member in the order in which they are handed out.

    The longest come first, so that no long one is left to a single worker at the end; one whose time is not known may
    be the longest. The folds of one candidate are alike, and learn on as many patches. In a race all begin with the
    first fold, and members of the default configuration come first in each: these are needed whoever is dropped, so
    workers that would wait for the others' scores have work that is not in vain.
    """
    longest = sorted(wanted, key=lambda one: -math.inf if one.seconds is None else -one.seconds)
    members = [(candidate, fold) for candidate in longest for fold in range(folds)]
    return sorted(members, key=lambda member: (member[1], member[0].label != DEFAULT)) if racing else members
