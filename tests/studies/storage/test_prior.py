"""The sampler that believes in the default: near to it at first, less and less, and little worse where it is wrong."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from studies.storage._prior import FAVOUR, LEAST, STARTUP, centre_of, drawn, log_prior, trust
from studies.storage.space import SharedSpace
from studies.storage.studies import make_sampler

UNIT = FloatDistribution(0, 1)
NUMBERS: dict[str, BaseDistribution] = {f"x{place}": UNIT for place in range(20)}
MIXED: dict[str, BaseDistribution] = {
    **{f"x{place}": UNIT for place in range(6)},
    **{f"c{place}": CategoricalDistribution((0, 1, 2)) for place in range(4)},
}
Value = Callable[[Mapping[str, Any]], float]


def search(
    space: dict[str, BaseDistribution],
    default: Mapping[str, Any],
    value: Value,
    *,
    kind: str = "prior",
    trials: int = STARTUP,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Configurations of a search whose trials have a sampler each, as ours have; the default is not tried first."""
    study, shared = optuna.create_study(direction="maximize"), SharedSpace()
    for number in range(trials):
        study.sampler = make_sampler(kind, 1000 * seed + number, shared, default)
        trial = study.ask(space)
        study.tell(trial, value(trial.params))
    return [trial.params for trial in study.trials]


def untold(params: Mapping[str, Any]) -> float:
    """A value that tells nothing."""
    return 0.5


def far(some: list[dict[str, Any]]) -> float:
    """The mean distance of numbers from 0."""
    return float(np.mean([list(params.values()) for params in some]))


def test_the_belief_counts_less_with_every_trial() -> None:
    told = [trust(ended) for ended in range(51)]
    assert told[0] == 1
    assert told[5] == 0.5
    assert all(later < sooner for sooner, later in pairwise(told))
    assert told[50] < 0.1


def test_the_first_trials_lie_nearer_to_the_default_than_uniform_ones_and_less_so_the_more_there_are() -> None:
    default = dict.fromkeys(NUMBERS, 0.0)
    found = [search(NUMBERS, default, untold, seed=seed) for seed in range(30)]
    uniform = [search(NUMBERS, default, untold, kind="tpe", seed=seed) for seed in range(30)]
    first, last = (far([trials[place] for trials in found]) for place in (0, STARTUP - 1))
    assert first == pytest.approx(0.2, abs=0.02)  # that of half a normal of a width of .25
    assert far([params for trials in uniform for params in trials]) == pytest.approx(0.5, abs=0.02)
    assert first + 0.1 < last < 0.48


def test_a_first_trial_is_one_of_the_prior_as_a_whole_or_not_at_all() -> None:
    default = dict.fromkeys(NUMBERS, 0.0)
    means = [far([params]) for seed in range(10) for params in search(NUMBERS, default, untold, seed=seed)]
    assert not [mean for mean in means if 0.3 < mean < 0.33]
    assert 0.3 < np.mean([mean < 0.3 for mean in means]) < 0.9


def test_of_many_trials_at_a_time_the_later_ones_are_not_all_of_the_prior() -> None:
    default = dict.fromkeys(NUMBERS, 0.0)
    study, shared = optuna.create_study(direction="maximize"), SharedSpace()
    means = []
    for number in range(64):
        study.sampler = make_sampler("prior", number, shared, default)
        means.append(far([study.ask(NUMBERS).params]))
    assert means[0] < 0.3
    assert 0 < np.mean([mean < 0.3 for mean in means[32:]]) < 0.4


def test_later_trials_keep_nearer_to_the_default_where_values_tell_nothing() -> None:
    default = dict.fromkeys(MIXED, 0)

    def mean(kind: str) -> float:
        found = [search(MIXED, default, untold, kind=kind, trials=STARTUP + 6, seed=seed) for seed in range(12)]
        return far([params for trials in found for params in trials[STARTUP:]])

    assert mean("prior") < mean("tpe") - 0.1


def test_the_same_seed_draws_the_same_trials() -> None:
    default = dict.fromkeys(MIXED, 0)
    once, again, other = (
        search(MIXED, default, lambda params: params["x0"], trials=20, seed=seed) for seed in (1, 1, 2)
    )
    assert once == again
    assert once != other


def test_without_a_default_it_is_tpe() -> None:
    plain, bare = (
        search(MIXED, {}, lambda params: params["x0"], kind=kind, trials=20, seed=3) for kind in ("tpe", "prior")
    )
    assert plain == bare


@pytest.mark.parametrize(
    ("distribution", "value", "centre"),
    [
        (UNIT, 0.25, 0.25),
        (UNIT, -3, 0.0),
        (UNIT, 7.5, 1.0),
        (FloatDistribution(1e-4, 1e-2, log=True), 1e-3, 0.5),
        (FloatDistribution(-0.05, 0.2), 0.0, 0.2),  # 0 is none here, and drawn below as well
        (IntDistribution(1, 4), 1, 0.125),  # each has its share of the range
        (IntDistribution(3, 3), 3, 0.5),
        (CategoricalDistribution(("a", "b", "c")), "c", 2.0),
        (CategoricalDistribution(("a", "b")), "c", None),
        (UNIT, None, None),
        (UNIT, "adamw", None),
        (UNIT, True, None),
    ],
)
def test_the_middle_of_the_prior_is_the_default_or_what_lies_next_to_it(
    distribution: BaseDistribution, value: Any, centre: float | None
) -> None:
    assert centre_of(distribution, value) == (None if centre is None else pytest.approx(centre))


def test_the_prior_falls_with_the_distance_and_never_below_its_least() -> None:
    rates = FloatDistribution(1e-4, 1e-2, log=True)
    told = log_prior(rates, 0.5, np.array([1e-3, 3e-3, 1e-2, 1e-4]))
    assert told[0] == pytest.approx(0)
    assert told[0] > told[1] > told[2] > math.log(LEAST)
    assert told[2] == pytest.approx(told[3])
    choices = log_prior(CategoricalDistribution(("a", "b", "c")), 1, np.array([0.0, 1.0, 2.0]))
    other = math.log(LEAST + (1 - LEAST) / FAVOUR)
    assert choices.tolist() == pytest.approx([other, 0, other])


@pytest.mark.parametrize(
    ("distribution", "centre"),
    [
        (IntDistribution(1, 100, log=True), 0.0),
        (IntDistribution(3, 9, step=2), 1.0),
        (IntDistribution(3, 3), 0.5),
        (FloatDistribution(-1, 1, step=0.5), 0.5),
        (FloatDistribution(1e-5, 1e-1, log=True), 1.0),
    ],
)
def test_what_is_drawn_lies_in_its_range_and_on_its_steps(
    distribution: IntDistribution | FloatDistribution, centre: float
) -> None:
    draws = np.random.default_rng(0)
    for _ in range(200):
        value = drawn(distribution, centre, draws)
        assert type(value) is (int if isinstance(distribution, IntDistribution) else float)
        assert distribution.low <= value <= distribution.high
        if distribution.step is not None:
            assert (value - distribution.low) % distribution.step == 0


def place(seed: int) -> dict[str, Any]:
    """Where the best configuration of a made-up world lies."""
    draws = np.random.default_rng(seed)
    return {
        name: int(draws.integers(3)) if isinstance(one, CategoricalDistribution) else float(draws.uniform(0.1, 0.9))
        for name, one in MIXED.items()
    }


def worth(best: Mapping[str, Any]) -> Value:
    """1 at the best configuration, 0 at one that is wrong in everything."""

    def value(params: Mapping[str, Any]) -> float:
        apart = [
            float(params[name] != at) if name.startswith("c") else (abs(params[name] - at) / max(at, 1 - at)) ** 2
            for name, at in best.items()
        ]
        return 1 - float(np.mean(apart))

    return value


def wrong(best: Mapping[str, Any]) -> dict[str, Any]:
    """The worst corner."""
    return {name: (at + 1) % 3 if name.startswith("c") else float(at < 0.5) for name, at in best.items()}


def test_a_right_belief_helps_early_and_a_wrong_one_costs_little_later() -> None:
    told: dict[str, list[tuple[float, float]]] = {"tpe": [], "right": [], "wrong": []}
    for seed in range(12):
        best = place(seed)
        value = worth(best)
        assert value(wrong(best)) == pytest.approx(0)
        for name, default in (("tpe", {}), ("right", best), ("wrong", wrong(best))):
            found = [value(params) for params in search(MIXED, default, value, trials=40, seed=seed)]
            told[name].append((max(found[:10]), max(found)))
    (early, late), (early_right, _), (_, late_wrong) = (np.mean(told[name], axis=0) for name in told)
    assert early_right > early + 0.05
    assert late_wrong > late - 0.05
