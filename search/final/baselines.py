"""What a model must beat: layers that learned nothing here, colour alone, and the larger class."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_utils.quality.histograms import colour_histograms
from data_utils.readers.patchset import Pixels
from models._weights import Weights
from search.training.frozen import pooled_features

FROZEN, COLOUR, MAJORITY = "frozen VGG16", "colour histogram", "majority"
BASELINES = (COLOUR, MAJORITY)
_SHRINKAGE = 0.1  # scikit-learn's C

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def planned_baselines(weights: Weights | None) -> tuple[str, ...]:
    """The baselines of a comparison, the strongest first; frozen layers where it has pretrained ones."""
    return BASELINES if weights is None else (FROZEN, *BASELINES)


def baseline_logits(pixels: Pixels, labels: Ints, others: Pixels) -> dict[str, Floats]:
    """Logits of colour and of the larger class on other patches.

    Args:
        pixels: (N, S, S, 3) development patches.
        labels: (N,) theirs.
        others: (M, S, S, 3) patches to score.

    Returns:
        baseline -> (M,).
    """
    share = float(np.mean(labels))
    return {
        COLOUR: _fitted(colour_histograms(pixels), labels, colour_histograms(others)),
        MAJORITY: np.full(len(others), np.log(share / (1 - share))),
    }


def frozen_logits(pixels: Pixels, labels: Ints, others: Pixels, *, weights: Weights, device: str) -> Floats:
    """(M,) logits of a logistic regression on what frozen layers of VGG16 make of patches.

    Args:
        pixels: (N, S, S, 3) development patches.
        labels: (N,) theirs.
        others: (M, S, S, 3) patches to score.
        weights: of the layers, pretrained on photographs.
        device: "cpu" or "cuda".
    """
    seen, unseen = (
        pooled_features(some, np.arange(len(some)), weights, device, lambda _done, _of: None)
        for some in (pixels, others)
    )
    return _fitted(seen, labels, unseen)


def baseline_thresholds(names: tuple[str, ...], prevalence: float) -> dict[str, float]:
    """What has learned is called at the development prevalence, as models are; the majority is the larger class."""
    return {name: 0.5 if name == MAJORITY else prevalence for name in names}


def _fitted(seen: Floats, labels: Ints, unseen: Floats) -> Floats:
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=_SHRINKAGE, max_iter=2000))
    logits: Floats = regression.fit(seen, labels).decision_function(unseen)
    return logits
