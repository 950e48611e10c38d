"""What stands beside single models under the same plan, in numbers: a fit of its own, its gain, its comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studies.final_models import Fit, Gain
from studies.statistics.comparison import Comparison
from studies.statistics.metrics import Estimate


@dataclass(frozen=True)
class Entered:
    """An ensemble, its control, or a score that looks at neighbours.

    Attributes:
        gain: over what it is compared with, out of fold.
        comparison: with that on the test split.
    """

    gain: Gain
    temperature: float
    threshold: float
    threshold_rule: str
    auc: Estimate
    balanced_accuracy: Estimate
    comparison: Comparison


def entered(gain: Gain, fit: Fit, test: Mapping[str, Estimate], comparison: Comparison) -> dict[str, Any]:
    """The fields of ``Entered``; ``test`` are its metrics on the test split."""
    return {
        "gain": gain,
        "temperature": fit.temperature,
        "threshold": fit.threshold,
        "threshold_rule": fit.rule,
        "auc": test["auc"],
        "balanced_accuracy": test["balanced_accuracy"],
        "comparison": comparison,
    }
