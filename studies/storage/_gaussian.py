"""Optuna's sampler by a Gaussian process, which learns from complete trials only, told of pruned ones as well."""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.storage.foreseen import foreseen
from studies.storage.space import SharedSpace

_TOLD = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class GaussianProcess(GPSampler):
    """Takes a pruned trial for a complete one that would have gained what complete trials did from its last epoch on.

    Under successive halving the tenth complete trial is about the fortieth; up to it, Optuna's draws at random. In
    simulated searches that was worth more than plain values, which make the pruned half look worse than it is (LOG.md).
    """

    def __init__(self, seed: int, space: SharedSpace) -> None:
        """``space`` is what trials of the study have in common so far, pruned ones included."""
        super().__init__(seed=seed)
        self._shared = space

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - Optuna hands it over
    ) -> dict[str, BaseDistribution]:
        """Of complete and pruned trials."""
        return self._shared.varied(study)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - a trial of the copy stands for it
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """What ``GPSampler`` draws in a copy of the study whose pruned trials are complete."""
        copy = optuna.create_study(direction=StudyDirection.MAXIMIZE)
        copy.add_trials(as_complete(study.get_trials(deepcopy=False)))
        copy.ask()
        return super().sample_relative(copy, copy.get_trials(deepcopy=False)[-1], search_space)


def infeasible(trial: FrozenTrial) -> bool:
    """Whether a constraint of Optuna's says that its like cannot be trained."""
    return any(violation > 0 for violation in trial.constraints.values())


def as_complete(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials of which the sampler may learn: each that has ended with its value, or what it may have come to.

    What does not fit is taken for no better than the worst that does.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    worst = min((trial.value for trial in complete if trial.value is not None), default=None)
    told = []
    for trial in trials:
        value = worst if infeasible(trial) else _foreseen(trial, complete)
        if trial.params and trial.state in _TOLD and (value is not None or trial.state == TrialState.RUNNING):
            state = TrialState.RUNNING if value is None else TrialState.COMPLETE
            told.append(create_trial(state=state, params=trial.params, distributions=trial.distributions, value=value))
    return told


def _foreseen(trial: FrozenTrial, complete: list[FrozenTrial]) -> float | None:
    """The value of a trial; of a pruned one its last, and the mean gain of complete trials from that epoch on.

    None for one that is running, and for one that somebody pruned by hand before it had a value.
    """
    if trial.state != TrialState.PRUNED or trial.last_step is None:
        return trial.value
    ended = [(other.intermediate_values, other.value) for other in complete if other.value is not None]
    return foreseen(trial.last_step, trial.intermediate_values[trial.last_step], ended)
