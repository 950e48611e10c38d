"""What all tests share: a quiet, local environment and the place of real data."""

import compileall
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from server import empty_database, new_database, running_server
from tree import PACKAGES, copy_tree

from search.workers._ray import NICENESS
from studies.storage.studies import open_storage

ROOT = Path(__file__).resolve().parent.parent
LONGEST = (
    *("cluster/", "faults/test_kills", "test_repeats", "faults/", "test_intruders", "test_real_page", "test_whole"),
    *("search/test_", "search/upkeep/", "test_contract", "test_preprocess", "test_benchmarks", "in_browser"),
)

os.environ.update(
    TZ="UTC",  # Optuna stores local time; the tests compare it with ours
    OMP_NUM_THREADS="1",  # workers side by side are faster on one thread each than all on all
    OMP_WAIT_POLICY="passive",  # threads that wait for one another spin, and others wait for the core
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)
os.environ[NICENESS] = "0"  # else workers starve beside the other processes of a busy machine
for variable in ("HISTOTUNE_DATA", "HISTOTUNE_STORAGE", "RAY_ADDRESS"):
    os.environ.pop(variable, None)  # a developer's own settings are not part of a test
time.tzset()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; what tests start inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Compiles the packages once, where the environment has Python write no bytecode: each command would do so anew."""
    if not hasattr(config, "workerinput"):
        for package in PACKAGES:
            compileall.compile_dir(ROOT / package, quiet=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole searches go first, so that no process is left alone with one in the end."""
    items.sort(key=lambda item: next((at for at, name in enumerate(LONGEST) if name in str(item.path)), len(LONGEST)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights; tests that are about them are skipped where it is missing."""
    folder = Path(os.environ.get("HISTOTUNE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder; set HISTOTUNE_SHARED")
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a copy of the packages, with ``models/tiny.py`` in it."""
    folder = tmp_path_factory.mktemp("packages")
    copy_tree(folder / "tree", folder / "runs")
    return folder / "tree"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a real PostgreSQL server, started for the tests and stopped after them."""
    with running_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(scope="session")
def emptied() -> list[str]:
    """URLs of databases that a test has left, empty again."""
    return []


@pytest.fixture
def postgresql_url(postgresql: str, emptied: list[str]) -> Iterator[str]:
    """An empty PostgreSQL database; to make and to remove one takes longer than most tests on it."""
    url = emptied.pop() if emptied else new_database(postgresql)
    yield url
    empty_database(url)
    emptied.append(url)


@pytest.fixture
def storage(storage_url: str) -> Iterator[RDBStorage]:
    """An Optuna storage on an empty database of either kind."""
    storage = open_storage(storage_url)
    yield storage
    storage.engine.dispose()
