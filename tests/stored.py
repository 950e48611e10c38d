"""What a test asks of a database, and puts into it."""

from dataclasses import replace

import optuna
from optuna.storages import RDBStorage

from studies.storage.definition import DEFINITION, StudyDefinition

_ANY = StudyDefinition("cnn", "a" * 64, {}, 3, "auc", "none", "fp32", "random", "d" * 64, "contiguous", 1, "none")


def id_of(storage: RDBStorage, number: int, study: str = "idc-cnn") -> int:
    """Optuna's id of a trial."""
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study), number)


def own_study(storage: RDBStorage | str, name: str = "idc-cnn") -> optuna.Study:
    """A study as a launch makes it."""
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_user_attr(DEFINITION, replace(_ANY, model=name.rpartition("-")[2]).as_attributes())
    return study
