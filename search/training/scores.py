"""The scores of an epoch."""

from typing import Any


def validation_scores(labels: Any, logits: Any) -> dict[str, float]:
    """The scores that a search can maximise, each in [0, 1]; balanced accuracy at probability 0.5."""
    # Takes seconds to import: the first epoch does not wait for it.
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

    return {
        "auc": float(roc_auc_score(labels, logits)),
        "average_precision": float(average_precision_score(labels, logits)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, logits > 0)),
    }
