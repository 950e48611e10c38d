"""When a prediction is left open, so that no more patches of new patients are called wrongly than was asked for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.applied.held_out import entry_of, held_out
from search.errors import UsageError
from search.final.stored_ensemble import Final
from studies.records import Floats
from studies.statistics.conformal import classes_within, fewest_patients, largest_error


@dataclass(frozen=True)
class Abstaining:
    """A promise, and what it takes to keep it.

    Attributes:
        rate: at most so many patches of a new patient are called wrongly.
        error: how far the probability of a class may be from 1 for the class to be in the set.
        patients: of development, whose scores out of fold it rests on.
    """

    rate: float
    error: float
    patients: int

    @classmethod
    def at(cls, rate: float, stored: Final, folder: Path) -> "Abstaining":
        """The promise of a final model in a folder.

        Raises:
            UsageError: patients are unknown or too few, or an earlier version kept no scores of the ensemble.
            RecordError: the scores out of fold are missing.
        """
        known = held_out(stored, folder)
        count = 0 if (known.patients == "").any() else len(np.unique(known.patients))
        if count < fewest_patients(rate):
            words = f"has {count} development patients" if count else "does not know its development patients"
            least = f" or a rate of {1 / (count + 1):.3g} or more" if count else ""
            raise UsageError(
                f"--abstain {rate:g}: the comparison {stored.study} {words}; expected {fewest_patients(rate)} of them"
                f"{least}: leave it out, or ask for less"
            )
        probabilities = known.probabilities[entry_of(stored)]
        return cls(rate, largest_error(probabilities, known.labels, known.patients, rate), count)

    def sets(self, probabilities: Floats) -> list[str]:
        """(N,) "0", "1", or "0 1" where it is left open."""
        return [" ".join(np.flatnonzero(row).astype(str)) for row in classes_within(probabilities, self.error)]

    def told(self, left_open: int, count: int) -> str:
        """What came of it, in words."""
        many = f"{left_open} of {count} patches {'is' if left_open == 1 else 'are'}"
        return (
            f"--abstain {self.rate:g}: {many} left open; of a new patient who is like the {self.patients} development "
            f"patients, a patch has its true class in the set with a probability of at least {1 - self.rate:.3g} "
            "(conformal, by patients: docs/predictions.md)"
        )
