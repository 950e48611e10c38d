"""Writes what is set of a trial in one transaction.

Optuna writes one parameter, one attribute and one value a transaction: for the thirty or more of them that a trial
has, that took longer than all else that a driver does (LOG.md), and a driver that dies between two of them leaves a
trial that is half described.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from optuna.storages import RDBStorage

from studies.storage._rdb import PatientStorage


def at_once(storage: RDBStorage, trial_id: int) -> AbstractContextManager[object]:
    """What is set of a trial within the block is written at its end, all or nothing; nothing where the block raises.

    Optuna's own calls on the study and the trial may do the setting. Reading within the block finds what was there
    before it.

    Args:
        storage: of the study.
        trial_id: Optuna's id of the trial, not its number in the study.

    Raises:
        UpdateFinishedTrialError: the trial has ended, for example by hand.
    """
    assert isinstance(storage, PatientStorage)  # what studies.storage.studies opens
    return storage.at_once(trial_id)


def set_attributes(storage: RDBStorage, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Sets user attributes of a trial that is not finished; arguments and errors as for ``at_once``."""
    with at_once(storage, trial_id):
        for key, value in attributes.items():
            storage.set_trial_user_attr(trial_id, key, value)
