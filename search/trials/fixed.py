"""A search space with some of its parameters held at one value each, as ``--set`` asks for it.

A model's file says all that it may be; a search may want less: only the head of a frozen network where there is no GPU,
only small networks for a first try. What is held stands in the space of the study's definition like everything else,
so that trials of the whole space and of a part of it are never mixed. Whoever reads stored parameters back needs to
know nothing of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import json_to_distribution

from models._spec import Model, ModelConfig, ParamValue, TrialLike
from search.command.fixed import Fixed
from search.comparison import load_models, space_of
from search.trials.enqueue import as_drawn, check_inside


def searched_models(names: tuple[str, ...], fixed: Sequence[Fixed]) -> list[Model]:
    """The models of these names, each with what is held of it in its space and in its default configuration.

    Raises:
        UsageError: a model has no such parameter, or the value lies outside of its range.
    """
    held = {name: {one.parameter: one.value for one in fixed if one.model == name} for name in names}
    return [hold(model, held[model.name]) for model in load_models(names)]


def hold(model: Model, values: Mapping[str, ParamValue]) -> Model:
    """The model with these parameters held.

    Raises:
        UsageError: as above.
    """
    if not values:
        return model
    space = space_of(model)
    check_inside(values, space, f"--set {model.name}")
    inside = {name: as_drawn(json_to_distribution(space[name]), value) for name, value in values.items()}

    def suggest(trial: TrialLike) -> ModelConfig:
        return model.suggest(_Held(trial, inside))

    return replace(model, suggest=suggest, default={**model.default, **inside})


class _Held:
    """A trial that is asked for one value only wherever it is held."""

    def __init__(self, trial: TrialLike, values: Mapping[str, Any]) -> None:
        self._trial = trial
        self._values = values

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """The held value, or one in [low, high]."""
        return self._trial.suggest_float(name, *self._ends(name, low, high), log=log)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """The held value, or one in [low, high]."""
        return self._trial.suggest_int(name, *self._ends(name, low, high), log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The held value, or one of the choices."""
        return self._trial.suggest_categorical(name, [self._values[name]] if name in self._values else choices)

    def _ends(self, name: str, low: Any, high: Any) -> tuple[Any, Any]:
        return (self._values.get(name, low), self._values.get(name, high))
