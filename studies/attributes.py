"""Writes a trial's parameters, and what it has to say of itself, each in one transaction.

Optuna writes one parameter and one attribute a transaction: for the ten to twenty of each that a trial has, that took
longer than all else that a driver does (LOG.md). The tables are Optuna's; tests read what is written here through
Optuna.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import Trial
from sqlalchemy.engine import Connection

from studies._sql import upsert
from studies.patience import waits

_trials = sa.table("trials", sa.column("trial_id"), sa.column("state"))
_attributes = sa.table(
    "trial_user_attributes", sa.column("trial_id"), sa.column("key"), sa.column("value_json", sa.Text)
)
_parameters = sa.table(
    "trial_params",
    sa.column("trial_id"),
    sa.column("param_name"),
    sa.column("param_value"),
    sa.column("distribution_json", sa.Text),
)


def set_attributes(storage: RDBStorage, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Sets user attributes of a trial that is not finished.

    Args:
        storage: of the study.
        trial_id: Optuna's id of the trial, not its number in the study.
        attributes: values that JSON can hold, by name.

    Raises:
        UpdateFinishedTrialError: the trial has ended, for example by hand.
    """
    rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]
    _write(storage, trial_id, _attributes, rows, "key")


@contextmanager
def parameters_at_once(storage: RDBStorage, trial: Trial) -> Iterator[None]:
    """What the block suggests is written at its end, all or nothing.

    That a parameter's distribution is the one of earlier trials is not checked here: all trials of a study share the
    search space of its definition.

    Args:
        storage: of the study.
        trial: fresh from ``study.ask``, or one that goes on; the parameters that it has are not written again.

    Raises:
        UpdateFinishedTrialError: the trial has ended, for example by hand.
    """
    draft = _Draft(trial.storage)
    trial.storage = draft  # type: ignore[assignment]
    try:
        yield
    finally:
        trial.storage = draft.storage
    rows = [{"trial_id": trial._trial_id, **row} for row in draft.rows]
    if rows:
        _write(storage, trial._trial_id, _parameters, rows, "param_name")


class _Draft:
    """A storage that a trial asks as before, and that only collects the parameters it is told."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.rows: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)

    def set_trial_param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:  # noqa: ARG002
        self.rows.append(
            {"param_name": name, "param_value": value, "distribution_json": distribution_to_json(distribution)}
        )


@waits
def _write(storage: RDBStorage, trial_id: int, table: sa.TableClause, rows: list[dict[str, Any]], name: str) -> None:
    with storage.engine.begin() as connection:
        _check_unfinished(connection, trial_id)
        connection.execute(upsert(connection, table, rows, ["trial_id", name]))


def _check_unfinished(connection: Connection, trial_id: int) -> None:
    state = connection.execute(sa.select(_trials.c.state).where(_trials.c.trial_id == trial_id)).scalar_one()
    if state not in ("RUNNING", "WAITING"):
        raise UpdateFinishedTrialError(f"trial {trial_id} has ended: {state}")
