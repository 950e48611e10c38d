"""Opens the database; creates or resumes a study; builds sampler and pruner."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from studies.errors import DefinitionMismatchError, StorageError, StorageGoneError
from studies.secrets import masked, without_password
from studies.storage._gaussian import GaussianProcess
from studies.storage._optuna import ALEMBIC, TABLES, contains
from studies.storage._prior import PriorGuided
from studies.storage._rdb import PatientStorage
from studies.storage._tpe import Tpe
from studies.storage.database_url import check_file, read_url
from studies.storage.definition import DEFINITION, MADE_AS, StudyDefinition, check_same, definition_of, original
from studies.storage.patience import Patience, set_patience
from studies.storage.space import SharedSpace
from studies.storage.sql import make_tables

BUSY_SECONDS = 5
"""How long SQLite itself waits for a file that another process holds, deaf to signals; then ``patience`` goes on."""

SERVER_SECONDS = 20
"""How long a server that does not answer yet is waited for, and any database by commands that only look."""

_ONE_BY_ONE, _VERBOSITIES = Lock(), list[int]()  # those before each block of ``quiet_optuna`` that is not left yet

_GONE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""For libpq: a server that vanished without a word, as in a power cut, is noticed within half a minute."""

_TEXT = {"client_encoding": "utf8"}
"""For libpq: a database in SQL_ASCII would hand out bytes where text is expected."""

Made = TypeVar("Made")

HALVING = 4
"""Successive halving lets the best of so many go on, after as small a part of the epochs."""

PREFIX = "histotune_"
"""Of the names of our own tables."""


def open_storage(url: str, *, patience: float = SERVER_SECONDS) -> RDBStorage:
    """The Optuna storage behind ``url``, its tables made where there are none.

    Args:
        url: ``sqlite:///runs/studies.db`` or ``postgresql://user@host/database``.
        patience: seconds that a call waits for a database which went away, or which another process holds.

    Raises:
        StorageError: for a URL that names no database of these kinds, or one that cannot be reached or is others'.
    """
    full = _with_driver(url)
    _tables(url, patience)  # refuses those of others

    def make() -> RDBStorage:
        return make_tables(lambda: PatientStorage(full, engine_kwargs=_engine_settings(full)))

    return _opened(url, make, patience)


def open_existing(url: str, *, patience: float = SERVER_SECONDS, served: bool = False) -> RDBStorage:
    """As ``open_storage``, for commands that only look: nothing is made, neither file nor tables.

    Args:
        url: as for ``open_storage``.
        patience: the same.
        served: takes one without studies of ours too, be it empty, for a dashboard that is there before them.

    Raises:
        StorageError: as ``open_storage``; or there is no such file, or nothing of HistoTune in it.
    """
    full, tables = _with_driver(url, make=False), _tables(url, patience)
    if tables is None:
        raise StorageError(
            f"there is no database {make_url(full).database} yet: begin with python -m search.launch, "
            "or name the --runs or --storage of that launch"
        )
    if served and (not tables or tables >= TABLES):
        return open_storage(url, patience=patience)
    if not _ours(tables):
        listed = f"its tables: {', '.join(sorted(tables))[:100]}" if tables else "it is empty"
        raise StorageError(
            f"the database {masked(url)} holds no study of HistoTune ({listed}); nothing was changed in it: "
            "begin with python -m search.launch --model cnn, or name the --storage of that launch"
        )
    return _looked_at(url, full, patience)


def check_names(url: str, names: Iterable[str]) -> None:
    """Refuses names under which another program has a study in a database; nothing is made for looking.

    Raises:
        DefinitionMismatchError: one has.
        StorageError: as ``open_storage``.
    """
    if not (_tables(url, SERVER_SECONDS) or set()) >= TABLES:
        return
    storage = _looked_at(url, _with_driver(url, make=False), SERVER_SECONDS)
    there = optuna.get_all_study_names(storage)
    for name in names:
        if name in there:
            _attributes_of_ours(optuna.load_study(study_name=name, storage=storage))
    storage.engine.dispose()


def is_there(url: str) -> bool:
    """Whether a launch has begun in this database; nothing is made for looking.

    Raises:
        StorageError: as ``open_storage``.
    """
    return _ours(_tables(url, SERVER_SECONDS) or set())


def _ours(tables: set[str]) -> bool:
    return tables >= TABLES and any(table.startswith(PREFIX) for table in tables)


def _tables(url: str, patience: float) -> set[str] | None:
    """Names of the tables in a database; None where there is no file of it.

    Raises:
        StorageError: it cannot be reached, or is another program's: then Optuna could not live in it.
    """
    full = _with_driver(url, make=False)
    if url.startswith("sqlite"):
        file = str(make_url(full).database)
        check_file(Path(file))
        if not os.path.isfile(file):  # noqa: PTH113 - Path raises for a name that is too long
            return None
    tables = _reached(url, lambda: _table_names(full), patience)
    if ALEMBIC in tables and not tables >= TABLES:
        raise StorageError(
            f"the database {masked(url)} is of another program (its tables: {', '.join(sorted(tables))[:100]}), which "
            f"keeps its version where Optuna would; nothing was changed in it: make another one and give it with "
            "--storage"
        )
    return tables


def _table_names(full: str) -> set[str]:
    engine = sqlalchemy.create_engine(full, **_engine_settings(full))
    try:
        return set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def _looked_at(url: str, full: str, patience: float) -> RDBStorage:
    def look() -> RDBStorage:
        return PatientStorage(full, engine_kwargs=_engine_settings(full), skip_table_creation=True)

    return _opened(url, look, patience)


def _opened(url: str, make: Callable[[], RDBStorage], patience: float) -> RDBStorage:
    with quiet_optuna():
        storage = _reached(url, make, patience)
    set_patience(storage.engine, Patience(url, patience))
    return storage


def _reached(url: str, call: Callable[[], Made], patience: float) -> Made:
    """What ``call`` gives, in the end; what the driver says where it cannot, in one line."""
    # A server that was never there may be a typing error: that is said sooner than that one went away.
    seconds = patience if url.startswith("sqlite") else min(SERVER_SECONDS, patience)
    try:
        return Patience(url, seconds)(call)
    except (SQLAlchemyError, RuntimeError, ImportError, StorageGoneError) as error:
        reason = str(getattr(error, "reason", None) or getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise StorageError(
            f"the database {masked(url)} cannot be opened: {without_password(reason, url)}. {_way_out(error)}"
        ) from error


def _way_out(error: Exception) -> str:
    if isinstance(error, RuntimeError):  # Optuna holds its version against that of the tables
        return (
            "Another version of Optuna made its tables: give another with --storage, or bring a copy of it up to date"
        )
    return "Check that it exists, that it is reachable and that you may write to it"


def create_or_resume(
    storage: RDBStorage,
    name: str,
    definition: StudyDefinition,
    *,
    sampler: BaseSampler,
    pruner: BasePruner,
) -> optuna.Study:
    """The study of this name, made where there is none, refused where its definition is another.

    Raises:
        DefinitionMismatchError: the study was begun with other settings, or by another program.
    """
    with quiet_optuna():
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", sampler=sampler, pruner=pruner, load_if_exists=True
        )
    check_resumed(study, definition)
    stored = definition_of(study.user_attrs)
    if stored is None:
        study.set_user_attr(MADE_AS, name)
        study.set_user_attr(DEFINITION, definition.as_attributes())
    elif "pruner" not in stored and definition.pruner == "sha":
        study.pruner = _halving(max(1, definition.epochs // HALVING))  # as such studies were begun
    return study


def check_resumed(study: optuna.Study, definition: StudyDefinition) -> None:
    """Refuses to go on with a study of another definition, or of another program.

    One without trials and without anything that is said of it is ours: a launch was killed while it made it.

    Raises:
        DefinitionMismatchError: one line with the way out.
    """
    attributes = _attributes_of_ours(study)
    stored = definition_of(attributes)
    if stored is not None:
        check_same(study.study_name, {**_pruner_before(attributes), **stored}, definition)


def _attributes_of_ours(study: optuna.Study) -> dict[str, Any]:
    """User attributes of a study, which is refused where it is not ours."""
    # Another launch may be making it, its definition before its trials: so that is read after them, and once.
    begun = bool(study.get_trials(deepcopy=False))
    attributes = study.user_attrs
    copied = original(study.study_name, attributes)
    if copied:
        raise DefinitionMismatchError(
            f"the study {study.study_name} in this database is a copy of {copied}: nothing was changed in it. Begin "
            "under another name: --study NEW"
        )
    if definition_of(attributes) is not None:
        return attributes
    if study.directions != [optuna.study.StudyDirection.MAXIMIZE] or attributes.keys() - {MADE_AS} or begun:
        raise DefinitionMismatchError(
            f"the study {study.study_name} in this database is of another program: nothing was changed in it. "
            "Begin under another name: --study NEW"
        )
    return attributes


def _pruner_before(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """That of a study from before it belonged to the definition: what its last launch was asked for."""
    settings = attributes.get("settings", {})
    return {"pruner": settings["pruner"]} if "pruner" in settings else {}


def make_sampler(
    kind: str, seed: int, space: SharedSpace | None = None, default: Mapping[str, Any] | None = None
) -> BaseSampler:
    """The sampler of this kind: "tpe", "random", "gp" or "prior".

    Args:
        kind: one of them.
        seed: of what it draws.
        space: what trials of the study have in common so far; with it the next sampler of the same study goes on from
            there, and does not look through all trials again.
        default: the configuration near which "prior" believes good ones to lie; without it, it is "tpe".
    """
    if kind == "tpe":
        return Tpe(seed, space or SharedSpace())
    if kind == "random":
        return RandomSampler(seed=seed)
    if kind == "gp":
        return GaussianProcess(seed, space or SharedSpace())
    if kind == "prior":
        return PriorGuided(seed, space or SharedSpace(), default or {})
    raise ValueError(f"sampler {kind!r} is none of tpe, random, gp, prior")


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value lies in a distribution; a number in quotes is none, although Optuna reads it as one."""
    if isinstance(value, str) and not isinstance(distribution, CategoricalDistribution):
        return False
    try:
        return contains(distribution, value)
    except (TypeError, ValueError, OverflowError):
        return False


def first_rung(epochs: int) -> int:
    """The epoch after which successive halving looks: rounded up, or a second rung would lie just before the end."""
    return -(-epochs // HALVING)


def make_pruner(kind: str, epochs: int) -> BasePruner:
    """The pruner of this kind: "sha", "hyperband", "median" or "none"; epochs are those of a full trial.

    Successive halving looks after a quarter of the epochs and lets the best quarter go on: of cnn's recorded curves
    this lost nothing for half of the epochs, while further rungs ended trials on differences that were noise (LOG.md).
    Its first rung is stated, since "auto" prunes nothing until a trial is complete.
    """
    if kind == "sha":
        return _halving(first_rung(epochs))
    if kind == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    if kind == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 6))
    if kind == "none":
        return NopPruner()
    raise ValueError(f"pruner {kind!r} is none of sha, hyperband, median, none")


def _halving(rung: int) -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(min_resource=rung, reduction_factor=HALVING)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna's own log lines are held back, of all threads; ours say the same in the terms of the command."""
    with _ONE_BY_ONE:
        _VERBOSITIES.append(optuna.logging.get_verbosity())
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        with _ONE_BY_ONE:
            before = _VERBOSITIES.pop()
            if not _VERBOSITIES:
                optuna.logging.set_verbosity(before)


def _with_driver(url: str, *, make: bool = True) -> str:
    """The URL with the installed PostgreSQL driver named; the folder of an SQLite file is made where ``make``."""
    parsed = read_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise StorageError(f"{url} keeps nothing: expected a file, such as sqlite:///runs/studies.db")
        if make:
            _make_folder(Path(str(parsed.database)).parent)
        return url
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    raise StorageError(f"{masked(url)} is neither sqlite:///PATH nor postgresql://USER@HOST/DATABASE")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {folder} of the database cannot be made: {error.strerror}") from error


def _engine_settings(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_SECONDS}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, **_TEXT, **_GONE, **_password_of(url)}}


def _password_of(url: str) -> dict[str, str]:
    """That of $PGPASSWORD, which is hidden from workers later, where the URL has none."""
    found, parsed = os.environ.get("PGPASSWORD"), make_url(url)
    return {"password": found} if found and not parsed.password and "password" not in parsed.query else {}
