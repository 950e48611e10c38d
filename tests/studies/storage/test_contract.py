"""Optuna's own suites for storages and samplers, on ours.

The storage runs it on both databases, and behind the cache that Optuna puts before it, on a database that stays and on
one that goes away at random: each call must do then, once, what it does otherwise.
"""

import gc
import itertools
import random
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from breaking import lose_answers, lose_statements
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase
from optuna.testing.pytest_storages import StorageTestCase
from server import new_database

from studies.storage._prior import PriorGuided
from studies.storage.patience import Patience, set_patience
from studies.storage.space import SharedSpace
from studies.storage.studies import make_sampler, open_storage

pytestmark = pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
BELIEVED = {"x": 3, "y": -20.0, "z": "b", "a": 1}
CACHED = "sqlite-cached"
"""The cache knows nothing of the database behind it."""
LOST_ANSWERS, LOST_STATEMENTS = 0.2, 0.02
"""Shares; a call has one COMMIT, but some ten statements."""


@pytest.fixture(scope="module", params=["sqlite", CACHED, "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RDBStorage]:
    """One for all tests of the suite: to make its tables takes longer than most of them."""
    if request.param != "postgresql":
        url = f"sqlite:///{tmp_path_factory.mktemp('contract')}/studies.db"
    else:
        url = new_database(request.getfixturevalue("postgresql"))
    storage = open_storage(url)
    if request.param != "postgresql":  # nothing of a test need outlive the machine
        sa.event.listen(storage.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        storage.engine.dispose()
    storage.create_new_study([StudyDirection.MAXIMIZE])  # makes the table of calls, which is kept
    yield storage
    storage.engine.dispose()


@pytest.fixture(scope="module")
def tables(database: RDBStorage) -> list[sa.Table]:
    """All that a test may leave something in."""
    found = sa.MetaData()
    found.reflect(database.engine)
    kept = {"version_info", "alembic_version", "histotune_calls"}
    return [table for table in reversed(found.sorted_tables) if table.name not in kept]


@pytest.fixture
def empty(database: RDBStorage, tables: list[sa.Table]) -> RDBStorage:
    """Without studies."""
    with database.engine.begin() as connection:
        for table in tables:
            connection.execute(table.delete())
    return database


@pytest.fixture
def storage(empty: RDBStorage, request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
    yield get_storage(empty) if request.node.callspec.params["database"] == CACHED else empty
    if "pickle" in request.node.name:
        gc.collect()  # the suite leaves a copy with open connections to whoever tidies up


class TestStorage(StorageTestCase):
    """On a database that stays."""


class TestStorageThatGoesAway(StorageTestCase):
    """On one that goes away at random."""

    @pytest.fixture(autouse=True)
    def _away(self, empty: RDBStorage, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("studies.storage.patience._PAUSE_SECONDS", 0.001)
        set_patience(empty.engine, Patience("x", 60))
        draw = random.Random(request.node.name)
        lose_answers(empty, monkeypatch, (draw.random() < LOST_ANSWERS for _ in itertools.count()))
        lose_statements(empty, monkeypatch, (draw.random() < LOST_STATEMENTS for _ in itertools.count()))


class TestTpe(BasicSamplerTestCase, RelativeSamplerTestCase):
    """Optuna's, whose search space outlives it."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return self.make

    def make(self) -> BaseSampler:
        made = make_sampler("tpe", 0)
        vars(made)["_n_startup_trials"] = 0  # the suite wants the first trial drawn like all others
        return made


class TestPriorGuided(BasicSamplerTestCase, RelativeSamplerTestCase):
    """The same with a belief about some of what the suite asks for, inside of its ranges and outside."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: PriorGuided(0, SharedSpace(), BELIEVED, startup=0)


class TestPriorGuidedAtFirst(BasicSamplerTestCase):
    """Its first trials, which are drawn from the prior or uniformly."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: make_sampler("prior", 0, default=BELIEVED)


def test_connections_do_break(
    empty: RDBStorage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("studies.storage.patience._PAUSE_SECONDS", 0.001)
    set_patience(empty.engine, Patience("x", 60))
    draw = random.Random(0)
    answers = lose_answers(empty, monkeypatch, (draw.random() < 0.5 for _ in itertools.count()))
    statements = lose_statements(empty, monkeypatch, (draw.random() < 0.1 for _ in itertools.count()))
    study = empty.create_new_study([StudyDirection.MAXIMIZE], "idc-cnn")
    for _ in range(3):
        empty.create_new_trial(study)
    assert [trial.number for trial in empty.get_all_trials(study)] == [0, 1, 2]
    assert answers
    assert statements
    assert "waiting up to 60 s for the database" in capsys.readouterr().err
