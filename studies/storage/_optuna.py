"""Every private part of Optuna that is used here, as found in Optuna 5.0.0; a test holds that no other file names one.

Nothing public leads to them: a storage offers neither its tables nor the steps of its calls, and those it takes one
value and one transaction at a time (``studies.storage.attributes``, ``_reading``). pip refuses an Optuna that was
not tried, and ``search.command.versions`` tells of one that is there all the same.
"""

import json
from collections.abc import Container
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TrialRow: TypeAlias = models.TrialModel
"""A new trial within the transaction that makes it."""

TRIALS: Any = models.TrialModel.__table__
PARAMS: Any = models.TrialParamModel.__table__
VALUES: Any = models.TrialValueModel.__table__
STEPS: Any = models.TrialIntermediateValueModel.__table__
USER: Any = models.TrialUserAttributeModel.__table__
SYSTEM: Any = models.TrialSystemAttributeModel.__table__


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


def trial_with(session: "Session", key: str, value: Any) -> TrialRow | None:
    """The one trial that has this system attribute; None where there is none."""
    attribute = models.TrialSystemAttributeModel
    return (
        session.query(models.TrialModel)
        .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
        .filter(attribute.key == key, attribute.value_json == json.dumps(value))
        .one_or_none()
    )


class OpenStorage(RDBStorage):
    """Optuna's, whose steps have names that a subclass may take over.

    They are those that Optuna's cache calls, which stands before every storage, and what these are made of.
    """

    def make_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """A new trial, like the template where there is one; tried again where databases lock each other out."""
        return super()._create_new_trial(study_id, template)

    def add_trial(self, study_id: int, template: FrozenTrial | None, session: "Session") -> TrialRow:
        """What ``make_trial`` does within its transaction."""
        return super()._get_prepared_new_trial(study_id, template, session)

    def some_trials(
        self, study_id: int, states: Container[TrialState] | None, ids: set[int], after: int
    ) -> list[FrozenTrial]:
        """The trials that have one of the ``ids``, or one above ``after``; only of these ``states``, if any."""
        return super()._get_trials(study_id, states, ids, after)

    def set_param(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """Stores a parameter, as its distribution represents it."""
        super()._set_trial_param(trial_id, name, value, distribution, None)

    def best_trial_id(self, study_id: int, direction: StudyDirection) -> int:
        """Of the best complete trial."""
        return super()._get_best_trial_id(study_id, direction)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        return self.make_trial(study_id, template_trial)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: "Session"
    ) -> TrialRow:
        return self.add_trial(study_id, template_trial, session)

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
        previous_distribution: BaseDistribution | None = None,  # noqa: ARG002 - see studies.storage.attributes
    ) -> None:
        self.set_param(trial_id, param_name, param_value_internal, distribution)

    def _get_best_trial_id(self, study_id: int, direction: StudyDirection) -> int:
        return self.best_trial_id(study_id, direction)
