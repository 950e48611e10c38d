"""Writes what a trial has to say of itself in one transaction.

Optuna writes one attribute a transaction: for the ten that each trial leaves, that took longer than all else at its
end (LOG.md). The table is Optuna's; a test reads what is written here through Optuna.
"""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage

from studies._sql import upsert

_trials = sa.table("trials", sa.column("trial_id"), sa.column("state"))
_attributes = sa.table(
    "trial_user_attributes", sa.column("trial_id"), sa.column("key"), sa.column("value_json", sa.Text)
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
    with storage.engine.begin() as connection:
        state = connection.execute(sa.select(_trials.c.state).where(_trials.c.trial_id == trial_id)).scalar_one()
        if state not in ("RUNNING", "WAITING"):
            raise UpdateFinishedTrialError(f"trial {trial_id} has ended: {state}")
        connection.execute(upsert(connection, _attributes, rows, ["trial_id", "key"]))
