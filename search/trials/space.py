"""A model's search space as one search has it: fixed, narrowed or widened, as ``--set`` and ``--space`` ask for it.

A model's file says what it searches by itself, and how much more it allows. What a search makes of it stands in the
space of the study's definition, so that trials of two spaces are never mixed. Whoever reads stored parameters back
needs to know nothing of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from shlex import quote
from typing import Any, NoReturn

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from data_utils.command import did_you_mean
from data_utils.files import shown
from models._registry import load_model
from models._spec import Model, ModelConfig, ParamValue, TrialLike, draws_none
from search.command.extents import Extent
from search.comparison import load_models, space_of
from search.errors import UsageError
from search.trials.enqueue import as_drawn
from studies.storage.studies import holds

NONE = "none"
Range = FloatDistribution | IntDistribution


def searched_models(names: tuple[str, ...], space: Sequence[Extent]) -> list[Model]:
    """The models of these names, each with its part of the space and a default configuration that lies in it.

    Raises:
        UsageError: a model has no such parameter, or allows less.
    """
    return [within(model, [one for one in space if one.model == model.name]) for model in load_models(names)]


def within(model: Model, extents: Sequence[Extent]) -> Model:
    """The model with parameters of these extents.

    Raises:
        UsageError: as above.
    """
    if not extents:
        return model
    usual = _distributions(space_of(model))
    asked = {one.parameter: _asked(one, usual, model) for one in extents}

    def suggest(trial: TrialLike) -> ModelConfig:
        return model.suggest(_Within(trial, asked))

    nearest = {name: _nearest(part, model.default[name]) for name, part in asked.items()}
    return replace(model, suggest=suggest, default={**model.default, **nearest})


def moved_defaults(model: Model, extents: Sequence[Extent]) -> str:
    """In a line, what of the default configuration a search begins from elsewhere; "" where nothing is."""
    usual, searched = load_model(model.name).default, [one for one in extents if one.model == model.name]
    moved = [
        f"{one.parameter} {_value_in_words(model.default[one.parameter])} instead of {usual[one.parameter]}"
        for one in searched
        if len(one.values) > 1 and model.default[one.parameter] != usual[one.parameter]
    ]
    outside = "its default lies" if len(moved) == 1 else "its defaults lie"
    return f"{model.name} begins with {', '.join(moved)}: {outside} outside of this space" if moved else ""


def widest_space(model: Model) -> dict[str, str]:
    """Every parameter's distribution as Optuna's JSON, as far as the model allows a search to widen it."""
    return {
        name: distribution_to_json(_widest(distribution, model.allowed.get(name)))
        for name, distribution in _distributions(space_of(model)).items()
    }


def none_parameters(model: Model) -> list[str]:
    """Those whose 0 is none at all, and is stored as any number below it."""
    usual = _distributions(space_of(load_model(model.name)))
    return [name for name, distribution in usual.items() if _zero_is_none(distribution)]


def ways_on(model: Model, space: Sequence[Extent]) -> dict[str, dict[str, str]]:
    """By parameter and end ("lower", "upper"): what to type for a search that goes on beyond it; "" where it cannot.

    Args:
        model: as it was searched.
        space: of that search, of which all else stays as it is.
    """
    widest = _distributions(widest_space(load_model(model.name)))

    def way(name: str, now: Range, *, upper: bool) -> str:
        ends = _ends_beyond(now, widest[name], upper=upper)
        others = [one for one in space if (one.model, one.parameter) != (model.name, name)]
        wider = [] if ends is None else [Extent(model.name, name, ends, ranged=True)]
        return f"--set {quote(','.join(map(str, (*others, *wider))))}" if wider else ""

    return {
        name: {"lower": way(name, now, upper=False), "upper": way(name, now, upper=True)}
        for name, now in _distributions(space_of(model)).items()
        if isinstance(now, Range) and not now.single()
    }


def _ends_beyond(now: Range, widest: BaseDistribution, *, upper: bool) -> tuple[float, float] | None:
    """The ends of a range that goes on as far as the model allows at one of them; None where it does already."""
    assert isinstance(widest, Range)
    ends = (now.low, widest.high) if upper else (widest.low, now.high)
    if ends == (now.low, now.high):
        return None
    return (max(0.0, ends[0]), ends[1]) if _zero_is_none(widest) else ends


def in_words(distribution: BaseDistribution) -> str:
    """Such as "0.001 to 0.1 (log)", "none, or up to 0.2" and "3 | 5"."""
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(str(choice) for choice in distribution.choices)
    assert isinstance(distribution, Range)
    if draws_none(distribution.low, distribution.high):
        return f"none, or up to {distribution.high:g}"
    return f"{distribution.low:g} to {distribution.high:g}{' (log)' if distribution.log else ''}"


class _Within:
    """A trial that is asked for less, or for more, than the model asks for."""

    def __init__(self, trial: TrialLike, asked: Mapping[str, BaseDistribution]) -> None:
        self._trial = trial
        self._asked = asked

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """One in the asked range, or of the asked choices; else in [low, high]."""
        asked = self._asked.get(name, FloatDistribution(low, high, log=log))
        return float(self._drawn(name, asked))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """As ``suggest_float``."""
        asked = self._asked.get(name, IntDistribution(low, high, log=log))
        return int(self._drawn(name, asked))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the asked choices; else of these."""
        return self._drawn(name, self._asked.get(name, CategoricalDistribution(choices)))

    def _drawn(self, name: str, asked: BaseDistribution) -> Any:
        if isinstance(asked, CategoricalDistribution):
            return self._trial.suggest_categorical(name, asked.choices)
        if isinstance(asked, IntDistribution):
            return self._trial.suggest_int(name, asked.low, asked.high, log=asked.log)
        assert isinstance(asked, FloatDistribution)
        return self._trial.suggest_float(name, asked.low, asked.high, log=asked.log)


def _asked(one: Extent, usual: Mapping[str, BaseDistribution], model: Model) -> BaseDistribution:
    """What is drawn of a parameter.

    Raises:
        UsageError: the model has none of this name, or allows less.
    """
    if one.parameter not in usual:
        raise UsageError(
            f"{one.where} {one.model}.{one.parameter}: {shown(repr(one.parameter))} is no parameter of this model"
            f"{did_you_mean(one.parameter, usual)}; its parameters are {', '.join(usual)}"
        )
    now = usual[one.parameter]
    widest = _widest(now, model.allowed.get(one.parameter))
    values = [_number(value, now) for value in one.values]
    for value in values:
        below_none = _zero_is_none(now) and not isinstance(value, str) and value < 0  # stored so, and never typed
        if below_none or not holds(widest, value):
            _refuse(one, value, widest)
    drawn = [as_drawn(widest, value) for value in values]
    if one.ranged and isinstance(now, CategoricalDistribution):
        choices = "/".join(str(choice) for choice in _choices(widest))
        raise UsageError(f"{one.where} {one}: {one.parameter} is a choice, no range; name some of {choices}")
    if one.ranged:
        return _range(now, *drawn)
    if len(drawn) == 1 and not isinstance(now, CategoricalDistribution):
        return _range(now, drawn[0], drawn[0])
    return CategoricalDistribution(drawn)


def _range(like: BaseDistribution, low: Any, high: Any) -> BaseDistribution:
    """From one end to the other; from 0 on where 0 is none, none is drawn as well."""
    if isinstance(like, IntDistribution):
        return IntDistribution(low, high, log=like.log)
    assert isinstance(like, FloatDistribution)
    return FloatDistribution(-high / 4 if _zero_is_none(like) and low == 0 < high else low, high, log=like.log)


def _choices(distribution: BaseDistribution) -> Sequence[Any]:
    return distribution.choices if isinstance(distribution, CategoricalDistribution) else ()


def _zero_is_none(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution) and draws_none(distribution.low, distribution.high)


def _number(value: ParamValue, distribution: BaseDistribution) -> ParamValue:
    """The value, with the word for none as the number that it is; a truth value is no number."""
    if _zero_is_none(distribution) and value == NONE:
        return 0.0
    return str(value) if isinstance(value, bool) and isinstance(distribution, Range) else value


def _refuse(one: Extent, value: ParamValue, widest: BaseDistribution) -> NoReturn:
    choices = _choices(widest)
    among_numbers = choices and _numbers(value, choices)
    nearest = f"; the nearest is {_value_in_words(_nearest(widest, value))}" if among_numbers else ""
    meant = nearest or did_you_mean(str(value), map(str, choices))
    raise UsageError(
        f"{one.where} {one.model}.{one.parameter}: {shown(repr(value))} is not allowed{meant}; {one.model} allows "
        f"{in_words(widest)}"
    )


def _widest(usual: BaseDistribution, allowed: Sequence[Any] | None) -> BaseDistribution:
    if allowed is None:
        return usual
    if isinstance(usual, CategoricalDistribution):
        return CategoricalDistribution(allowed)
    low, high = allowed
    assert isinstance(usual, Range)
    return type(usual)(low, high, log=usual.log)


def _nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value, or what lies next to it in a distribution; of choices that are no numbers the first."""
    if not isinstance(distribution, CategoricalDistribution):
        assert isinstance(distribution, Range)
        return as_drawn(distribution, min(max(value, distribution.low), distribution.high))
    if value in distribution.choices or not _numbers(value, distribution.choices):
        return value if value in distribution.choices else distribution.choices[0]
    return min(distribution.choices, key=lambda choice: abs(float(choice or 0) - float(value)))


def _numbers(value: Any, choices: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float) for one in (value, *choices))


def _value_in_words(value: ParamValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _distributions(space: Mapping[str, str]) -> dict[str, BaseDistribution]:
    return {name: json_to_distribution(text) for name, text in space.items()}
