"""The score that looks at neighbours in numbers: what it weighs, and whether it is better than what it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from studies.findings.entered import Entered, entered
from studies.findings.verdict import Verdict, judge
from studies.findings.weaknesses import Weakness
from studies.records import ReportData
from studies.statistics.comparison import Contestant, compare_all
from studies.statistics.grid import around
from studies.statistics.metrics import Estimate
from studies.statistics.resampling import Resampling

NEIGHBOURS = "neighbours"
"""Its entry in predictions; and the setting of a plan that says why there is none."""


@dataclass(frozen=True)
class NeighboursFindings(Entered):
    """The score beside the one that it is made of.

    Attributes:
        of: entry of the score that it is made of.
        weights: of a patch's own logit, of the mean of its neighbours' logits, of their number; and what is added.
        usual: neighbours of a development patch, in the mean; usual_of_test: of a test patch.
        gain: over the score that it is made of, out of fold.
        comparison: with that score on the test split; a family of its own.
        verdict: that comparison in words.
    """

    of: str
    weights: dict[str, float]
    usual: float
    usual_of_test: float
    verdict: Verdict


def find_neighbours(
    data: ReportData,
    contestants: Mapping[str, Contestant],
    metrics: Mapping[str, Mapping[str, Estimate]],
    doubts: tuple[Weakness, ...],
    resampling: Resampling,
) -> NeighboursFindings | None:
    """Of a plan that has one; arguments as of ``find_ensemble``."""
    planned, test = data.plan.neighbours, data.test
    if planned is None or NEIGHBOURS not in contestants:
        return None
    (comparison,) = compare_all(test.labels, [contestants[NEIGHBOURS], contestants[planned.of]], resampling)
    named = f"{planned.of} with neighbours"
    _, counts = around(test.patients, test.x, test.y, np.zeros(len(test.labels)), planned.step)
    return NeighboursFindings(
        of=planned.of,
        weights={
            "own": planned.own,
            "around": planned.around,
            "count": planned.count,
            "intercept": planned.intercept,
        },
        usual=planned.usual,
        usual_of_test=float(counts.mean()),
        verdict=judge(
            [replace(comparison, first=named)],
            [(named, metrics[NEIGHBOURS]["auc"]), (planned.of, metrics[planned.of]["auc"])],
            doubts,
            data.plan.margin,
        ),
        **entered(planned.gain, planned.fit, metrics[NEIGHBOURS], comparison),
    )
