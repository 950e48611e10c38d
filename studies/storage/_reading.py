"""Reads Optuna's trials as plain rows.

A driver reads the unfinished trials of its study some ten times a trial. Optuna's own reading makes an object of each
row and parses each parameter's distribution twice, each time: a fifth of all that a driver did (LOG.md). The tables are
Optuna's; a test holds that what is read here is what Optuna reads.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial
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
_Rows = list[dict[int, list[Row[Any]]]]  # of each part, by trial


def read_trial(connection: Connection, trial_id: int) -> FrozenTrial:
    """One trial.

    Raises:
        NotStoredError: there is none.
    """
    found = _read(connection, _ONE, {"trial": trial_id})
    if not found:
        raise NotStoredError(f"a trial of id {trial_id}")
    return found[0]


def read_trials(connection: Connection, study_id: int, ids: Sequence[int], after: int) -> list[FrozenTrial]:
    """The trials of a study that have one of the ``ids``, or one above ``after``; in order.

    Raises:
        NotStoredError: there is no such study.
    """
    found = _read(connection, _SEVERAL, {"study": study_id, "ids": ids, "after": after})
    if not found and connection.execute(_STUDY, {"study": study_id}).first() is None:
        raise NotStoredError(f"a study of id {study_id}")
    return found


def read_distribution(connection: Connection, trial_id: int, name: str) -> BaseDistribution | None:
    """The distribution that a parameter has in the study of this trial; None where no trial has it yet."""
    stored = connection.execute(_DISTRIBUTION, {"trial": trial_id, "name": name}).scalar()
    return None if stored is None else _distribution(stored)


def _read(connection: Connection, statement: sa.Select[Any], wanted: dict[str, Any]) -> list[FrozenTrial]:
    trials = connection.execute(statement, wanted).all()  # first: what is finished in it changes no more
    found = [trial.trial_id for trial in trials]
    parts: _Rows = [defaultdict(list) for _ in _PARTS]
    for some in _batches(found):
        for rows, statement_of_part in zip(parts, _OF_PARTS, strict=True):
            for row in connection.execute(statement_of_part, {"ids": some}):
                rows[row.trial_id].append(row)
    return [_trial(trial, *(rows[trial.trial_id] for rows in parts)) for trial in trials]


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
    distributions = {row.param_name: _distribution(row.distribution_json) for row in params}
    return FrozenTrial(
        number=trial.number,
        state=trial.state,
        value=None,
        values=[value_of(row.value, row.value_type) for row in sorted(values, key=lambda row: row.objective)] or None,
        datetime_start=_local(trial.datetime_start),
        datetime_complete=_local(trial.datetime_complete),
        params={row.param_name: distributions[row.param_name].to_external_repr(row.param_value) for row in params},
        distributions=distributions,
        user_attrs={row.key: json.loads(row.value_json) for row in user},
        system_attrs={row.key: json.loads(row.value_json) for row in system},
        intermediate_values={row.step: step_of(row.intermediate_value, row.intermediate_value_type) for row in steps},
        trial_id=trial.trial_id,
    )


_distribution = lru_cache(maxsize=1024)(json_to_distribution)


def _local(stored: datetime | None) -> datetime | None:
    """Optuna stores UTC and shows local time."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
