"""What of a network a search measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """How a trial gets its value. Part of a study's identity.

    Attributes:
        window: the share of all optimizer steps over which weights are averaged, in (0, 1]; 0 for weights as they are.
            Members keep those of the last step (LOG.md).
        views: in so many of the 8 views each validation patch is looked at.
        best_epoch: whether the value is that of the best epoch, where members end, and not that of the last one.
    """

    window: float = 0.0
    views: int = 1
    best_epoch: bool = True

    def __str__(self) -> str:
        views = "1 view" if self.views == 1 else f"{self.views} views"
        weights = f", weights averaged over {100 * self.window:g} % of all steps" if self.window else ""
        return f"{self.chosen} epoch, {views}{weights}"

    @property
    def chosen(self) -> str:
        """Which epoch counts, in a word."""
        return "best" if self.best_epoch else "last"

    def epoch(self, values: Mapping[int, float]) -> int:
        """The epoch that counts, of those that have a value; the earliest of several that are as good."""
        return max(values, key=lambda epoch: (values[epoch], -epoch)) if self.best_epoch else max(values)


BEFORE = Measure()
"""Of studies that were begun before there was another."""
NOW = Measure(window=0.05, views=2, best_epoch=False)
"""Of studies that are begun now; by the figures in LOG.md."""


def measure_of(definition: Mapping[str, Any]) -> Measure:
    """That of a study, by its stored definition."""
    return Measure(**definition["measure"]) if "measure" in definition else BEFORE
