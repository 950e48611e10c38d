"""Every private part of Optuna that is used here, as found in Optuna 5.0.0; a test holds that no other file names one.

Nothing public leads to them: a storage offers neither its tables nor the steps of its calls, and those it takes one
value and one transaction at a time (``studies.storage.attributes``, ``_reading``). pip refuses an Optuna that was
not tried, and ``search.command.versions`` tells of one that is there all the same.
"""

from collections.abc import Container, Sequence
from enum import Enum
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.storages._rdb import models
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

STUDIES: Any = models.StudyModel.__table__
TRIALS: Any = models.TrialModel.__table__
PARAMS: Any = models.TrialParamModel.__table__
VALUES: Any = models.TrialValueModel.__table__
STEPS: Any = models.TrialIntermediateValueModel.__table__
USER: Any = models.TrialUserAttributeModel.__table__
SYSTEM: Any = models.TrialSystemAttributeModel.__table__
EVERY: tuple[Any, ...] = tuple(
    table for table in models.BaseModel.metadata.sorted_tables if table is not models.VersionInfoModel.__table__
)
"""All tables that hold what studies are, those first that others refer to."""
ALEMBIC = "alembic_version"
"""Where Optuna keeps the version of its tables, as many other programs do."""
TABLES = {table.name for table in (STUDIES, TRIALS, models.VersionInfoModel.__table__)} | {ALEMBIC}
"""Some of all that Optuna makes, in any version of its tables, with those that it writes to when it opens them."""


def stored_value(value: float) -> tuple[float | None, Enum]:
    """What the table of values holds for one, and of which kind it is: databases know no infinity."""
    return models.TrialValueModel.value_to_stored_repr(value)


def value_of(stored: float | None, kind: Any) -> float:
    """The value that ``stored_value`` was given."""
    return models.TrialValueModel.stored_repr_to_value(stored, kind)


def stored_step(value: float) -> tuple[float | None, Enum]:
    """As ``stored_value``, for the value after a step."""
    return models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)


def step_of(stored: float | None, kind: Any) -> float:
    """The value that ``stored_step`` was given."""
    return models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(stored, kind)


def trials_as_asked(study: Study, states: Container[TrialState]) -> list[FrozenTrial]:
    """Trials as they were when the last was asked for, without another look at the database."""
    return study._get_trials(deepcopy=False, states=states, use_cache=True)


class RememberingTpe(TPESampler):
    """Optuna's, which remembers parameters of finished trials as the numbers that it computes with.

    It makes them anew of all trials for each new one, by far the most of its work: 2 x 18 x 1,000 for the thousandth
    trial of cnn.

    Attributes:
        space: that it draws from next, as the study has it.
        rows: number of a finished trial -> its parameters in that space, in its order, or None where it lacks one; they
            may be another sampler's of the same study.
    """

    space: dict[str, BaseDistribution]
    rows: dict[int, tuple[float, ...] | None]

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, npt.NDArray[np.float64]]:
        if search_space is not self.space:
            return super()._get_internal_repr(trials, search_space, study)
        rows = [row for trial in trials if (row := self._row(trial, study)) is not None]
        columns = np.ascontiguousarray(np.array(rows, np.float64).reshape(len(rows), len(search_space)).T)
        return dict(zip(search_space, columns, strict=True))

    def _row(self, trial: FrozenTrial, study: Study) -> tuple[float, ...] | None:
        if trial.number in self.rows:
            return self.rows[trial.number]
        params = self._get_params(trial, study)
        known = self.space.keys() <= params.keys()
        row = tuple(one.to_internal_repr(params[name]) for name, one in self.space.items()) if known else None
        if trial.state.is_finished():
            self.rows[trial.number] = row
        return row

    def preference(
        self,
        candidates: dict[str, npt.NDArray[np.float64]],  # noqa: ARG002 - for those who prefer some
    ) -> npt.NDArray[np.float64] | float:
        """What speaks for each candidate beside the trials, as a logarithm: in Optuna's nothing does."""
        return 0.0

    def _compute_acquisition_func(
        self, samples: dict[str, npt.NDArray[np.float64]], mpe_below: Any, mpe_above: Any
    ) -> npt.NDArray[np.float64]:
        return super()._compute_acquisition_func(samples, mpe_below, mpe_above) + self.preference(samples)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value lies in a distribution; raises what its kind raises of values of another type."""
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def unique_name() -> str:
    """Of a study that was given none."""
    return f"{DEFAULT_STUDY_NAME_PREFIX}{uuid4()}"


def add_study(connection: Connection, name: str, directions: Sequence[StudyDirection]) -> int:
    """The id of a new study.

    Raises:
        sqlalchemy.exc.IntegrityError: there is one of this name.
    """
    numbered = [models.StudyDirectionModel(objective=place, direction=each) for place, each in enumerate(directions)]
    with Session(connection) as session:
        study = models.StudyModel(study_name=name, directions=numbered)
        session.add(study)
        session.flush()
        return int(study.study_id)


def remove_study(connection: Connection, study_id: int) -> int:
    """Takes a study out with all its trials; its id.

    Raises:
        KeyError: there is none.
    """
    with Session(connection) as session:
        session.delete(models.StudyModel.find_or_raise_by_id(study_id, session))
        session.flush()
    return study_id


class OpenStorage(RDBStorage):
    """Optuna's, whose steps have names that a subclass may take over.

    They are those that Optuna's cache calls, which stands before every storage, and what these are made of.
    """

    def make_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """A new trial, like the template where there is one."""
        return super()._create_new_trial(study_id, template)

    def add_trial(self, connection: Connection, study_id: int, template: FrozenTrial | None) -> int:
        """The id of a new trial; its number is its own, as the study is locked meanwhile.

        Raises:
            KeyError: there is no such study.
        """
        with Session(connection) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            trial = self._get_prepared_new_trial(study_id, template, session)
            session.flush()
            return int(trial.trial_id)

    def some_trials(
        self, study_id: int, states: Container[TrialState] | None, ids: set[int], after: int
    ) -> list[FrozenTrial]:
        """The trials that have one of the ``ids``, or one above ``after``; only of these ``states``, if any."""
        return super()._get_trials(study_id, states, ids, after)

    def set_param(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution, previous: BaseDistribution | None
    ) -> None:
        """Stores a parameter, as its distribution represents it; ``previous`` is the study's, where that is known."""
        super()._set_trial_param(trial_id, name, value, distribution, previous)

    def best_trial_id(self, study_id: int, direction: StudyDirection) -> int:
        """Of the best complete trial."""
        return super()._get_best_trial_id(study_id, direction)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        return self.make_trial(study_id, template_trial)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.some_trials(study_id, states, included_trial_ids, trial_id_greater_than)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        self.set_param(trial_id, param_name, param_value_internal, distribution, previous_distribution)

    def _get_best_trial_id(self, study_id: int, direction: StudyDirection) -> int:
        return self.best_trial_id(study_id, direction)
