"""Optuna's TPE for searches that make a sampler for each trial, for the sake of its seed."""

import warnings

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from studies.storage._optuna import RememberingTpe
from studies.storage.space import SharedSpace


class Tpe(RememberingTpe):
    """Optuna's, with a search space that outlives it: each trial has a sampler of its own, for the sake of its seed."""

    def __init__(self, seed: int, space: SharedSpace, startup: int = 10) -> None:
        """``space`` is what trials of the study have in common so far; ``startup`` trials end before it learns."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=startup)
        self._shared, self.rows, self.space = space, space.rows, {}

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - Optuna hands it over
    ) -> dict[str, BaseDistribution]:
        """What ``TPESampler`` infers."""
        self.space = self._shared.varied(study)
        return self.space
