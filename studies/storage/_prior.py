"""A sampler that takes the default configuration for a belief about good ones, and trusts it less with every trial."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from studies.storage._optuna import trials_as_asked
from studies.storage._tpe import Tpe
from studies.storage.space import SharedSpace

WIDTH = 0.25
"""Standard deviation of a number around the default, as a share of its range; of its logarithm where that is drawn. In
NePS, the program of PriorBand's authors, this is a confidence of "medium"."""
FAVOUR = 4.0
"""How much likelier the default's choice is than each of the others."""
LEAST = 0.5
"""The part of the prior's largest value that every value of a parameter keeps when candidates are compared, since a
default may be right in one and wrong in another. With a normal's own tails a wrong one cost two to three times as
much, and a right one gained no more (LOG.md)."""
TRUSTED = 5
"""Trials after which the belief counts half."""
STARTUP = 10
"""Ended trials before TPE learns of them, as Optuna has it."""
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_Range = FloatDistribution | IntDistribution


def trust(trials: int) -> float:
    """What the belief still counts after so many trials, in (0, 1]; half after ``TRUSTED``."""
    return TRUSTED / (TRUSTED + trials)


class PriorGuided(Tpe):
    """TPE that begins near the default configuration and prefers what lies near it, both the less, the more it knows.

    Until ten trials have ended each is drawn as a whole from the prior, with the probability ``trust`` of those that
    began before it, or else uniformly, a mixture as in PriorBand (Mallik et al., NeurIPS 2023). Later the acquisition
    function, which is the ratio of TPE's two densities, is multiplied by the prior to the power of ``trust`` of the
    trials that have ended, as in piBO (Hvarfner et al., ICLR 2022; there beta / trials). Parameters are independent in
    the prior: a number is normally distributed around the default's, within its range, and the default's choice is the
    likeliest. A default that lies outside of a range counts as its nearest end; a choice that is not offered, and a
    parameter it lacks, tell nothing.
    """

    def __init__(self, seed: int, space: SharedSpace, default: Mapping[str, Any], *, startup: int = STARTUP) -> None:
        """See ``make_sampler``; ``startup`` is for tests."""
        super().__init__(seed, space, startup)
        self._seed, self._startup = seed, startup
        self._draws = np.random.default_rng(seed)
        self._default = dict(default)
        self._trust, self._asked = 1.0, dict[str, BaseDistribution]()  # of what is drawn at the moment

    def reseed_rng(self) -> None:
        """For processes that share a copy."""
        super().reseed_rng()
        self._draws = np.random.default_rng()
        self._seed = int(self._draws.integers(2**31))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What ``TPESampler`` draws, by this acquisition."""
        self._look(study, search_space)
        return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What ``TPESampler`` draws, by this acquisition; of a first trial perhaps one of the prior."""
        ended = self._look(study, {param_name: param_distribution})
        if ended < self._startup and self._believes(trial.number):
            centre = centre_of(param_distribution, self._default.get(param_name))
            if centre is not None:
                return drawn(param_distribution, centre, self._draws)
        return super().sample_independent(study, trial, param_name, param_distribution)

    def preference(self, candidates: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64] | float:
        """The logarithm of the prior of each candidate, up to a constant, times the trust."""
        told = [
            log_prior(one, centre, candidates[name])
            for name, one in self._asked.items()
            if (centre := centre_of(one, self._default.get(name))) is not None
        ]
        return self._trust * sum(told, start=0.0)

    def _look(self, study: optuna.Study, asked: dict[str, BaseDistribution]) -> int:
        """How many trials have ended, by which the belief counts for what is drawn next."""
        ended = len(trials_as_asked(study, _ENDED))
        self._trust, self._asked = trust(ended), asked
        return ended

    def _believes(self, number: int) -> bool:
        """Whether a first trial is one of the prior: the same for all parameters, whatever still runs."""
        return bool(np.random.default_rng((self._seed, number)).random() < trust(number))


def centre_of(distribution: BaseDistribution, value: Any) -> float | None:
    """Where the prior has its middle: a place in [0, 1] of a range, or the number of a choice; None where it has none.

    Args:
        distribution: of a parameter.
        value: of the default configuration, which may lie outside; None where it lacks the parameter.
    """
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value)) if value in distribution.choices else None
    if not isinstance(distribution, _Range) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    inside = min(max(float(value), distribution.low), distribution.high)
    return float(_places(distribution, np.array([inside]))[0])


def log_prior(
    distribution: BaseDistribution, centre: float, values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The logarithm of the prior, in [log ``LEAST``, 0], of values as Optuna computes with them: choices by number."""
    if isinstance(distribution, CategoricalDistribution):
        likely = np.where(values == centre, 1.0, 1 / FAVOUR)
    else:
        assert isinstance(distribution, _Range)
        likely = np.exp(-(((_places(distribution, values) - centre) / WIDTH) ** 2) / 2)
    return np.log(LEAST + (1 - LEAST) * likely)


def drawn(distribution: BaseDistribution, centre: float, draws: np.random.Generator) -> Any:
    """A value of the prior, as trials have it."""
    if isinstance(distribution, CategoricalDistribution):
        weights = np.ones(len(distribution.choices))
        weights[int(centre)] = FAVOUR
        return distribution.choices[int(draws.choice(len(weights), p=weights / weights.sum()))]
    assert isinstance(distribution, _Range)
    around = NormalDist(centre, WIDTH)
    place = around.inv_cdf(float(draws.uniform(around.cdf(0.0), around.cdf(1.0))))
    low, high = _ends(distribution)
    number = low + place * (high - low)
    number = math.exp(number) if distribution.log else number
    if distribution.step is not None:
        number = distribution.low + distribution.step * round((number - distribution.low) / distribution.step)
    return distribution.to_external_repr(min(max(number, distribution.low), distribution.high))


def _ends(distribution: _Range) -> tuple[float, float]:
    """Of the range in which each step has its share, on the scale on which it is drawn."""
    beyond = (distribution.step or 0) / 2
    low, high = distribution.low - beyond, distribution.high + beyond
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def _places(distribution: _Range, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values of a range -> [0, 1]; all in its middle where it is a single one."""
    low, high = _ends(distribution)
    scaled = np.log(values) if distribution.log else values
    return (scaled - low) / (high - low) if high > low else np.full(len(values), 0.5)
