"""What a search teaches for the next one: how far its rung could be trusted, and where its space was too narrow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies.findings.ablation import Path
from studies.records import StudySummary, TrialResult
from studies.storage.results import CUT_SHORT, counted, ranking
from studies.storage.studies import first_rung

FEWEST = 8
"""Complete trials below which nothing is said of the rung: its interval would reach from nothing to all."""
LEADERS = 5
_OUTER = 0.1  # share of a range at each end
_MOST_OF = 3  # leaders beyond which it is no chance: with the best among them, 5 in 1,000 of uniform draws
TRUSTED = 0.4
"""Correlation above which a rung that lets a quarter go on seldom ends the best of them."""


@dataclass(frozen=True)
class Rung:
    """How well the values at the first rung told those in the end.

    Attributes:
        epoch: of the rung.
        trials: complete ones.
        seen: trials that have a value at the rung, complete ones among them.
        correlation: Spearman's over all of these, as it would be had each come to its end, in [-1, 1].
        low, high: its 95 % interval (``statistics.restricted``; without a pruner Bonett & Wright 2000).
    """

    epoch: int
    trials: int
    seen: int
    correlation: float
    low: float
    high: float

    @property
    def code(self) -> str:
        """Of its kind (``findings.codes``)."""
        return "HT-L01" if self.low >= TRUSTED else "HT-L02" if self.high < TRUSTED else "HT-L03"

    @property
    def words(self) -> str:
        """What it means, and what to do."""
        told = (
            f"the values after epoch {self.epoch}, where weak trials end, and those in the end have a rank correlation "
            f"of {self.correlation:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}, {self._rests_on})"
        )
        if self.low >= TRUSTED:
            return f"{told}: the rung can be trusted"
        if self.high < TRUSTED:
            pruned = "Search with" if self.seen > self.trials else "Stay with"
            return f"{told}: the rung knew little of the end. {pruned} --pruner none, or with more --epochs"
        return f"{told}: too few trials to tell whether the rung can be trusted"

    @property
    def _rests_on(self) -> str:
        if self.seen == self.trials:
            return f"of {self.trials} complete trials"
        return f"of {self.seen} trials, had each come to its end as {self.trials} did"


@dataclass(frozen=True)
class Edge:
    """An end of a parameter's range where the best configurations lie.

    Attributes:
        parameter: its name.
        upper: whether it is the upper end.
        bound: the end itself.
        leaders: of the five best trials, those in the outer tenth of the range.
        way: what to type for a search that goes on beyond it; "" where the model allows no more, None where that is
            not known, as of launches of earlier versions.
    """

    parameter: str
    upper: bool
    bound: float
    leaders: int
    way: str | None = None

    @property
    def code(self) -> str:
        """Of its kind (``findings.codes``)."""
        return "HT-L04"

    @property
    def words(self) -> str:
        """What it means, and what to do."""
        end = "upper" if self.upper else "lower"
        return (
            f"{self.parameter}: the best trial, and {self.leaders} of the {LEADERS} best, lie at the {end} end of its "
            f"range ({self.bound:g}): {self._what_to_do}"
        )

    @property
    def _what_to_do(self) -> str:
        if self.way == "":
            return "beyond it may be better ones, but its model allows no more"
        way = f": {self.way}" if self.way else ""
        return f"beyond it may be better ones, so widen it{way}"


def lessons(rung: Rung | None, edges: Sequence[Edge], path: Path | None = None) -> tuple[str, ...]:
    """In sentences."""
    return tuple(one.words for one in (rung, *edges, path) if one is not None)


def rung_of(study: StudySummary) -> Rung | None:
    """What the first rung was worth; None with a pruner without rungs, or too few complete trials."""
    epoch = _rung_epoch(study)
    return None if epoch is None else _rung_at(epoch, study)


def _rung_at(epoch: int, study: StudySummary) -> Rung | None:
    seen = [(dict(one.curve)[epoch], _end(one, epoch)) for one in study.trials if _came_to(one, epoch)]
    pairs = [(at_rung, end) for at_rung, end in seen if end is not None]
    if len(pairs) < FEWEST or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    if _pruner(study) == "none":
        return Rung(epoch, len(pairs), len(pairs), *_spearman(pairs))
    return Rung(epoch, len(pairs), len(seen), *_spearman_of_all(seen))


def _came_to(trial: TrialResult, epoch: int) -> bool:
    return epoch in dict(trial.curve) and not trial.by_hand


def _end(trial: TrialResult, epoch: int) -> float | None:
    """The value in the end; None of a trial that was not let through, or is not complete."""
    through = trial.state == "COMPLETE" and trial.value is not None and trial.curve[-1][0] > epoch
    return trial.value if through else None


def _pruner(study: StudySummary) -> str | None:
    return study.definition.get("pruner", study.settings.get("pruner"))  # earlier versions have it in the latter


def _rung_epoch(study: StudySummary) -> int | None:
    """Where trials were compared; with halving where the first of them ended, as earlier versions had other rungs."""
    if _pruner(study) == "none":
        return first_rung(int(study.definition["epochs"]))
    if _pruner(study) != "sha":
        return None
    pruned = [one for one in study.trials if one.state == "PRUNED" and CUT_SHORT not in one.attributes]
    return min((one.curve[-1][0] for one in pruned if one.curve and not one.by_hand), default=None)


def _spearman(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Of trials that nobody chose among: value, and both ends of its 95 % interval (Bonett & Wright 2000)."""
    from scipy.stats import spearmanr  # takes a second to import, and search.status seldom needs it

    correlation = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    half = 1.96 * math.sqrt((1 + correlation**2 / 2) / (len(pairs) - 3))
    within = math.atanh(max(-0.999999, min(0.999999, correlation)))
    low, high = math.tanh(within - half), math.tanh(within + half)
    return correlation, min(low, correlation), max(high, correlation)


def _spearman_of_all(seen: Sequence[tuple[float, float | None]]) -> tuple[float, float, float]:
    """Likewise over all trials, of which the rung let some come to their end."""
    import numpy as np

    from studies.statistics.restricted import rank_correlation  # imports scipy as well

    first, ends = zip(*seen, strict=True)
    through = [end is not None for end in ends]
    return rank_correlation(np.array(first), np.array(through), np.array([end for end in ends if end is not None]))


def edges_of(study: StudySummary) -> tuple[Edge, ...]:
    """Ends of ranges at which the best trial and most of the best lie, where there is something beyond them."""
    leaders = ranking(study.trials)[:LEADERS]
    if len(leaders) < LEADERS:
        return ()
    ends = [(name, _places(name, of, leaders)) for name, of in study.space.items() if _is_wide(of)]
    found = []
    for name, places in ends:
        for upper in (False, True):
            there = [place is not None and (place > 1 - _OUTER if upper else place < _OUTER) for place in places]
            of = study.space[name]
            if there[0] and sum(there) >= _MOST_OF and (upper or not _is_natural(of)):
                bound = float(of["high" if upper else "low"])
                found.append(Edge(name, upper, bound, sum(there), _way_on(study, name, upper=upper)))
    return tuple(found)


def _way_on(study: StudySummary, parameter: str, *, upper: bool) -> str | None:
    told = study.settings.get("ways_on", {}).get(parameter, {}).get("upper" if upper else "lower")
    return f"--study NEW --warm-start {study.name.removesuffix(f'-{study.model}')} {told}" if told else told


def _places(name: str, of: Mapping[str, Any], leaders: Sequence[TrialResult]) -> list[float | None]:
    """Where in the range each leader lies, from 0 to 1; None where the parameter made no difference."""
    values = [counted(trial, {name: of}).get(name) for trial in leaders]
    return [None if value is None else _place(of, float(value)) for value in values]


def _place(of: Mapping[str, Any], value: float) -> float:
    low, high = float(of["low"]), float(of["high"])
    if of.get("log"):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _is_wide(of: Mapping[str, Any]) -> bool:
    """Whether a tenth of the range is more than one value of few."""
    if "low" not in of or of["low"] == of["high"]:
        return False
    return of["kind"] != "integer" or float(of["high"]) - float(of["low"]) >= 1 / _OUTER


def _is_natural(of: Mapping[str, Any]) -> bool:
    """Whether there is nothing below: shares and strengths begin at 0, and what is stored below it is none."""
    return not of.get("log") and float(of["low"]) <= 0
