"""Reads Optuna's trials as plain rows.

A driver reads the unfinished trials of its study some ten times a trial. Optuna's own reading makes an object of each
row and parses each parameter's distribution twice, each time: a fifth of all that a driver did (LOG.md). The tables are
Optuna's; a test holds that what is read here is what Optuna reads.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Row

from studies.errors import NotStoredError
from studies.storage._optuna import PARAMS, STEPS, STUDIES, SYSTEM, TRIALS, USER, VALUES, step_of, value_of

_AT_ONCE = 500
"""Trials whose rows are asked for in one statement: databases limit its parameters."""

_PARTS = (PARAMS, VALUES, STEPS, USER, SYSTEM)
_ids: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_ONE = sa.select(TRIALS).where(TRIALS.c.trial_id == sa.bindparam("trial"))
_SEVERAL = (
    sa.select(TRIALS)
    .where(TRIALS.c.study_id == sa.bindparam("study"))
    .where(sa.or_(TRIALS.c.trial_id.in_(_ids), TRIALS.c.trial_id > sa.bindparam("after")))
    .order_by(TRIALS.c.trial_id)
)
_STUDY = sa.select(STUDIES.c.study_id).where(STUDIES.c.study_id == sa.bindparam("study"))
_SIBLINGS = TRIALS.alias()
_DISTRIBUTION = (
    sa.select(PARAMS.c.distribution_json)
    .join(_SIBLINGS, _SIBLINGS.c.trial_id == PARAMS.c.trial_id)
    .join(TRIALS, TRIALS.c.study_id == _SIBLINGS.c.study_id)
    .where(TRIALS.c.trial_id == sa.bindparam("trial"), PARAMS.c.param_name == sa.bindparam("name"))
    .limit(1)
)
_OF_PARTS = tuple(
    sa.select(part).where(part.c.trial_id.in_(_ids)).order_by(*part.primary_key.columns) for part in _PARTS
)
_OF_ONE = tuple(
    sa.select(part).where(part.c.trial_id == sa.bindparam("ids")).order_by(*part.primary_key.columns) for part in _PARTS
)
_Rows = list[dict[int, list[Row[Any]]]]  # of each part, by trial


class Memory:
    """Trials that this process has begun and that run, as they were read: nobody else writes of them what is kept here.

    Whoever ends one by hand, or takes it over, changes its state or its begin, which are looked at each time; from then
    on it is no trial of this process.
    """

    def __init__(self) -> None:
        """Of none."""
        self._begins: dict[int, datetime | None] = {}  # as stored; None until it is first read
        self._read: dict[int, FrozenTrial] = {}

    def begin(self, trial_id: int) -> None:
        """It runs from now on, by this process; SQLite gives the id of one that was deleted to the next."""
        self._begins[trial_id] = None
        self._read.pop(trial_id, None)

    def end(self, trial_id: int) -> None:
        """It does not any more."""
        self._begins.pop(trial_id, None)
        self._read.pop(trial_id, None)

    def forget(self, trial_id: int) -> None:
        """Something was written of it, or may have been."""
        self._read.pop(trial_id, None)

    def change(self, trial_id: int, change: Callable[[FrozenTrial], FrozenTrial]) -> None:
        """Something was written of it, which makes another of what was read."""
        if trial_id in self._read:
            self._read[trial_id] = change(self._read[trial_id])

    def same(self, row: Row[Any]) -> FrozenTrial | None:
        """The trial of a row of today, where it is as it was read."""
        if row.trial_id not in self._begins:
            return None
        if row.state != TrialState.RUNNING or self._begins[row.trial_id] not in (None, row.datetime_start):
            self.end(row.trial_id)
            return None
        return self._read.get(row.trial_id)

    def keep(self, row: Row[Any], trial: FrozenTrial) -> None:
        """It was read with this row."""
        if row.trial_id in self._begins:
            self._begins[row.trial_id] = row.datetime_start
            self._read[row.trial_id] = trial


def read_trial(connection: Connection, trial_id: int, memory: Memory) -> FrozenTrial:
    """One trial, which its reader may change.

    Raises:
        NotStoredError: there is none.
    """
    found = _read(connection, _ONE, {"trial": trial_id}, memory)
    if not found:
        raise NotStoredError(f"a trial of id {trial_id}")
    return copied(found[0])


def copied(trial: FrozenTrial) -> FrozenTrial:
    """One that may be changed: Optuna's ``Trial`` notes in what it was given whatever it is asked and told."""
    other = copy(trial)
    for name in ("params", "distributions", "intermediate_values", "user_attrs", "system_attrs"):
        setattr(other, name, dict(getattr(trial, name)))
    return other


def read_trials(
    connection: Connection, study_id: int, ids: Sequence[int], after: int, memory: Memory
) -> list[FrozenTrial]:
    """The trials of a study that have one of the ``ids``, or one above ``after``; in order.

    Raises:
        NotStoredError: there is no such study.
    """
    found = _read(connection, _SEVERAL, {"study": study_id, "ids": ids, "after": after}, memory)
    if not found and connection.execute(_STUDY, {"study": study_id}).first() is None:
        raise NotStoredError(f"a study of id {study_id}")
    return found


def read_distribution(connection: Connection, trial_id: int, name: str) -> BaseDistribution | None:
    """The distribution that a parameter has in the study of this trial; None where no trial has it yet."""
    stored = connection.execute(_DISTRIBUTION, {"trial": trial_id, "name": name}).scalar()
    return None if stored is None else distribution_of(stored)


def _read(
    connection: Connection, statement: sa.Select[Any], wanted: dict[str, Any], memory: Memory
) -> list[FrozenTrial]:
    rows = connection.execute(statement, wanted).all()  # first: what is finished in it changes no more
    known = [memory.same(row) for row in rows]
    parts = _parts(connection, [row.trial_id for row, same in zip(rows, known, strict=True) if same is None])
    return [same or _taken(row, parts, memory) for row, same in zip(rows, known, strict=True)]


def _taken(row: Row[Any], parts: _Rows, memory: Memory) -> FrozenTrial:
    trial = _trial(row, *(part[row.trial_id] for part in parts))
    memory.keep(row, trial)
    return trial


def _parts(connection: Connection, ids: Sequence[int]) -> _Rows:
    parts: _Rows = [defaultdict(list) for _ in _PARTS]
    for some in _batches(ids):
        one = len(some) == 1  # as nearly always; to put a list into a statement takes longer than to run it
        for part, statement in zip(parts, _OF_ONE if one else _OF_PARTS, strict=True):
            for row in connection.execute(statement, {"ids": some[0] if one else some}):
                part[row.trial_id].append(row)
    return parts


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[first : first + _AT_ONCE] for first in range(0, len(ids), _AT_ONCE))


def _trial(
    trial: Row[Any],
    params: list[Row[Any]],
    values: list[Row[Any]],
    steps: list[Row[Any]],
    user: list[Row[Any]],
    system: list[Row[Any]],
) -> FrozenTrial:
    distributions = {intern(row.param_name): distribution_of(row.distribution_json) for row in params}
    return FrozenTrial(
        number=trial.number,
        state=trial.state,
        value=None,
        values=[value_of(row.value, row.value_type) for row in sorted(values, key=lambda row: row.objective)] or None,
        datetime_start=_local(trial.datetime_start),
        datetime_complete=_local(trial.datetime_complete),
        params={
            name: one.to_external_repr(row.param_value)
            for row, (name, one) in zip(params, distributions.items(), strict=True)
        },
        distributions=distributions,
        user_attrs={intern(row.key): json.loads(row.value_json) for row in user},
        system_attrs={intern(row.key): json.loads(row.value_json) for row in system},
        intermediate_values={row.step: step_of(row.intermediate_value, row.intermediate_value_type) for row in steps},
        trial_id=trial.trial_id,
    )


distribution_of = lru_cache(maxsize=1024)(json_to_distribution)


def _local(stored: datetime | None) -> datetime | None:
    """Optuna stores UTC and shows local time."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
