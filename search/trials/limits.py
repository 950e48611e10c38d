"""Networks that are larger than their user wants: never trained, and known to the sampler as infeasible."""

from collections.abc import Callable, Mapping

import torch

from models._spec import Model, ParamValue
from search.training.loop import count_parameters


def above(model: Model, most: int | None) -> Callable[[Mapping[str, ParamValue]], str | None]:
    """Why a configuration is left out, told by its parameters; None for one that has at most so many weights.

    Args:
        model: that is searched.
        most: weights of its network, trained or frozen; None for no limit.
    """

    def reason(params: Mapping[str, ParamValue]) -> str | None:
        if most is None or weights_of(model, params) <= most:
            return None
        return f"more than the {most:,} weights of --max-parameters: not trained"

    return reason


def weights_of(model: Model, params: Mapping[str, ParamValue]) -> int:
    """Weights of a configuration's network, which is built without memory for them."""
    with torch.device("meta"):
        return count_parameters(model.build(model.configuration(params), None))
