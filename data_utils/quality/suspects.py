"""Labels that a simple model doubts, out of fold: what colour or features know, and where they contradict a label."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from data_utils.readers.patchset import Bools, Floats, Ints

FOLDS = 5
_DRAWS = 20
_PENALTY = 5.0  # inverse strength, shared by all values: the more there are, the less each may weigh (LOG.md)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions for patches of patients that the model had not seen.

    Attributes:
        logits: (M,) of IDC.
        fold: (M,) in which each patch was held out.
    """

    logits: Floats
    fold: Ints

    @property
    def probabilities(self) -> Floats:
        """(M,) of IDC; those that are 0 or 1 to the last digit are ranked by ``logits`` alone."""
        probabilities: Floats = special.expit(self.logits)
        return probabilities


def out_of_fold(features: Floats, labels: Ints, groups: Ints, seed: int) -> OutOfFold | None:
    """Logistic regression on standardised features, over folds of whole groups.

    Args:
        features: (M, F).
        labels: (M,) 0 or 1.
        groups: (M,) number of what must stay together, the patient.
        seed: of the folds.

    Returns:
        None where there are too few groups of a class for two folds.
    """
    from sklearn.linear_model import LogisticRegression  # seconds to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold = _folds(labels, groups, seed)
    if fold is None:
        return None
    logits = np.empty(len(labels))
    for held_out in range(fold.max() + 1):
        inside = fold == held_out
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY / features.shape[1], max_iter=5000))
        model.fit(features[~inside], labels[~inside])
        logits[inside] = model.decision_function(features[inside])
    return OutOfFold(logits, fold)


def _folds(labels: Ints, groups: Ints, seed: int) -> Ints | None:
    """(M,) fold of each patch; both classes outside of every fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(FOLDS, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    for draw in range(_DRAWS if count > 1 else 0):
        fold = np.empty(len(labels), dtype=np.int64)
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + draw)
        for number, (_, inside) in enumerate(splitter.split(labels, labels, groups)):
            fold[inside] = number
        if all(len(np.unique(labels[fold != number])) == 2 for number in range(count)):
            return fold
    return None


@dataclass(frozen=True, eq=False)
class Suspects:
    """Labels in doubt.

    Attributes:
        order: (M,) rows, the most doubtful first.
        doubted: (M,) whether confident learning counts the label as wrong.
    """

    order: Ints
    doubted: Bools


def find_suspects(labels: Ints, probabilities: Floats) -> Suspects:
    """Ranks labels by the out-of-fold probability that the model gives them, and counts those in doubt.

    Confident learning (Northcutt, Jiang & Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR
    70, 2021), by cleanlab: how many labels of each class are wrong is estimated from the joint distribution of given
    and confidently predicted labels; so many of the least likely ones are in doubt.

    Args:
        labels: (M,) 0 or 1, both present.
        probabilities: (M,) of IDC, out of fold.
    """
    from cleanlab.filter import find_label_issues  # imports pandas
    from cleanlab.rank import get_label_quality_scores

    both = np.stack([1 - probabilities, probabilities], axis=1)
    doubted: Bools = find_label_issues(labels, both, n_jobs=1)  # one process: a pool costs more than the work
    order = np.argsort(get_label_quality_scores(labels, both), kind="stable")
    return Suspects(order.astype(np.int64), doubted)
