"""What choosing among configurations has gained, told by patients that had no part in the choice."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from studies.final_models import Gain
from studies.statistics.comparison import paired_difference
from studies.statistics.ensembles import Counts, Within, combined, on_one_scale, selected, unbounded
from studies.statistics.metrics import PRIMARY, Sampled, auc, by_class, ranking
from studies.statistics.resampling import Floats, Ints, Resampling, resample

Names = npt.NDArray[np.str_]


def nested_gain(labels: Ints, patients: Names, fold: Ints, scores: Mapping[str, Floats], default: str) -> Gain:
    """AUC of configurations, each chosen by the other folds, minus that of the default one.

    AUCs are those within folds, since scores of other configurations lie on other scales.

    Args:
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        fold: (N,) from 0; each holds both classes.
        scores: (N,) out of fold of each configuration, by label.
        default: label of the default one, which is chosen among equals.
    """

    def chosen_by(rows: npt.NDArray[np.bool_]) -> str:
        return max(scores, key=lambda label: (auc(labels[rows], scores[label][rows]), label == default))

    chosen = [chosen_by(fold != number) for number in range(int(fold.max()) + 1)]
    nested = np.choose(fold, [scores[label] for label in chosen])
    return gain_over(labels, patients, fold, nested, scores[default], chosen)


def nested_ensemble(
    labels: Ints,
    patients: Names,
    fold: Ints,
    logits: Mapping[str, Floats],
    single: Floats,
    within: Within = unbounded,
) -> Gain:
    """AUC within folds of ensembles, each selected by the other folds, minus that of one configuration.

    That one is the same for all folds, and may have been chosen by them, which is in its favour. Chosen by the other
    folds it would be at a disadvantage: of several that are equally good by all folds together, the one that is the
    best by the others is the worst by the one left out.

    Args:
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        fold: (N,) from 0; three at least, each with both classes.
        logits: (N,) out of fold of each configuration of all models, by name.
        single: (N,) likewise of the one that it is held against.
        within: whether these configurations together are within what a prediction may take.
    """
    chosen = chosen_by_others(labels, fold, logits, within)
    ensembles = _by_fold(labels, fold, logits, chosen)
    return gain_over(labels, patients, fold, ensembles, single, [in_words(counts) for counts in chosen])


def nested_over_control(
    labels: Ints,
    patients: Names,
    fold: Ints,
    logits: Mapping[str, Floats],
    control: Mapping[str, Floats],
    pairs: Sequence[tuple[Counts, Counts]],
) -> Gain:
    """AUC within folds of ensembles, each selected by the other folds, minus that of the control of each.

    Args:
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        fold: (N,) from 0; three at least, each with both classes.
        logits: (N,) out of fold of each configuration of all models, by name.
        control: (N,) likewise of those that controls average.
        pairs: for each fold what its ensemble (``chosen_by_others``) and its control average.
    """
    ensembles = _by_fold(labels, fold, logits, [chosen for chosen, _ in pairs])
    controls = _by_fold(labels, fold, control, [instead for _, instead in pairs])
    return gain_over(labels, patients, fold, ensembles, controls, [in_words(chosen) for chosen, _ in pairs])


def chosen_by_others(
    labels: Ints, fold: Ints, logits: Mapping[str, Floats], within: Within = unbounded
) -> list[Counts]:
    """For each fold what the ensemble averages that all other folds select."""
    return [selected(labels, fold, logits, fold != number, within)[1] for number in range(int(fold.max()) + 1)]


def _by_fold(labels: Ints, fold: Ints, logits: Mapping[str, Floats], chosen: Sequence[Counts]) -> Floats:
    """(N,) each fold's scores by its own ensemble, on the scales that the other folds give."""
    scales = (on_one_scale(labels, logits, fold != number) for number in range(len(chosen)))
    scores: Floats = np.choose(fold, [combined(scale, counts) for scale, counts in zip(scales, chosen, strict=True)])
    return scores


def in_words(counts: Counts) -> str:
    """What is averaged, such as "2 x cnn best, 1 x vgg16 default"."""
    return ", ".join(f"{times} x {name}" for name, times in counts.items())


def gain_over(labels: Ints, patients: Names, fold: Ints, one: Floats, other: Floats, chosen: Sequence[str]) -> Gain:
    """The first score's AUC within folds minus the second one's, with its interval over patients.

    Args:
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        fold: (N,) from 0; each holds both classes.
        one: (N,) scores; those of a fold are none that its patients had a part in.
        other: (N,) likewise.
        chosen: what the first one is, for each fold.
    """
    resampling = resample(patients, labels, draws=0, seed=0)
    first, second = (_within(labels, each, fold, resampling) for each in (one, other))
    found = paired_difference(PRIMARY, first, second, resampling)
    return Gain(
        chosen=tuple(chosen),
        value=first.value - second.value,
        low=found.low,
        high=found.high,
        reason=found.reason or "",
        patients=len(np.unique(patients)) if resampling.known else 0,
        patches=len(labels),
    )


def _within(labels: Ints, scores: Floats, fold: Ints, resampling: Resampling) -> Sampled:
    """The mean AUC within folds."""
    each = [
        ranking(labels, scores, resampling, (fold == number).astype(np.float64))["auc"]
        for number in range(int(fold.max()) + 1)
    ]
    value = float(np.mean([one.value for one in each]))
    return Sampled(value, np.mean([one.reduced for one in each], axis=0), by_class(labels, resampling), "plain")
