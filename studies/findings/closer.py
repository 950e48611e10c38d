"""A closer look, which no plan names and no verdict rests on: explorations, once the test split is open."""

from dataclasses import dataclass

from studies.findings.drift import Drift, find_drift
from studies.findings.left_open import LeftOpen, find_left_open
from studies.findings.robustness import Robustness, find_robustness
from studies.findings.slices import Slices, find_slices
from studies.records import ReportData
from studies.statistics.resampling import Resampling


@dataclass(frozen=True)
class Closer:
    """All of it.

    Attributes:
        left_open: by entry, what leaving patches open gains.
        drift: whether test patients look like the development patients; None where that cannot be told.
        slices: where models err the most; None where patients are unknown.
        robustness: by model, what small changes of the patches do.
    """

    left_open: dict[str, LeftOpen]
    drift: Drift | None
    slices: Slices | None
    robustness: dict[str, Robustness]


def look_closer(data: ReportData, resampling: Resampling) -> Closer:
    """All of it; ``resampling`` is of the test patches."""
    return Closer(
        left_open=find_left_open(data, resampling),
        drift=find_drift(data),
        slices=find_slices(data, resampling),
        robustness=find_robustness(data),
    )
