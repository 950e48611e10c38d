"""A database whose tables are others than are read here: that is said, and nothing of permissions."""

import gc
import warnings

import optuna
import pytest
import sqlalchemy as sa

from studies.errors import StorageError
from studies.storage.studies import open_storage, quiet_optuna


@pytest.fixture
def url(storage_url: str) -> str:
    """A database with a study of two trials."""
    storage = open_storage(storage_url)
    with quiet_optuna():
        study = optuna.create_study(storage=storage, study_name="s-cnn")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.engine.dispose()
    return storage_url


def change(url: str, statement: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def refusal(url: str) -> str:
    """The line with which the database is refused; what the failure left open is let go."""
    storage = None
    try:
        storage = open_storage(url)
        optuna.load_study(storage=storage, study_name="s-cnn").get_trials()
    except StorageError as error:
        line = str(error)
    else:
        pytest.fail("it was not refused")
    if storage is not None:
        storage.engine.dispose()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Optuna lets go of a storage that it could not make
        gc.collect()
    return line


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE trials RENAME COLUMN state TO condition",
        "ALTER TABLE trial_values RENAME COLUMN value TO number",
        "ALTER TABLE studies RENAME COLUMN study_name TO name",
    ],
)
def test_a_column_that_is_missing_is_named(url: str, statement: str) -> None:
    change(url, statement)
    line = refusal(url)
    assert " has other tables than are read here: " in line
    assert line.endswith(
        "Another version made them, or another program: put a backup in its place, or give another with --storage"
    )
    assert "may write" not in line


def test_a_database_of_another_optuna_is_told_by_its_version(url: str) -> None:
    change(url, "UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    line = refusal(url)
    assert "Another version of Optuna made its tables: give another with --storage" in line
    assert "may write" not in line
