"""Optuna's storage, whose calls wait for a database that is away, and which does each of them exactly once.

Most calls may simply be done again. A call that makes a trial or sets its state finds what its first try did where only
the answer was lost. Names with an underscore are those that Optuna's cache calls, which stands before every storage.
"""

import copy
import json
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies._reading import read_trial, read_trials
from studies.patience import waits

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MANY = 1000
"""Unfinished trials, from which on Optuna reads them itself: it knows what to do about a statement that is too long."""
MARK = "histotune:made"
"""System attribute of a trial, by which the call that made it knows it again."""
REPEATABLE = (
    "create_new_study",  # says that it exists already, which is asked for with load_if_exists
    "delete_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "_set_trial_param",
    "_get_best_trial_id",
)
"""Calls that leave the same behind when they are done twice."""


class PatientStorage(RDBStorage):
    """The database of the studies; ``studies.storage.open_storage`` opens it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As Optuna's."""
        super().__init__(*args, **settings)
        self._tried: set[str] = set()  # marks of trials whose making was begun

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        mark = uuid4().hex
        template = copy.copy(template_trial or create_trial(state=TrialState.RUNNING))
        template.system_attrs = {**template.system_attrs, MARK: mark}
        try:
            return _make_trial(self, study_id, template)
        finally:
            self._tried.discard(mark)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: "Session"
    ) -> TrialModel:
        """The trial of an earlier try, else a new one; within the transaction that makes it."""
        assert template_trial is not None  # see _create_new_trial
        mark = template_trial.system_attrs[MARK]
        made = _marked(session, mark) if mark in self._tried else None
        self._tried.add(mark)
        return made or super()._get_prepared_new_trial(study_id, template_trial, session)

    @waits
    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's."""
        with self.engine.connect() as connection:
            return read_trial(connection, trial_id)

    @waits
    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None or len(included_trial_ids) > _MANY:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        with self.engine.connect() as connection:
            return read_trials(connection, study_id, list(included_trial_ids), trial_id_greater_than)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's; True also where an earlier try of this call has set them."""
        tries = 0

        def attempt(storage: PatientStorage) -> bool:
            nonlocal tries
            tries += 1
            try:
                done = RDBStorage.set_trial_state_values(storage, trial_id, state, values)
            except UpdateFinishedTrialError:
                if tries == 1 or not storage._holds(trial_id, state, values):
                    raise
                return True
            return done or (tries > 1 and storage._holds(trial_id, state, values))

        return waits(attempt)(self)

    def _holds(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        stored = self.get_trial(trial_id)
        return stored.state == state and (values is None or stored.values == list(values))


_make_trial = waits(RDBStorage._create_new_trial)
for _name in REPEATABLE:
    setattr(PatientStorage, _name, waits(getattr(RDBStorage, _name)))


def _marked(session: "Session", mark: str) -> TrialModel | None:
    return (
        session.query(TrialModel)
        .join(TrialSystemAttributeModel, TrialSystemAttributeModel.trial_id == TrialModel.trial_id)
        .filter(TrialSystemAttributeModel.key == MARK, TrialSystemAttributeModel.value_json == json.dumps(mark))
        .one_or_none()
    )
