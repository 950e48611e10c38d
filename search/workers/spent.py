"""What a job has taken so far."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds of a job so far, in all processes that had it.

    Attributes:
        training: in epochs.
        evaluation: on the validation patients, or of a member's held-out ones.
        saved: that kept outputs of frozen layers spared it.
    """

    training: float = 0.0
    evaluation: float = 0.0
    saved: float = 0.0

    @property
    def seconds(self) -> float:
        """Of training and evaluation."""
        return self.training + self.evaluation

    def plus(self, training: float, evaluation: float, saved: float) -> "Spent":
        """After another epoch."""
        sums = (self.training + training, self.evaluation + evaluation, self.saved + saved)
        return Spent(*(round(seconds, 3) for seconds in sums))
