"""What a trial that was ended early may have come to."""

from collections.abc import Iterable, Mapping
from statistics import fmean


def foreseen(epoch: int, value: float, complete: Iterable[tuple[Mapping[int, float], float]]) -> float:
    """The value after its last epoch, and the mean gain of complete trials from that epoch on.

    Args:
        epoch: its last.
        value: after that.
        complete: of each its values by epoch, and that in the end.
    """
    gains = [end - curve[epoch] for curve, end in complete if epoch in curve]
    return value + (fmean(gains) if gains else 0.0)
