"""What a study tries before its sampler chooses: the default configuration and those of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution

from data_utils.command import did_you_mean
from data_utils.errors import DataError
from data_utils.files import parse_json, read_small, shown
from models._spec import Model, ParamValue
from search.comparison import space_of
from search.errors import UsageError
from studies.storage.results import ORIGIN
from studies.storage.studies import holds

_LARGEST = 4 * 2**20  # bytes of a file of configurations
_MOST_VALUES = 100_000  # in it
_MOST_CONFIGURATIONS = 1000  # more than a search tries; enqueuing takes time that grows with their square


def enqueue_first(study: optuna.Study, model: Model, file: Path | None) -> None:
    """Enqueues what the study has not tried yet; call it under the study's lease.

    Raises:
        UsageError: a configuration of the file lies outside the space.
    """
    space = _distributions(space_of(model))
    enqueue(study, model.default, space, "default")
    for params in read_configurations(file, model) if file is not None else []:
        enqueue(study, params, space, "file")


def read_configurations(file: Path, model: Model) -> list[dict[str, Any]]:
    """The configurations for this model in a JSON file: a list, or lists by model.

    Raises:
        UsageError: not JSON of that form, an unknown parameter, or a value outside the space.
    """
    try:
        content = parse_json(read_small(file, _LARGEST), _MOST_VALUES)
    except (DataError, ValueError) as error:
        raise UsageError(f"--enqueue {file} cannot be read as JSON: {error}") from error
    listed = content.get(model.name, []) if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UsageError(
            f"--enqueue {file} holds no list of configurations: expected [{{...}}] or {{{model.name!r}: [{{...}}]}}"
        )
    if len(listed) > _MOST_CONFIGURATIONS:
        raise UsageError(
            f"--enqueue {file} holds {len(listed)} configurations; expected at most {_MOST_CONFIGURATIONS}: "
            "leave the weaker ones out"
        )
    space = space_of(model)
    for entry in listed:
        check_inside(entry, space, f"--enqueue {file}")
    return listed


def enqueue(study: optuna.Study, params: Mapping[str, Any], space: Mapping[str, BaseDistribution], origin: str) -> None:
    """Once, however a number is written."""
    drawn = {name: as_drawn(space[name], value) for name, value in params.items()}
    study.enqueue_trial(drawn, user_attrs={ORIGIN: origin}, skip_if_exists=True)


def as_drawn(distribution: BaseDistribution, value: ParamValue) -> Any:
    """The value in the type in which the space has it: 0 for a choice of 0.0 and 0.1 is 0.0."""
    return distribution.to_external_repr(distribution.to_internal_repr(value))


def check_inside(params: Mapping[str, Any], space: Mapping[str, str], where: str) -> None:
    """Refuses parameters that a model does not have, and values outside of its space.

    Args:
        params: by name; need not be all.
        space: as ``space_of`` gives it.
        where: they come from, for the message.

    Raises:
        UsageError: the first that is wrong.
    """
    for name, value in params.items():
        if name not in space:
            raise UsageError(
                f"{where}: {shown(repr(name))} is no parameter of this model{did_you_mean(name, space)}; its "
                f"parameters are {', '.join(space)}"
            )
        distribution = json_to_distribution(space[name])
        if not holds(distribution, value):
            raise UsageError(f"{where}: {name} = {shown(repr(value))} lies outside {distribution}")


def _distributions(space: Mapping[str, str]) -> dict[str, BaseDistribution]:
    return {name: json_to_distribution(text) for name, text in space.items()}
