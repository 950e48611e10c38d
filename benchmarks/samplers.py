"""Which sampler finds better configurations: searches of surrogates that are fitted to studies which have ended.

    python -m benchmarks.samplers sqlite:///PATH [sqlite:///PATH ...] [--seeds 6]

A surrogate is a forest of extremely randomised trees, fitted to the values that a study's trials have at its first
rung, since weaker ones have no later ones. A search asks it for values, to which normal noise is added (``--noise``:
what another seed of the same configuration changes, LOG.md), begins with the default configuration, as ours does, and
prunes nothing. Told is the value without noise of the configuration whose value with noise is the best so far, less
that of the study's default; and the mean of all trials. Misled are searches that take for their default what the
surrogate values least of 50 random configurations. Standard errors are over studies; differences from tpe are by
study, so that it does not count how hard one is.

It reads databases and writes nothing. A forest foretells no value above the best that was seen, and where a study's
best trial was its default, there is next to nothing to gain.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from rich.console import Console
from rich.table import Table

from models._spec import draws_none
from studies.storage.space import SharedSpace
from studies.storage.studies import make_sampler, open_existing, quiet_optuna

SAMPLERS = ("random", "tpe", "prior")
TOLD = (10, 20, 30, 50)
"""Numbers of trials after which the best is told."""
TREES, FEWEST = 50, 15
RANDOM = 50  # configurations of which the worst misleads
Floats = npt.NDArray[np.float64]
Params = Mapping[str, Any]


@dataclass(frozen=True)
class Surrogate:
    """What stands for the training of a study's configurations.

    Attributes:
        name: of the study, with its database's number.
        space: what is searched.
        default: the configuration that the study began with.
        value: of a configuration, without noise.
    """

    name: str
    space: dict[str, BaseDistribution]
    default: Params
    value: Callable[[Params], float]


def surrogate(name: str, trials: Sequence[FrozenTrial]) -> Surrogate | None:
    """Of a study, whose first trial is its default; None where fewer than ``FEWEST`` trials have passed its rung."""
    from sklearn.ensemble import ExtraTreesRegressor  # takes a second to import

    rung = min((trial.last_step for trial in trials if trial.last_step is not None), default=0)
    told = [trial for trial in trials if rung in trial.intermediate_values]
    if len(told) < FEWEST:
        return None
    space = {key: one for key, one in sorted(told[0].distributions.items()) if not one.single()}
    rows = np.array([_row(space, trial.params) for trial in told])
    values = np.array([trial.intermediate_values[rung] for trial in told])
    forest = ExtraTreesRegressor(TREES, random_state=0).fit(rows, values)
    trees = [tree.tree_ for tree in forest.estimators_]

    def value(params: Params) -> float:
        row = np.array([_row(space, params)], np.float32)
        return float(np.mean([tree.predict(row) for tree in trees]))

    return Surrogate(name, space, {key: told[0].params[key] for key in space}, value)


def _row(space: Mapping[str, BaseDistribution], params: Params) -> list[float]:
    """Numbers for a forest: a column for each choice, logarithms where they are drawn, 0 for none."""
    return [number for name, one in space.items() for number in _numbers(one, params[name])]


def _numbers(one: BaseDistribution, value: Any) -> list[float]:
    if isinstance(one, CategoricalDistribution):
        return [float(value == choice) for choice in one.choices]
    if isinstance(one, FloatDistribution) and draws_none(one.low, one.high):
        return [max(0.0, float(value))]
    return [float(np.log(value)) if getattr(one, "log", False) else float(value)]


def search(surrogate: Surrogate, kind: str, default: Params, *, trials: int, noise: float, seed: int) -> Floats:
    """Values of a search with a sampler of this kind.

    Returns:
        (trials, 2): without noise, and with it.
    """
    study, space = optuna.create_study(study_name=surrogate.name, direction="maximize"), SharedSpace()
    study.enqueue_trial(dict(default))
    luck = np.random.default_rng(seed)
    found = np.empty((trials, 2))
    for number in range(trials):
        study.sampler = make_sampler(kind, 1000 * seed + number, space, default)
        trial = study.ask(surrogate.space)
        found[number] = surrogate.value(trial.params)
        found[number, 1] += noise * luck.normal()
        study.tell(trial, found[number, 1])
    return found


def worst(surrogate: Surrogate) -> Params:
    """Of ``RANDOM`` configurations that which the surrogate values least."""
    study = optuna.create_study(study_name=surrogate.name, sampler=RandomSampler(seed=0))
    some = [study.ask(surrogate.space).params for _ in range(RANDOM)]
    return min(some, key=surrogate.value)


def summary(found: Floats) -> list[float]:
    """Of a search's values: those of the best by noisy value after ``TOLD`` trials, then the mean of all."""
    bests = [found[int(np.argmax(found[:many, 1])), 0] for many in TOLD if many <= len(found)]
    return [*map(float, bests), float(found[:, 0].mean())]


def compared(surrogate: Surrogate, *, misled: bool, trials: int, noise: float, seeds: int) -> Floats:
    """Means over seeds, less the value of the study's default.

    Returns:
        (samplers, columns): of ``SAMPLERS`` and ``summary``.
    """
    default = worst(surrogate) if misled else surrogate.default
    found = [
        [summary(search(surrogate, kind, default, trials=trials, noise=noise, seed=seed)) for seed in range(seeds)]
        for kind in SAMPLERS
    ]
    return np.mean(found, axis=1) - surrogate.value(surrogate.default)


def surrogates(urls: Sequence[str]) -> list[Surrogate]:
    """Of all studies in these databases that have trials enough."""
    found = []
    for place, url in enumerate(urls):
        storage = open_existing(url)
        for name in optuna.get_all_study_names(storage):
            trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
            found.append(surrogate(f"{place + 1}/{name}", trials))
        storage.engine.dispose()
    return [one for one in found if one is not None]


def main(argv: Sequence[str] | None = None) -> int:
    """Compares and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__.splitlines()[0])
    parser.add_argument("databases", nargs="+", help="sqlite:///PATH of studies that have ended")
    parser.add_argument("--seeds", type=int, default=6, help="searches of each sampler in each study")
    parser.add_argument("--trials", type=int, default=max(TOLD), help="of a search")
    parser.add_argument("--noise", type=float, default=0.006, help="standard deviation of a value between seeds")
    typed = parser.parse_args(argv)
    console = Console(width=120)
    with quiet_optuna():
        worlds = surrogates(typed.databases)
        console.print(
            f"{len(worlds)} studies ({', '.join(one.name for one in worlds)}), {typed.seeds} seeds, noise {typed.noise}"
        )
        for misled in (False, True):
            told = [
                compared(one, misled=misled, trials=typed.trials, noise=typed.noise, seeds=typed.seeds)
                for one in worlds
            ]
            console.print(_table(np.array(told), "misled" if misled else "the study's own default", typed.trials))
    return 0


def _table(told: Floats, title: str, trials: int) -> Table:
    """``told`` is (studies, samplers, columns)."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    columns = [*(f"after {many}" for many in TOLD if many <= trials), "mean of all trials"]
    for heading in ("sampler", *columns):
        table.add_column(heading, justify="left" if heading == "sampler" else "right")
    for place, kind in enumerate(SAMPLERS):
        table.add_row(kind, *map(_figure, told[:, place].T))
    for kind in ("random", "prior"):
        apart = told[:, SAMPLERS.index(kind)] - told[:, SAMPLERS.index("tpe")]
        table.add_row(f"{kind} - tpe", *map(_figure, apart.T))
    return table


def _figure(values: Floats) -> str:
    """Mean and standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():+.4f} ({error:.4f})"


if __name__ == "__main__":
    sys.exit(main())
