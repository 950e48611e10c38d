"""Each search in numbers: trials by state, what was gained over the default, what it cost, why trials failed."""

from collections import Counter
from dataclasses import dataclass

from studies.findings.ablation import Path, path_of
from studies.findings.costs import Cost, cost_of
from studies.findings.lessons import Edge, Rung, edges_of, lessons, rung_of
from studies.records import StudySummary
from studies.storage.results import CUT_SHORT


@dataclass(frozen=True)
class SearchFindings:
    """One search in numbers.

    Attributes:
        states: state -> trials.
        best_value, default_value: objective on the validation split.
        gain: best minus default; None where one of them is missing.
        cost: seconds of workers, over all trials.
        failures: reason -> trials.
        cut_short: likewise, of trials that did not fail and could not go on, or were left out.
        rung: how well the first one told the end; None where that cannot be told.
        edges: ends of ranges at which the best configurations lie.
        path: from the default configuration to the best; None where there is none.
        lessons: what to do otherwise in the next search, in sentences.
        lesson_codes: of the kind of each of them.
    """

    model: str
    states: dict[str, int]
    best: int | None
    best_value: float | None
    default: int | None
    default_value: float | None
    gain: float | None
    cost: Cost
    epochs: int
    failures: dict[str, int]
    cut_short: dict[str, int]
    importance: dict[str, float] | None
    rung: Rung | None = None
    edges: tuple[Edge, ...] = ()
    path: Path | None = None
    lessons: tuple[str, ...] = ()
    lesson_codes: tuple[str, ...] = ()


def find_search(study: StudySummary) -> SearchFindings:
    """The numbers of one study."""
    states: dict[str, int] = {}
    for trial in study.trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    rung, edges, path = rung_of(study), edges_of(study), path_of(study)
    values = {trial.number: trial.value for trial in study.trials}
    best = None if study.best is None else values[study.best]
    default = None if study.default is None else values.get(study.default)
    return SearchFindings(
        model=study.model,
        states=states,
        best=study.best,
        best_value=best,
        default=study.default,
        default_value=default,
        gain=None if best is None or default is None else best - default,
        cost=cost_of(study),
        epochs=sum(len(trial.curve) for trial in study.trials),
        failures=Counter(trial.attributes.get("failure", "unknown") for trial in study.trials if trial.state == "FAIL"),
        cut_short=Counter(trial.attributes[CUT_SHORT] for trial in study.trials if CUT_SHORT in trial.attributes),
        importance=study.importance,
        rung=rung,
        edges=edges,
        path=path,
        lessons=lessons(rung, edges, path),
        lesson_codes=tuple(one.code for one in (rung, *edges, path) if one is not None),
    )
