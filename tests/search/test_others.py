"""A database that is not ours alone: studies and trials of others in it, and databases of other programs."""

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import create_trial
from server import Server, new_database, running_server
from tree import Tree

PATCHES = ("--data", "synthetic:300")
SEARCH = ("--model", "tiny", "--trials", "4", "--epochs", "2", "--pruner", "none", *PATCHES)
LOOKING = (("status",), ("status", "--check"), ("report",), ("finalize",), ("clean", "--dry-run"))
"""Commands that need a study of ours, and say so where there is none."""


# --- studies and trials of others -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_with_others(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A search that others have put studies beside, and trials into: added, told by hand, copied."""
    tree = Tree(packages, tmp_path_factory.mktemp("shared") / "runs")
    tree.run("launch", "--study", "mine", *SEARCH[:2], "--trials", "2", *SEARCH[4:])
    url = f"sqlite:///{tree.runs}/studies.db"
    for name in ("foreign", "mine-anything", "yours-tiny", "\x1b[2Jname"):
        other = optuna.create_study(storage=url, study_name=name)
        other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    named_alike = optuna.create_study(storage=url, study_name="theirs-tiny", direction="maximize")
    named_alike.set_user_attr("definition", {"model": "tiny"})
    mine = optuna.load_study(study_name="mine-tiny", storage=url)
    trained = mine.get_trials()[0]
    mine.add_trial(create_trial(value=0.9999))
    mine.tell(mine.ask(), 0.9998)
    trained.values = [0.9997]
    mine.add_trial(trained)  # as people bring trials of other studies, with all that is said of them
    optuna.copy_study(from_study_name="mine-tiny", from_storage=url, to_storage=url, to_study_name="copy-tiny")
    return tree


def test_status_shows_our_studies_and_counts_what_others_did(shared_with_others: Tree) -> None:
    told = " ".join(shared_with_others.run("status").stdout.split())
    assert (
        "of other programs, left alone: \\x1b[2Jname, copy-tiny, foreign, mine-anything, theirs-tiny, yours-tiny"
        in told
    )
    assert "3 added or told by hand, which count but are never the best nor retrained" in told
    (entry,) = json.loads(shared_with_others.run("status", "--json").stdout)
    assert entry["study"] == "mine-tiny"
    assert entry["trials"] == {"COMPLETE": 5}
    assert entry["best"]["trial"] in (0, 1)
    checked = shared_with_others.run("status", "--check", expect=1).stdout
    assert checked.count("no launch has trained it: added or told by hand") == 3
    assert "1 study checked" in checked


def test_a_launch_goes_on_beside_them_and_refuses_a_name_that_they_have(shared_with_others: Tree) -> None:
    told = shared_with_others.run("launch", "--study", "mine", *SEARCH).stdout
    assert "mine-tiny: 5 COMPLETE; best 0." in told
    assert "; 3 added or told by hand, which count but are never the best nor retrained" in told
    for name in ("yours", "theirs"):
        refused = shared_with_others.run("launch", "--study", name, *SEARCH, expect=2).stderr
        assert refused.count("\n") == 1
        assert f"the study {name}-tiny in this database is of another program: nothing was changed in it" in refused
    refused = shared_with_others.run("launch", "--study", "copy", *SEARCH, expect=2).stderr
    assert refused.count("\n") == 1
    assert "the study copy-tiny in this database is a copy of mine-tiny: nothing was changed in it" in refused


def test_finalize_retrains_what_was_trained_here_and_writes_its_report(shared_with_others: Tree) -> None:
    told = shared_with_others.run("finalize", "--study", "mine", "--draws", "200", *PATCHES)
    assert "mine-tiny: 3 added or told by hand" in told.stdout
    stored = json.loads((shared_with_others.runs / "mine" / "tiny" / "model.json").read_text())
    trained = shared_with_others.status("mine-tiny")["best"]["parameters"]
    assert stored["params"].keys() == trained.keys()
    shared_with_others.run("report")  # without --study: the comparison is the only one of ours
    assert (shared_with_others.runs / "mine" / "report.html").stat().st_size > 1_000_000


# --- databases of other programs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def postgresql(server: Server, *statements: str) -> str:
    url = new_database(server.url)
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url


def of_optuna(url: str) -> str:
    """One that Optuna alone has used."""
    storage = RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))
    optuna.create_study(storage=storage, study_name="foreign-tiny").add_trial(create_trial(value=0.5))
    storage.engine.dispose()
    return url


@pytest.fixture(params=["empty", "of another program", "of one with alembic", "of Optuna", "of Optuna, SQLite"])
def others(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> str:
    match request.param:
        case "empty":
            return postgresql(server)
        case "of another program":
            return postgresql(server, "CREATE TABLE bookmarks (url TEXT)")
        case "of one with alembic":
            version = "CREATE TABLE alembic_version (version_num TEXT)", "INSERT INTO alembic_version VALUES ('1')"
            return postgresql(server, "CREATE TABLE bookmarks (url TEXT)", *version)
        case "of Optuna":
            return of_optuna(postgresql(server))
    return of_optuna(f"sqlite:///{tmp_path}/studies.db")


def content(url: str) -> dict[str, list[object]]:
    """All that is in a database."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    found = sa.MetaData()
    found.reflect(engine)
    with engine.connect() as connection:
        rows = {table.name: [tuple(row) for row in connection.execute(table.select())] for table in found.sorted_tables}
    engine.dispose()
    return rows


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_launch_and_its_dry_run_refuse_a_name_that_another_program_has_and_write_nothing(
    packages: Path, tmp_path: Path, server: Server, kind: str
) -> None:
    url = of_optuna(postgresql(server) if kind == "postgresql" else f"sqlite:///{tmp_path}/studies.db")
    tree, before = Tree(packages, tmp_path / "runs", storage=url), content(url)
    for dry in ((), ("--dry-run",)):
        told = tree.run("launch", "--study", "foreign", *SEARCH, *dry, expect=2).stderr
        assert told.count("\n") == 1, told
        assert "the study foreign-tiny in this database is of another program: nothing was changed in it" in told
        assert content(url) == before
        assert not tree.runs.exists()


def test_a_command_that_looks_writes_nothing_and_says_in_one_line_that_nothing_is_ours(
    packages: Path, tmp_path: Path, others: str
) -> None:
    tree, before = Tree(packages, tmp_path / "runs", storage=others), content(others)
    for command in LOOKING:
        told = tree.run(*command, expect=2).stderr
        assert told.count("\n") == 1, told
        assert "nothing was changed in it" in told
        assert "--storage" in told
        assert content(others) == before
    assert not tree.runs.exists()


def test_a_look_at_patches_and_a_dry_run_write_nothing_into_it(packages: Path, tmp_path: Path, others: str) -> None:
    tree, before = Tree(packages, tmp_path / "runs", storage=others), content(others)
    refused = 2 if "alembic_version" in before and "studies" not in before else 0  # by a launch as well
    tree.run("launch", "--dry-run", "--study", "s", *SEARCH, expect=refused)
    tree.run("explore", "--vgg16-weights", "none", *PATCHES, expect=refused)
    assert content(others) == before


def test_a_launch_refuses_one_whose_version_is_kept_where_optuna_would_keep_its_own(
    packages: Path, tmp_path: Path, server: Server
) -> None:
    url = postgresql(server, "CREATE TABLE alembic_version (version_num TEXT)")
    tree = Tree(packages, tmp_path / "runs", storage=url)
    told = tree.run("launch", "--study", "s", *SEARCH, expect=2).stderr
    assert told.count("\n") == 1
    assert "is of another program (its tables: alembic_version)" in told
    assert content(url) == {"alembic_version": []}
