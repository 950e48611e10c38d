"""What a study tries before its sampler chooses: the default configuration, a file's, an older study's best."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution

from models._spec import Model
from search.comparison import Comparison, space_of
from search.errors import UsageError
from studies.results import ORIGIN, ranking, summarise

WARM_START_TRIALS = 5
"""So many of the best configurations of an older study are tried first."""


def enqueue_first(study: optuna.Study, model: Model, file: Path | None, older: optuna.Study | None) -> None:
    """Enqueues what the study has not tried yet; call it under the study's lease.

    Raises:
        UsageError: a configuration of the file lies outside the space.
    """
    _enqueue(study, dict(model.default), "default")
    for params in read_configurations(file, model) if file is not None else []:
        _enqueue(study, params, "file")
    space = _distributions(model)
    for trial in ranking(summarise(older).trials)[:WARM_START_TRIALS] if older is not None else []:
        inside = {name: value for name, value in trial.params.items() if name in space and _holds(space[name], value)}
        _enqueue(study, inside, "warm start")


def read_configurations(file: Path, model: Model) -> list[dict[str, Any]]:
    """The configurations for this model in a JSON file: a list, or lists by model.

    Raises:
        UsageError: not JSON of that form, an unknown parameter, or a value outside the space.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--enqueue {file} cannot be read as JSON: {error}") from error
    listed = content.get(model.name, []) if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UsageError(
            f"--enqueue {file} holds no list of configurations: expected [{{...}}] or {{{model.name!r}: [{{...}}]}}"
        )
    for entry in listed:
        _check(entry, _distributions(model), f"--enqueue {file}")
    return listed


def older_study(comparison: Comparison, name: str, model: str) -> optuna.Study:
    """The study of this model in the comparison that a search starts from.

    Raises:
        UsageError: there is none.
    """
    older = Comparison(name, comparison.folder.parent / name, comparison.storage, comparison.ledger)
    if model not in older.models():
        raise UsageError(f"--warm-start {name}: the database holds no study {older.study_name(model)}")
    return older.load_study(model)


def _enqueue(study: optuna.Study, params: dict[str, Any], origin: str) -> None:
    study.enqueue_trial(params, user_attrs={ORIGIN: origin}, skip_if_exists=True)


def _distributions(model: Model) -> dict[str, BaseDistribution]:
    return {name: json_to_distribution(text) for name, text in space_of(model).items()}


def _check(params: Mapping[str, Any], space: Mapping[str, BaseDistribution], where: str) -> None:
    for name, value in params.items():
        if name not in space:
            raise UsageError(f"{where}: {name!r} is no parameter of this model; its parameters are {', '.join(space)}")
        if not _holds(space[name], value):
            raise UsageError(f"{where}: {name} = {value!r} lies outside {space[name]}")


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False
