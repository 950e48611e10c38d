"""``search.move`` as users type it: a search that goes on in another database, and what is refused."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from server import new_database, running_server
from stored import own_study
from tree import Tree

from search.trials.launches import Presence
from studies.ledger.chain import head
from studies.ledger.ledger import Ledger
from studies.storage.studies import open_storage

SEARCH = ("--model", "tiny", "--data", "synthetic:300", "--epochs", "2", "--pruner", "none", "--study", "moving")
FINALIZE = ("--study", "moving", "--draws", "200", "--finalists", "1")
PASSWORD = "s3cr3t/x@y"


@pytest.fixture
def tree(packages: Path, tmp_path: Path) -> Tree:
    return Tree(packages, tmp_path / "runs")


@pytest.fixture
def begun(tree: Tree) -> Tree:
    """A database with a study of two trials and a lock."""
    url = tree.storage = f"sqlite:///{tree.runs}/studies.db"
    storage = open_storage(url)
    study = own_study(storage)
    study.tell(study.ask(), 0.9)
    study.ask()
    Ledger(storage.engine).keep_lock("idc", "1" * 64, "a lock")
    storage.engine.dispose()
    return tree


@contextmanager
def ledger_of(url: str) -> Iterator[Ledger]:
    storage = open_storage(url)
    yield Ledger(storage.engine)
    storage.engine.dispose()


def move(tree: Tree, source: str, target: str, expect: int = 0) -> str:
    """Moves, and goes on there; what was said."""
    done = tree.run("move", "--from", source, "--to", target, expect=expect)
    if expect:
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr
    tree.storage = target
    return done.stdout


def report_of(tree: Tree) -> dict[str, object]:
    told: dict[str, object] = json.loads((tree.runs / "moving" / "report.json").read_text(encoding="utf-8"))
    return told


# --- a search goes on -----------------------------------------------------------------------------------------------


def test_a_search_goes_on_in_each_database_that_it_is_moved_to(tree: Tree, postgresql_url: str) -> None:
    first, last = f"sqlite:///{tree.runs}/studies.db", f"sqlite:///{tree.runs}/back.db"
    tree.run("launch", *SEARCH, "--trials", "2")
    best = tree.status("moving-tiny")["best"]

    told = move(tree, first, postgresql_url)
    assert "holds all of it now" in told
    assert f"go on with --storage {postgresql_url}" in told
    assert tree.status("moving-tiny")["best"] == best
    tree.run("launch", *SEARCH, "--trials", "3")
    assert tree.status("moving-tiny")["finished"] == 3
    tree.run("finalize", *FINALIZE)
    tree.run("report", "--study", "moving")
    assert "0 problems" in tree.run("status", "--check").stdout
    results = report_of(tree)

    move(tree, postgresql_url, last)
    (tree.runs / "moving" / "report.json").unlink()
    tree.run("report", "--study", "moving")
    assert report_of(tree)["models"] == results["models"]
    assert report_of(tree)["openings"] == results["openings"]
    assert "nothing was read again" in tree.run("finalize", *FINALIZE).stdout
    tree.run("launch", *SEARCH, "--trials", "4")
    assert tree.status("moving-tiny")["finished"] == 4
    tree.run("finalize", *FINALIZE[:2], *FINALIZE[4:], "--draws", "300", "--reopen", "one more trial")
    assert "0 problems" in tree.run("status", "--check").stdout
    with closing(sqlite3.connect(tree.runs / "back.db")) as connection:
        assert connection.execute("select id, reason from histotune_openings").fetchall() == [
            (1, ""),
            (2, "one more trial"),
        ]
    with closing(sqlite3.connect(tree.runs / "studies.db")) as connection:  # is as it was
        assert connection.execute("select count(*) from trials").fetchone() == (2,)
        assert connection.execute("select count(*) from histotune_openings").fetchone() == (0,)


def test_what_a_dead_launch_left_running_is_moved(begun: Tree, postgresql_url: str) -> None:
    url = str(begun.storage)
    with ledger_of(url) as ledger:
        dead = ledger.begin_launch("idc", "another host", 1, 1.5)
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql("update histotune_launches set beat_at = beat_at - 60")
        with ledger.lease("idc-cnn", dead):
            assert ledger.own("idc-cnn", 1, dead)
    move(begun, url, postgresql_url)
    (running,) = begun.status("idc-cnn")["running"]
    assert (running["trial"], running["launch"]) == (1, "died")


def test_the_same_command_again_says_that_it_was_done(begun: Tree, postgresql_url: str) -> None:
    url = str(begun.storage)
    with ledger_of(url) as ledger:
        newest = head(ledger.engine)
    assert f"the newest record of its chain is {newest[:12]}" in move(begun, url, postgresql_url)
    assert "held all of it before" in move(begun, url, postgresql_url)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_live_launch_is_waited_for_by_the_user(begun: Tree) -> None:
    url = str(begun.storage)
    target = begun.runs / "moved.db"
    with ledger_of(url) as ledger, Presence(ledger, "idc"):
        told = move(begun, url, f"sqlite:///{target}", expect=2)
    assert "works on idc, and what it writes from now on would be left behind: wait for its end, or end it" in told
    assert not target.exists()
    move(begun, url, f"sqlite:///{target}")


def test_nothing_is_moved_over_a_study(begun: Tree, postgresql_url: str) -> None:
    storage = open_storage(postgresql_url)
    own_study(storage, "precious-cnn")
    storage.engine.dispose()
    told = move(begun, str(begun.storage), postgresql_url, expect=2)
    assert "holds precious-cnn already, and nothing is moved over that; nothing was written: name an empty" in told


def test_a_database_that_is_not_there_is_told_of_by_the_command_s_own_flag(begun: Tree) -> None:
    told = move(begun, f"sqlite:///{begun.runs}/other.db", f"sqlite:///{begun.runs}/new.db", expect=2)
    assert told.startswith(f"there is no database {begun.runs}/other.db yet: ")
    assert told.endswith("or name it with --from\n")
    assert not (begun.runs / "other.db").exists()
    assert not (begun.runs / "new.db").exists()


def test_a_database_is_not_moved_onto_itself(begun: Tree, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(begun.runs / "studies.db")
    told = move(begun, str(begun.storage), f"sqlite:///{tmp_path}/link.db", expect=2)
    assert told == "--from and --to name the same database; name an empty one with --to\n"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///{runs}/none.db", "sqlite:///{runs}/new.db", "there is no database {runs}/none.db yet"),
        ("sqlite:///{runs}/studies.db", "mysql://host/new", "--to: 'mysql' is no database that is known here"),
        ("studies.db", "sqlite:///{runs}/new.db", "--from: not a database URL"),
        ("sqlite:///{runs}/studies.db", "sqlite:///{runs}/text", "is no SQLite database"),
        ("sqlite:///{runs}/studies.db", "sqlite:///{runs}/text", "give another with --to"),
        ("sqlite:///{runs}/studies.db", "postgresql://nobody:hush@127.0.0.1:9/none", "nobody:***@127.0.0.1:9/none"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(begun: Tree, source: str, target: str, said: str) -> None:
    (begun.runs / "text").write_text("no database")
    filled = [text.format(runs=begun.runs) for text in (source, target, said)]
    done = begun.run("move", "--from", filled[0], "--to", filled[1], expect=2)
    assert filled[2] in done.stderr.splitlines()[-1]
    assert "hush" not in done.stderr
    assert not (begun.runs / "new.db").exists()
    assert not (begun.runs / "none.db").exists()


def test_what_a_database_of_another_encoding_cannot_hold_is_one_line(begun: Tree, postgresql: str) -> None:
    with ledger_of(str(begun.storage)) as ledger:
        ledger.keep_lock("Ω", "1" * 64, "a lock")
    engine = sa.create_engine(postgresql.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("drop database if exists latin")
        connection.exec_driver_sql("create database latin encoding latin1 locale 'C' template template0")
    target = str(sa.make_url(postgresql).set(database="latin").render_as_string(hide_password=False))
    told = move(begun, str(begun.storage), target, expect=2)
    assert "cannot hold what sqlite:///" in told
    assert told.endswith("nothing was kept of it: name another one with --to, in UTF-8\n")
    with engine.connect() as connection:
        connection.exec_driver_sql("drop database latin")
    engine.dispose()


# --- passwords ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """URL of a server that lets nobody in without a password."""
    with running_server() as server:
        yield server.with_password("planted", PASSWORD)


@pytest.mark.parametrize("variable", ["HISTOTUNE_STORAGE", "PGPASSWORD"])
def test_a_password_comes_from_the_environment_and_is_never_told(begun: Tree, guarded: str, variable: str) -> None:
    """As for every other command; both ways."""
    url, full = str(begun.storage), sa.make_url(guarded)
    target = str(full.set(password=None).render_as_string(hide_password=False))
    if variable == "PGPASSWORD":
        begun.environment = {"PGPASSWORD": PASSWORD}
        target = target.replace("/postgres?", f"/{sa.make_url(new_database(guarded)).database}?")
    else:
        begun.environment = {"HISTOTUNE_STORAGE": guarded}
    told = move(begun, url, target) + move(begun, target, f"sqlite:///{begun.runs}/back.db")
    assert "s3cr3t" not in told
    assert "x@y" not in told
