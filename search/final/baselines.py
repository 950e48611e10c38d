"""What a model must beat: colour alone, and the larger class."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_utils.quality.histograms import colour_histograms

COLOUR, MAJORITY = "colour histogram", "majority"
BASELINES = (COLOUR, MAJORITY)

Floats = npt.NDArray[np.float64]


def baseline_logits(
    pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], others: npt.NDArray[np.uint8]
) -> dict[str, Floats]:
    """Logits of both baselines on other patches.

    Args:
        pixels: (N, S, S, 3) development patches.
        labels: (N,) theirs.
        others: (M, S, S, 3) patches to score.

    Returns:
        baseline -> (M,).
    """
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    regression.fit(colour_histograms(pixels), labels)
    share = float(np.mean(labels))
    return {
        COLOUR: regression.decision_function(colour_histograms(others)),
        MAJORITY: np.full(len(others), np.log(share / (1 - share))),
    }
