"""What all tests share: a quiet, local environment and the place of real data."""

import os
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

os.environ.update(
    TZ="UTC",  # Optuna stores local time; the tests compare it with ours
    OMP_NUM_THREADS="1",  # workers side by side are faster on one thread each than all on all
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)
for variable in ("HISTOTUNE_DATA", "HISTOTUNE_STORAGE", "RAY_ADDRESS"):
    os.environ.pop(variable, None)  # a developer's own settings are not part of a test
time.tzset()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights; tests that are about them are skipped where it is missing."""
    folder = Path(os.environ.get("HISTOTUNE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder; set HISTOTUNE_SHARED")
    return folder
