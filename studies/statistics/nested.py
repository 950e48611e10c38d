"""What choosing among configurations has gained, told by patients that had no part in the choice."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from studies.final_models import Gain
from studies.statistics.comparison import paired_difference
from studies.statistics.metrics import PRIMARY, Sampled, auc, by_class, ranking
from studies.statistics.resampling import Floats, Ints, Resampling, resample


def nested_gain(
    labels: Ints, patients: npt.NDArray[np.str_], fold: Ints, scores: Mapping[str, Floats], default: str
) -> Gain:
    """AUC of configurations, each chosen by the other folds, minus that of the default one.

    AUCs are those within folds, since scores of other configurations lie on other scales.

    Args:
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        fold: (N,) from 0; each holds both classes.
        scores: (N,) out of fold of each configuration, by label.
        default: label of the default one, which is chosen among equals.
    """
    folds = range(int(fold.max()) + 1)
    chosen = tuple(_best(labels, scores, fold != held_out, default) for held_out in folds)
    nested = np.choose(fold, [scores[label] for label in chosen])
    resampling = resample(patients, labels, draws=0, seed=0)
    first, second = (_within(labels, logits, fold, resampling) for logits in (nested, scores[default]))
    found = paired_difference(PRIMARY, first, second, resampling)
    return Gain(
        chosen=chosen,
        value=first.value - second.value,
        low=found.low,
        high=found.high,
        reason=found.reason or "",
        patients=len(np.unique(patients)) if resampling.known else 0,
        patches=len(labels),
    )


def _best(labels: Ints, scores: Mapping[str, Floats], rows: npt.NDArray[np.bool_], default: str) -> str:
    """The configuration with the best AUC on these rows."""
    return max(scores, key=lambda label: (auc(labels[rows], scores[label][rows]), label == default))


def _within(labels: Ints, scores: Floats, fold: Ints, resampling: Resampling) -> Sampled:
    """The mean AUC within folds."""
    each = [
        ranking(labels, scores, resampling, (fold == number).astype(np.float64))["auc"]
        for number in range(int(fold.max()) + 1)
    ]
    value = float(np.mean([one.value for one in each]))
    return Sampled(value, np.mean([one.reduced for one in each], axis=0), by_class(labels, resampling), "plain")
