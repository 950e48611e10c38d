"""What a test asks of a database."""

from optuna.storages import RDBStorage


def id_of(storage: RDBStorage, number: int, study: str = "idc-cnn") -> int:
    """Optuna's id of a trial."""
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study), number)
