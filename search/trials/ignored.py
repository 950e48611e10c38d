"""Parameters that a space draws although the configuration does not need them, as the rate of the other optimizer."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from models._spec import Model, ParamValue


def ignored(model: Model, params: Mapping[str, ParamValue], distributions: Mapping[str, BaseDistribution]) -> list[str]:
    """Names of the parameters whose other values make the same configuration; asked of the model, never written twice.

    Args:
        model: whose space it is.
        params: all of a trial.
        distributions: from which they were drawn.
    """
    config = model.configuration(params)

    def makes_no_difference(name: str) -> bool:
        others = _others(distributions[name], params[name])
        return bool(others) and all(model.configuration({**params, name: value}) == config for value in others)

    return [name for name in params if makes_no_difference(name)]


def _others(distribution: BaseDistribution, value: ParamValue) -> list[ParamValue]:
    """Other values: all choices, or the ends of a range; none where one value is held."""
    values: list[ParamValue] = []
    if isinstance(distribution, CategoricalDistribution):
        values = [choice for choice in distribution.choices if choice is not None]
    elif isinstance(distribution, FloatDistribution | IntDistribution):
        values = [distribution.low, distribution.high]
    return [other for other in values if other != value]
