"""Optuna's storage, whose calls wait for a database that is away, and which does each of them exactly once.

Most calls may simply be done again. One that makes or deletes a study, makes a trial or sets its state finds what its
first try did where only the answer was lost (``studies.storage._once``).
"""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from studies.errors import NotStoredError, SpaceMismatchError
from studies.storage._draft import Draft, set_open
from studies.storage._once import make_table, once
from studies.storage._optuna import OpenStorage, add_study, remove_study, unique_name
from studies.storage._reading import Memory, read_distribution, read_trial, read_trials
from studies.storage.closing import opened
from studies.storage.patience import waits

_MANY = 1000
"""Unfinished trials, from which on Optuna reads them itself: it knows what to do about a statement that is too long."""
REPEATABLE = (
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "get_trial_param",
    "best_trial_id",
)
"""Calls that leave the same behind when they are done twice."""

_DRAFT: ContextVar[Draft | None] = ContextVar("_DRAFT", default=None)
"""What this thread is about to write."""


class PatientStorage(OpenStorage):
    """The database of the studies; ``studies.storage.studies.open_storage`` opens it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As Optuna's."""
        super().__init__(*args, **settings)
        opened(self.engine)
        self._noted = False  # whether calls can be noted
        self._memory = Memory()

    def _once(self, do: Callable[[Connection], int]) -> int:
        if not self._noted:
            make_table(self.engine)
            self._noted = True
        return once(self.engine, do)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """As Optuna's."""
        name = unique_name() if study_name is None else study_name
        try:
            return self._once(lambda connection: add_study(connection, name, directions))
        except IntegrityError as error:
            raise DuplicatedStudyError(f"there is a study {name} already") from error

    def delete_study(self, study_id: int) -> None:
        """As Optuna's."""
        with _missed((study_id,)):
            self._once(lambda connection: remove_study(connection, study_id))

    def make_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """As Optuna's."""
        with _missed((study_id,)):
            trial_id = self._once(lambda connection: self.add_trial(connection, study_id, template))
        self._memory.begin(trial_id)  # one that is made to wait, or finished, counts no longer once it is read
        return self.get_trial(trial_id)

    @waits
    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's."""
        with self.engine.connect() as connection:
            return read_trial(connection, trial_id, self._memory)

    @waits
    def some_trials(
        self, study_id: int, states: Container[TrialState] | None, ids: set[int], after: int
    ) -> list[FrozenTrial]:
        """As Optuna's, without reading again what nobody but this process writes, and has not written since.

        A driver reads the unfinished trials of its study some ten times a trial, and it may have 64 of them in hand.
        """
        if states is not None or len(ids) > _MANY:
            return super().some_trials(study_id, states, ids, after)
        with self.engine.connect() as connection:
            return read_trials(connection, study_id, list(ids), after, self._memory)

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
        def attempt(storage: PatientStorage) -> None:
            with storage.engine.begin() as connection:
                draft.write(connection)

        with self._changing(draft.trial_id):
            if draft.state is None:
                waits(attempt)(self)
            else:
                self._once(draft.write)
        if draft.state is None:
            self._memory.change(draft.trial_id, draft.upon)
        else:
            self._memory.end(draft.trial_id)

    @contextmanager
    def _changing(self, trial_id: int) -> Iterator[None]:
        """Where the block fails nobody knows what was written: what was read of the trial counts no more."""
        try:
            yield
        except BaseException:
            self._memory.forget(trial_id)
            raise

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

    def set_param(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution, previous: BaseDistribution | None
    ) -> None:
        """As Optuna's.

        Raises:
            SpaceMismatchError: another distribution has this name in the study.
        """
        known = previous or self._distribution(trial_id, name)
        try:
            if known is not None:
                check_distribution_compatibility(known, distribution)
        except ValueError as error:
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)  # which is what is said first
            raise SpaceMismatchError(
                f"the study of trial {trial_id} holds {name} as {known}, not {distribution}: trials would not be "
                "comparable. Take out the trial that was added by hand, or start anew: --study NEW"
            ) from error
        with self.at_once(trial_id) as draft:
            draft.param(name, value, distribution)

    @waits
    def _distribution(self, trial_id: int, name: str) -> BaseDistribution | None:
        with self.engine.connect() as connection:
            return read_distribution(connection, trial_id, name)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's."""
        if not state.is_finished():
            self._memory.end(trial_id)
            taken = bool(self._once(lambda connection: set_open(connection, trial_id, state)))
            if taken and state == TrialState.RUNNING:
                self._memory.begin(trial_id)
            return taken
        with self.at_once(trial_id) as draft:
            draft.end(state, values)
        return True


@contextmanager
def _missed(asked: tuple[object, ...]) -> Iterator[None]:
    """Says of a record that Optuna does not find what was asked for."""
    try:
        yield
    except NotStoredError:
        raise
    except KeyError as error:
        raise NotStoredError(f"a record of {', '.join(map(repr, asked))}") from error


def _repeatable(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def repeated(storage: PatientStorage, *asked: Any, **named: Any) -> Any:
        with _missed((*asked, *named.values())):
            return call(storage, *asked, **named)

    return waits(repeated)


for _name in REPEATABLE:
    setattr(PatientStorage, _name, _repeatable(getattr(OpenStorage, _name)))
