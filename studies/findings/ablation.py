"""What made the best trial better than the default: one parameter after the other, where the trials tell it.

Ablation with a surrogate (Biedenkapp, Lindauer, Eggensperger, Hutter, Fawcett & Hoos, "Efficient parameter importance
analysis via ablation with surrogates", AAAI 2017): of the parameters that differ, the one goes first that a forest
fitted to the trials values the most, then the next. Nothing is trained for it, so it is worth what the forest is: how
well that foretells trials which its trees have not seen, among those that are no further below the default than the
best is above it. Below a half no path is told. That some configurations ruin a training is foretold easily, and says
nothing of what makes a good one better.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies.records import ParamValue, StudySummary, TrialResult
from studies.storage.foreseen import foreseen
from studies.storage.results import as_used, counted, ranking

FEWEST = 20
"""Trials with a value below which a forest is not asked."""
FORETOLD = 0.5
"""Share of the variance of like trials, unseen by its trees, from which on a forest is believed."""
FEWEST_ALIKE = 10
_UNTOLD = "what made the best trial better than the default cannot be told"
SHOWN = 0.1
"""Share of the whole way from which on a step is told by name."""
_TREES = 100

Params = Mapping[str, ParamValue]


@dataclass(frozen=True)
class Step:
    """One parameter on the way; the value by the forest rises by so much."""

    parameter: str
    before: ParamValue | None
    after: ParamValue | None
    gain: float


@dataclass(frozen=True)
class Path:
    """From the default configuration to that of the best trial.

    Attributes:
        trials: that the forest was fitted to.
        alike: of these, how many are no further below the default than the best is above it.
        foretold: R squared of those, each by the trees that have not seen it; 0 where they are too few.
        steps: in their order; none where it foretells too little, or does not value the best trial above the default.
    """

    trials: int
    alike: int
    foretold: float
    steps: tuple[Step, ...]

    @property
    def code(self) -> str:
        """Of its kind (``findings.codes``)."""
        return "HT-L05" if self.steps else "HT-L06"

    @property
    def words(self) -> str:
        """What it means."""
        if self.alike < FEWEST_ALIKE:
            return f"{_UNTOLD}: {self.alike} of {self.trials} trials are about as good, too few to tell by"
        forest = (
            f"{max(self.foretold, 0.0):.0%} of what the {self.alike} of {self.trials} trials that are about as good "
            "differ by is foretold by a forest of trees that have not seen them"
        )
        if not self.steps:
            return f"{_UNTOLD}: {forest}"
        whole = sum(step.gain for step in self.steps)
        named = [step for step in self.steps if abs(step.gain) >= SHOWN * abs(whole)]
        rest = whole - sum(step.gain for step in named)
        others = len(self.steps) - len(named)
        more = f"; {others} more together {rest:+.4f}" if others else ""
        return f"from the default to the best trial: {'; '.join(map(_in_words, named))}{more} ({forest})"


def path_of(study: StudySummary) -> Path | None:
    """The way from default to best.

    None while trials run, with too few of them, and where the default is the best or differs in nothing that counts.
    """
    by_number = {trial.number: trial for trial in study.trials}
    valued = _valued(study.trials)
    ends = {trial.number: value for trial, value in valued}
    if len(valued) < FEWEST or any(trial.state == "RUNNING" for trial in study.trials):
        return None
    if study.best not in ends or study.default not in ends:
        return None
    default, best = (counted(by_number[number], study.space) for number in (study.default, study.best))
    usual = as_used(by_number[study.default].params, study.space)  # what others were added with by hand is not in it
    changed = [name for name in usual if default.get(name) != best.get(name)]
    if not changed:
        return None
    least = 2 * ends[study.default] - ends[study.best]
    alike = sum(value >= least for value in ends.values())
    if alike < FEWEST_ALIKE:
        return Path(len(valued), alike, 0.0, ())
    foretold, value_of = _forest(study, valued, usual, least)
    if foretold < FORETOLD:
        return Path(len(valued), alike, foretold, ())
    here, steps = default, []
    while changed:
        ways = [_changed(here, name, best) for name in changed]
        now, *values = value_of([here, *ways])
        first = values.index(max(values))
        name = changed.pop(first)
        steps.append(Step(name, here.get(name), best.get(name), values[first] - now))
        here = ways[first]
    return Path(len(valued), alike, foretold, tuple(steps) if sum(step.gain for step in steps) > 0 else ())


def _forest(
    study: StudySummary, valued: Sequence[tuple[TrialResult, float]], usual: Params, least: float
) -> tuple[float, Callable[[Sequence[Params]], list[float]]]:
    """How well it foretells, of trials from ``least`` on, what its trees have not seen, and what it says of others.

    A parameter that does not count in a configuration has its value of ``usual`` there.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import

    def encoded(params: Params) -> list[float]:
        whole = {**usual, **params}
        return [number for name in usual for number in _numbers(study.space[name], whole[name])]

    rows = np.array([encoded(counted(trial, study.space)) for trial, _ in valued])
    values = np.array([value for _, value in valued])
    forest = RandomForestRegressor(_TREES, max_features=0.5, oob_score=True, random_state=0).fit(rows, values)
    alike = values >= least
    error, apart = np.square(values - forest.oob_prediction_)[alike].sum(), len(values[alike]) * values[alike].var()
    foretold = float(1 - error / apart) if apart > 0 else 0.0
    return foretold, lambda some: list(map(float, forest.predict(np.array(list(map(encoded, some))))))


def _valued(trials: Sequence[TrialResult]) -> list[tuple[TrialResult, float]]:
    """Trials and what they reach in the end: pruned ones their last value and the mean gain of others from there on."""
    found = [(trial, float(trial.value)) for trial in ranking(trials) if trial.value is not None]
    complete = [(dict(trial.curve), value) for trial, value in found]
    for trial in (trial for trial in trials if trial.state == "PRUNED" and trial.curve and not trial.by_hand):
        found.append((trial, foreseen(*trial.curve[-1], complete)))
    return [(trial, value) for trial, value in found if math.isfinite(value)]


def _changed(here: Params, name: str, best: Params) -> dict[str, ParamValue]:
    """With the best trial's value of one parameter, or without it where it did not count there."""
    return {key: value for key, value in here.items() if key != name} | ({name: best[name]} if name in best else {})


def _numbers(of: Mapping[str, Any], value: ParamValue) -> list[float]:
    if of["kind"] == "choices":
        return [float(value == choice) for choice in of["choices"]]
    return [math.log(float(value)) if of.get("log") else float(value)]


def _in_words(step: Step) -> str:
    before, after = ("none" if value is None else _short(value) for value in (step.before, step.after))
    return f"{step.parameter} {before} → {after} {step.gain:+.4f}"


def _short(value: ParamValue) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
