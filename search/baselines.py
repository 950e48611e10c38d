"""What a model must beat: colour alone, and the larger class."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

COLOUR, MAJORITY = "colour histogram", "majority"
BASELINES = (COLOUR, MAJORITY)
_BINS = 16

Floats = npt.NDArray[np.float64]


def baseline_logits(
    pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], others: npt.NDArray[np.uint8]
) -> dict[str, Floats]:
    """Logits of both baselines on other patches.

    Args:
        pixels: (N, 50, 50, 3) development patches.
        labels: (N,) theirs.
        others: (M, 50, 50, 3) patches to score.

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


def colour_histograms(pixels: npt.NDArray[np.uint8]) -> Floats:
    """(N, 48): share of pixels in each of 16 bins of red, green and blue."""
    bins = pixels.reshape(len(pixels), -1, 3) // (256 // _BINS)  # (N, 2500, 3)
    counts = [np.stack([(bins == value).mean(axis=1) for value in range(_BINS)], axis=1)]  # (N, 16, 3)
    return np.concatenate(counts).reshape(len(pixels), -1)
