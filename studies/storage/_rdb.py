"""Optuna's storage, whose calls wait for a database that is away, and which does each of them exactly once.

Most calls may simply be done again. A call that makes a trial or sets its state finds what its first try did where only
the answer was lost.
"""

import copy
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.storage._draft import Draft
from studies.storage._optuna import OpenStorage, TrialRow, trial_with
from studies.storage._reading import read_trial, read_trials
from studies.storage.patience import waits

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
    "best_trial_id",
)
"""Calls that leave the same behind when they are done twice."""

_DRAFT: ContextVar[Draft | None] = ContextVar("_DRAFT", default=None)
"""What this thread is about to write."""


class PatientStorage(OpenStorage):
    """The database of the studies; ``studies.storage.open_storage`` opens it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As Optuna's."""
        super().__init__(*args, **settings)
        self._tried: set[str] = set()  # marks of trials whose making was begun

    def make_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """As Optuna's; the trial bears a mark."""
        mark = uuid4().hex
        marked = copy.copy(template or create_trial(state=TrialState.RUNNING))
        marked.system_attrs = {**marked.system_attrs, MARK: mark}
        try:
            return _make_trial(self, study_id, marked)
        finally:
            self._tried.discard(mark)

    def add_trial(self, study_id: int, template: FrozenTrial | None, session: "Session") -> TrialRow:
        """The trial of an earlier try, else a new one."""
        assert template is not None  # see make_trial
        mark = template.system_attrs[MARK]
        made = trial_with(session, MARK, mark) if mark in self._tried else None
        self._tried.add(mark)
        return made or super().add_trial(study_id, template, session)

    @waits
    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's."""
        with self.engine.connect() as connection:
            return read_trial(connection, trial_id)

    @waits
    def some_trials(
        self, study_id: int, states: Container[TrialState] | None, ids: set[int], after: int
    ) -> list[FrozenTrial]:
        """As Optuna's."""
        if states is not None or len(ids) > _MANY:
            return super().some_trials(study_id, states, ids, after)
        with self.engine.connect() as connection:
            return read_trials(connection, study_id, list(ids), after)

    @contextmanager
    def at_once(self, trial_id: int) -> Iterator[Draft]:
        """See ``studies.storage.attributes``; a block within one of the same trial is written with the outer one."""
        outer = _DRAFT.get()
        if outer is not None and (outer.storage, outer.trial_id) == (self, trial_id):
            yield outer
            return
        draft = Draft(self, trial_id)
        token = _DRAFT.set(draft)
        try:
            yield draft
        finally:
            _DRAFT.reset(token)
        self._write(draft)

    def _write(self, draft: Draft) -> None:
        tries = 0

        def attempt(storage: PatientStorage) -> None:
            nonlocal tries
            tries += 1
            try:
                with storage.engine.begin() as connection:
                    draft.write(connection)
            except UpdateFinishedTrialError:
                if tries == 1 or not storage._holds(draft):
                    raise

        waits(attempt)(self)

    def _holds(self, draft: Draft) -> bool:
        """Whether the trial has ended as the draft says: by an earlier try, which then wrote all else as well."""
        stored = self.get_trial(draft.trial_id)
        return stored.state == draft.state and (draft.values is None or stored.values == list(draft.values))

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """As Optuna's."""
        with self.at_once(trial_id) as draft:
            draft.step(step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        with self.at_once(trial_id) as draft:
            draft.user(key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        with self.at_once(trial_id) as draft:
            draft.system(key, value)

    def set_param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """As Optuna's."""
        with self.at_once(trial_id) as draft:
            draft.param(name, value, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's; True also where an earlier try of this call has set them."""
        if not state.is_finished():
            return self._set_unfinished(trial_id, state)
        with self.at_once(trial_id) as draft:
            draft.end(state, values)
        return True

    def _set_unfinished(self, trial_id: int, state: TrialState) -> bool:
        tries = 0

        def attempt(storage: PatientStorage) -> bool:
            nonlocal tries
            tries += 1
            done = RDBStorage.set_trial_state_values(storage, trial_id, state)
            return done or (tries > 1 and storage.get_trial(trial_id).state == state)

        return waits(attempt)(self)


_make_trial = waits(OpenStorage.make_trial)
for _name in REPEATABLE:
    setattr(PatientStorage, _name, waits(getattr(OpenStorage, _name)))
