"""Whose a trial is: those that this launch has in hand, and those that dead launches left behind.

Optuna knows that a trial is RUNNING; the ledger knows in whose hands. What a launch hands out it owns there, and what
it writes it may write only as long as nobody has taken the trial over from it.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from search.training.jobs import EpochReport
from search.trials.launches import Presence
from studies.ledger.ledger import Ledger


@dataclass(frozen=True)
class Held:
    """A trial in the hands of this launch.

    Attributes:
        trial: Optuna's.
        trial_id: its id in the database.
        begun: when it was handed out, in monotonic seconds.
        values: the objective after each epoch, as the database has it.
    """

    trial: Trial
    trial_id: int
    begun: float
    values: dict[int, float]

    def cost(self, report: EpochReport) -> dict[str, float]:
        """Seconds of its worker: training, evaluation, saved, and waiting for anything else since it was handed out."""
        cost = dict(report.attributes.get("cost", {}))
        busy = cost.get("training", 0.0) + cost.get("evaluation", 0.0) - report.seconds_before
        return {**cost, "waiting": round(max(0.0, time.monotonic() - self.begun - busy), 3)}


class InHand:
    """The trials of one study that this launch has in hand: ``held``, by their numbers."""

    def __init__(self, study: optuna.Study, *, storage: RDBStorage, ledger: Ledger, presence: Presence) -> None:
        """``presence`` is of this launch; ``ledger`` knows the trials of all."""
        self.held: dict[int, Held] = {}
        self._study = study
        self._name = study.study_name
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._storage = storage
        self._ledger = ledger
        self._presence = presence

    def lease(self) -> AbstractContextManager[None]:
        """The right to hand out trials of the study, which one launch has at a time."""
        return self._ledger.lease(self._name, self._presence.launch)

    def take(self, trial: Trial, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a trial from ``study.ask`` is ours now; not where the lease was lost meanwhile.

        Args:
            trial: as asked for.
            trials: all trials before it was.
        """
        ours = self._ledger.own(self._name, trial.number, self._presence.launch)
        if ours:
            values = next((dict(found.intermediate_values) for found in trials if found.number == trial.number), {})
            self.held[trial.number] = Held(trial, self._trial_id(trial.number), time.monotonic(), values)
        return ours

    def is_mine(self, number: int) -> bool:
        """Whether it is in hand, and nobody has taken it over."""
        if number not in self.held:
            return False
        if self._presence.unbroken():  # nobody takes over from a launch that beats in time
            return True
        return self._ledger.owner(self._name, number) == self._presence.launch

    def let_go(self, number: int) -> None:
        """It has ended, or is another launch's."""
        self.held.pop(number, None)

    def give_back(self, number: int) -> bool:
        """Lets go of a trial, as WAITING unless another launch has taken it over; whether it was ours."""
        if number not in self.held:
            return False
        mine = self._ledger.owner(self._name, number) == self._presence.launch
        if mine:
            self._set_waiting(number)
        del self.held[number]
        return mine

    def release(self) -> None:
        """Gives all back."""
        for number in list(self.held):
            self.give_back(number)

    def reclaim(self) -> list[FrozenTrial]:
        """Puts trials of dead launches back to WAITING; call it under the lease. All trials as they are then."""
        trials = self._study.get_trials(deepcopy=False)
        left = self._of_dead_launches([trial for trial in trials if trial.state == TrialState.RUNNING])
        for number in left:
            self._set_waiting(number)
        return self._study.get_trials(deepcopy=False) if left else trials

    def _of_dead_launches(self, running: Sequence[FrozenTrial]) -> list[int]:
        others = [trial.number for trial in running if trial.number not in self.held]
        if not others:
            return []
        owners = self._ledger.owners(self._name)
        alive = self._presence.alive() - {self._presence.launch}
        return [number for number in others if owners.get(number) not in alive]

    def _set_waiting(self, number: int) -> None:
        trial_id = self._trial_id(number)
        with suppress(UpdateFinishedTrialError):  # its launch was not dead, and has just ended it
            if self._storage.get_trial(trial_id).state == TrialState.RUNNING:
                self._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
