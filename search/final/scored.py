"""Scores of several models beside the patches that they scored, as a report takes them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from data_utils.quality.measures import brightness, near_white, stain_density
from data_utils.readers.patches import PatchSet
from search.final.ensemble import out_of_fold_logit
from search.final.retraining import Retrained
from studies.final_models import Ensemble
from studies.findings.ensemble import ENSEMBLE
from studies.records import Predictions
from studies.statistics.calibration import sigmoid

Floats = npt.NDArray[np.float64]


def scored(
    patches: PatchSet,
    logits: Mapping[str, Floats],
    *,
    temperatures: Mapping[str, float],
    thresholds: Mapping[str, float],
    members: Mapping[str, Floats],
) -> Predictions:
    """Predictions of labelled patches.

    Args:
        patches: N of them.
        logits: entry -> (N,) final score before temperature.
        temperatures: entry -> what its logits are divided by; 1 where it is not named.
        thresholds: entry -> threshold on the probability.
        members: entry -> (N, members) logits, where they are known.
    """
    assert patches.labels is not None
    haematoxylin, eosin = stain_density(patches.pixels)
    return Predictions(
        names=patches.names,
        patients=patients_of(patches),
        x=patches.x,
        y=patches.y,
        labels=patches.labels,
        logits=dict(logits),
        probabilities={entry: sigmoid(scores, temperatures.get(entry, 1.0)) for entry, scores in logits.items()},
        members=dict(members),
        thresholds=dict(thresholds),
        brightness=brightness(patches.pixels),
        haematoxylin=haematoxylin,
        eosin=eosin,
        near_white=near_white(patches.pixels),
    )


def scored_out_of_fold(development: PatchSet, model: Retrained) -> Predictions:
    """Each candidate's predictions of the development patches, by members that never saw the patch's patient."""
    final = model.final
    labels = {final.entry(label): label for label in model.logits}
    return scored(
        development,
        {entry: model.logits[label] for entry, label in labels.items()},
        temperatures={entry: final.fit_of(label).temperature for entry, label in labels.items()},
        thresholds={entry: final.fit_of(label).threshold for entry, label in labels.items()},
        members={},
    )


def ensemble_out_of_fold(development: PatchSet, retrained: Sequence[Retrained], ensemble: Ensemble) -> Predictions:
    """The ensemble's predictions of the development patches, likewise."""
    return scored(
        development,
        {ENSEMBLE: out_of_fold_logit(ensemble.parts, retrained)},
        temperatures={ENSEMBLE: ensemble.fit.temperature},
        thresholds={ENSEMBLE: ensemble.fit.threshold},
        members={},
    )


def patients_of(patches: PatchSet) -> npt.NDArray[np.str_]:
    """(N,) patient of each patch, "" where patients are unknown."""
    if patches.patients is None:
        return np.full(len(patches), "", dtype=np.str_)
    return patches.patients
