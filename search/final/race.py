"""Finalists that race: which of a model's candidates are dropped, fold after fold.

A pure function of what members have left on disk: the same in whatever order they came, and when a finalization that
was cut off is taken up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.final.candidates import DEFAULT, Candidate
from search.final.member_files import Floats, Ints, member_folder, out_of_fold, stored_member
from studies.final_models import Dropped
from studies.statistics.comparison import paired_difference
from studies.statistics.metrics import PRIMARY, ranking
from studies.statistics.resampling import resample

FIRST = 2
"""Folds after which a candidate can be dropped for the first time."""
ERRORS = 2.0
"""Standard errors of the paired difference by which one that is dropped is worse than the leader."""
RULE = (
    f"after {FIRST} folds and after each further one but the last, a configuration is dropped whose out-of-fold AUC is "
    f"below the leader's by more than {ERRORS:g} standard errors of the difference; the default one never"
)
"""As a plan has it."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The development rows that members are judged on.

    Attributes:
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        fold: (N,) by which members a row is never seen, from 0.
    """

    labels: Ints
    patients: npt.NDArray[np.str_]
    fold: Ints

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max()) + 1


class Race:
    """The candidates of one model.

    Attributes:
        dropped: by label, those that are out of the race so far.
    """

    def __init__(self, wanted: Sequence[Candidate], folder: Path, rows: Rows) -> None:
        """``folder`` is that of the comparison."""
        self.dropped: dict[str, Dropped] = {}
        self._wanted = tuple(wanted)
        self._folder = folder
        self._rows = rows
        self._judged = FIRST - 1  # folds

    def advance(self) -> list[Candidate]:
        """Judges by each further fold of which all that are left have a member; returns those that it drops."""
        before = self._left()
        while self._judged + 1 < self._rows.folds and self._have(self._judged + 1):
            self._judged += 1
            self.dropped |= self._judge(self._judged)
        return [candidate for candidate in before if candidate.label in self.dropped]

    def _left(self) -> list[Candidate]:
        return [candidate for candidate in self._wanted if candidate.label not in self.dropped]

    def _have(self, folds: int) -> bool:
        places = [member_folder(self._folder, candidate) for candidate in self._left()]
        return all(stored_member(place, fold) is not None for place in places for fold in range(folds))

    def _judge(self, folds: int) -> dict[str, Dropped]:
        """Those that the first ``folds`` folds tell to be worse than the leader."""
        seen = self._rows.fold < folds
        scores = {
            candidate.label: out_of_fold(member_folder(self._folder, candidate), self._rows.fold, folds)[seen]
            for candidate in self._left()
        }
        return behind(self._rows.labels[seen], self._rows.patients[seen], scores, folds)


def behind(labels: Ints, patients: npt.NDArray[np.str_], scores: dict[str, Floats], folds: int) -> dict[str, Dropped]:
    """The candidates that are worse than the leader by more than chance.

    Args:
        labels: (N,) of the rows of the folds so far.
        patients: (N,) "" where unknown.
        scores: (N,) of each candidate, by label.
        folds: how many have been.
    """
    resampling = resample(patients, labels, draws=0, seed=0)
    measured = {label: ranking(labels, logits, resampling)["auc"] for label, logits in scores.items()}
    leader = max(measured, key=lambda label: (measured[label].value, label == DEFAULT))
    found = {}
    for label in (label for label in measured if label not in (leader, DEFAULT)):
        one = paired_difference(PRIMARY, measured[leader], measured[label], resampling)
        if one.value is not None and one.standard_error and one.value > ERRORS * one.standard_error:
            found[label] = Dropped(folds, leader, one.value, one.standard_error)
    return found
