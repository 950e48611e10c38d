"""Which configurations are averaged: greedy selection with replacement, or the two best; judged by folds left out."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from studies.statistics.calibration import fit_temperature
from studies.statistics.metrics import auc
from studies.statistics.resampling import Floats, Ints

MOST = 20
"""Times that greedy selection takes a configuration at most."""
Bools = npt.NDArray[np.bool_]
Counts = dict[str, int]
"""How often each configuration is taken, by name; those that are not taken are left out."""
Within = Callable[[Sequence[str]], bool]
"""Whether these configurations together are within what a prediction may take; each of those to choose from is."""
Rule = Callable[[Ints, Mapping[str, Floats], Within], Counts]


def unbounded(names: Sequence[str]) -> bool:  # noqa: ARG001 - as of others
    """Where a prediction may take as long as it likes."""
    return True


def greedy(labels: Ints, scores: Mapping[str, Floats], within: Within = unbounded) -> Counts:
    """Takes the configuration that helps the mean most, again and again, until none does (Caruana et al. 2004).

    doi:10.1145/1015330.1015432. The same one may be taken several times, which gives it more weight.

    Args:
        labels: (N,) 1 is IDC.
        scores: (N,) of each configuration, on one scale.
        within: what may be taken together.
    """
    counts: Counts = {}
    total, reached = np.zeros(len(labels)), -1.0
    for _ in range(MOST):
        open_to = [name for name in scores if name in counts or within([*counts, name])]
        found = {name: auc(labels, total + scores[name]) for name in open_to}
        best = max(found, key=found.__getitem__)
        if found[best] <= reached:
            break
        counts[best] = counts.get(best, 0) + 1
        total, reached = total + scores[best], found[best]
    return counts


def two_best(labels: Ints, scores: Mapping[str, Floats], within: Within = unbounded) -> Counts:
    """The plain mean of the two that are best by themselves, of those that may be taken together; else the best one."""
    ranked = sorted(scores, key=lambda name: -auc(labels, scores[name]))
    return dict.fromkeys(next(filter(within, combinations(ranked, 2)), ranked[:1]), 1)


RULES: Mapping[str, Rule] = {"the plain mean of the two best": two_best, "greedy selection with replacement": greedy}
"""By name; of equally good ones the first is taken."""


def combined(scores: Mapping[str, Floats], counts: Counts) -> Floats:
    """(N,) the mean of the scores, each as often as it is taken."""
    mean: Floats = np.average([scores[name] for name in counts], axis=0, weights=list(counts.values()))
    return mean


def on_one_scale(labels: Ints, logits: Mapping[str, Floats], rows: Bools) -> dict[str, Floats]:
    """(N,) logits divided by the temperature that fits them on these rows."""
    return {name: each / fit_temperature(each[rows], labels[rows]) for name, each in logits.items()}


def selected(
    labels: Ints, fold: Ints, logits: Mapping[str, Floats], rows: Bools, within: Within = unbounded
) -> tuple[str, Counts]:
    """The rule and the configurations that are taken by it, on these rows alone.

    The rule is the one whose choices are better on the folds that they were not made by.

    Args:
        labels: (N,) 1 is IDC.
        fold: (N,) from 0.
        logits: (N,) out of fold of each configuration.
        rows: (N,) of two folds at least.
        within: what may be taken together.
    """
    reached = {name: _left_out(labels, fold, logits, rows, rule, within) for name, rule in RULES.items()}
    name = max(reached, key=reached.__getitem__)
    return name, taken(labels, logits, rows, RULES[name], within)


def taken(labels: Ints, logits: Mapping[str, Floats], rows: Bools, rule: Rule, within: Within = unbounded) -> Counts:
    """What a rule takes by these rows."""
    scores = on_one_scale(labels, logits, rows)
    return rule(labels[rows], {name: each[rows] for name, each in scores.items()}, within)


def _left_out(labels: Ints, fold: Ints, logits: Mapping[str, Floats], rows: Bools, rule: Rule, within: Within) -> float:
    """Mean AUC within folds of what a rule takes by the other ones of these rows."""
    found = []
    for number in np.unique(fold[rows]):
        others, inside = rows & (fold != number), fold == number
        scores = on_one_scale(labels, logits, others)
        mean = combined(scores, taken(labels, logits, others, rule, within))
        found.append(auc(labels[inside], mean[inside]))
    return float(np.mean(found))
