"""What is to be written of one trial, in one transaction; the tables are Optuna's."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from sys import intern
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from studies.errors import NotStoredError
from studies.storage._optuna import PARAMS, STEPS, SYSTEM, TRIALS, USER, VALUES, step_of, stored_step, stored_value
from studies.storage._reading import copied, distribution_of
from studies.storage.sql import upsert

_OPEN = (TrialState.RUNNING, TrialState.WAITING)
_KEYS: dict[sa.Table, str] = {PARAMS: "param_name", STEPS: "step", USER: "key", SYSTEM: "key", VALUES: "objective"}
"""By what a row of each table is known within its trial."""
_THIS = TRIALS.update().where(TRIALS.c.trial_id == sa.bindparam("trial"), TRIALS.c.state.in_(_OPEN))
_GOES_ON = _THIS.values(state=TRIALS.c.state)
_ENDS = _THIS.values(state=sa.bindparam("how"), datetime_complete=sa.bindparam("now"))


class Draft:
    """Collects what is set of a trial; the last word counts where something is set twice."""

    def __init__(self, storage: RDBStorage, trial_id: int) -> None:
        """Nothing yet."""
        self.storage = storage
        self.trial_id = trial_id
        self.state: TrialState | None = None  # that the trial ends in
        self.values: Sequence[float] | None = None
        self._rows: dict[sa.Table, dict[Any, dict[str, Any]]] = defaultdict(dict)

    def param(self, name: str, value: float, distribution: BaseDistribution) -> None:
        """A parameter, as Optuna represents it."""
        self._set(PARAMS, name, param_value=value, distribution_json=distribution_to_json(distribution))

    def step(self, step: int, value: float) -> None:
        """The value after a step."""
        stored, kind = stored_step(value)
        self._set(STEPS, step, intermediate_value=stored, intermediate_value_type=kind)

    def user(self, key: str, value: Any) -> None:
        """A user attribute."""
        self._set(USER, key, value_json=json.dumps(value))

    def system(self, key: str, value: Any) -> None:
        """A system attribute, such as the rung that a pruner notes."""
        self._set(SYSTEM, key, value_json=json.dumps(value))

    def end(self, state: TrialState, values: Sequence[float] | None) -> None:
        """How the trial ends."""
        self.state, self.values = state, values
        for objective, value in enumerate(values or ()):
            stored, kind = stored_value(value)
            self._set(VALUES, objective, value=stored, value_type=kind)

    def _set(self, table: sa.Table, key: Any, **values: Any) -> None:
        self._rows[table][key] = {"trial_id": self.trial_id, _KEYS[table]: key, **values}

    def write(self, connection: Connection) -> int:
        """All of it; the id of the trial.

        Raises:
            NotStoredError: there is no such trial.
            UpdateFinishedTrialError: it has ended; nothing is written.
        """
        if self._rows or self.state is not None:
            self._take(connection)
        for table, rows in self._rows.items():
            statement = upsert(connection, table, list(next(iter(rows.values()))), ["trial_id", _KEYS[table]])
            connection.execute(statement, list(rows.values()))
        return self.trial_id

    def upon(self, trial: FrozenTrial) -> FrozenTrial:
        """A running trial as it is read once this is written of it; a copy, as others may hold what was read before."""
        changed = copied(trial)
        for name, row in self._rows.get(PARAMS, {}).items():
            changed.distributions[intern(name)] = kind = distribution_of(row["distribution_json"])
            changed.params[intern(name)] = kind.to_external_repr(row["param_value"])
        for step, row in self._rows.get(STEPS, {}).items():
            changed.intermediate_values[step] = step_of(row["intermediate_value"], row["intermediate_value_type"])
        for table, attributes in ((USER, changed.user_attrs), (SYSTEM, changed.system_attrs)):
            rows = self._rows.get(table, {})
            attributes.update({intern(key): json.loads(row["value_json"]) for key, row in rows.items()})
        return changed

    def _take(self, connection: Connection) -> None:
        """Sets the state, which nobody else can do until the transaction ends; also where it stays as it is."""
        if self.state is None:
            done = connection.execute(_GOES_ON, {"trial": self.trial_id})
        else:
            done = connection.execute(_ENDS, {"trial": self.trial_id, "how": self.state, "now": _now()})
        if not done.rowcount:
            _check_open(connection, self.trial_id)


def set_open(connection: Connection, trial_id: int, state: TrialState) -> bool:
    """Sets WAITING or RUNNING; whether it is so by this call, as only one can take a trial that waits.

    Raises:
        NotStoredError: there is no such trial.
        UpdateFinishedTrialError: it has ended.
    """
    taken = state == TrialState.RUNNING
    before = (TrialState.WAITING,) if taken else _OPEN
    changed = {"state": state, "datetime_start": _now()} if taken else {"state": state}
    this = TRIALS.update().where(TRIALS.c.trial_id == trial_id, TRIALS.c.state.in_(before))
    if connection.execute(this.values(changed)).rowcount:
        return True
    _check_open(connection, trial_id)
    return False


def _check_open(connection: Connection, trial_id: int) -> None:
    state = connection.execute(sa.select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id)).scalar()
    if state is None:
        raise NotStoredError(f"a trial of id {trial_id}")
    if state not in _OPEN:
        raise UpdateFinishedTrialError(f"trial {trial_id} has ended: {state.name}")


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # as Optuna stores it
