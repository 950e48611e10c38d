"""Moves a database to another: what is refused, a bar, and what is said in the end.

The old database is only read, so that it is a backup afterwards. Folders below ``runs/`` belong to studies, not to
their database: they stay where they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages import RDBStorage
from rich.console import Console
from rich.progress import Progress
from sqlalchemy.exc import DataError, SQLAlchemyError

from search.command.settings import MoveSettings
from search.command.terminal import say
from search.errors import SearchFailed, UsageError
from search.trials.launches import is_alive
from studies.errors import StorageError
from studies.ledger import moving
from studies.ledger.chain import head
from studies.ledger.ledger import Launch, Ledger
from studies.secrets import masked, without_password
from studies.storage.copying import snapshot
from studies.storage.database_url import read_url
from studies.storage.studies import open_existing, open_storage


def move(settings: MoveSettings) -> int:
    """Copies everything, holds both sides against each other, and says what to do next; the exit code.

    Raises:
        UsageError: both are one database, or a launch works on it.
        StorageError: one of them cannot be opened; the target holds something, or cannot hold what is to be moved.
        SearchFailed: a database went away meanwhile.
    """
    if _place(settings.source) == _place(settings.target):
        raise UsageError("--from and --to name the same database; name an empty one with --to")
    source = _opened("--from", open_existing, settings.source)
    ledger = Ledger(source.engine)
    with _told(settings), snapshot(source.engine) as seen:
        _refuse_running(ledger)
        target = _opened("--to", open_storage, settings.target)
        Ledger(target.engine)  # makes our own tables, with what lets them only grow
        with _bar(moving.TURNS * moving.rows_in(seen)) as shown:
            moved = moving.move(seen, target.engine, masked(settings.target), shown)
    for line in _lines(settings, moved, head(target.engine)):
        say(Console(), line)
    return 0


def _place(url: str) -> tuple[object, ...]:
    """What makes two URLs one database."""
    parsed = read_url(url)
    if parsed.get_backend_name() == "sqlite":
        return ("sqlite", Path(str(parsed.database)).resolve())
    where = (parsed.host, parsed.port or 5432, *(parsed.query.get(key) for key in ("host", "port")))  # sockets too
    return ("postgresql", *where, parsed.database)


def _opened(flag: str, opens: Callable[[str], RDBStorage], url: str) -> RDBStorage:
    """A database of this command, whose flags have other names than those of the others."""
    try:
        return opens(url)
    except StorageError as error:
        words = str(error).replace("with --storage", f"with {flag}")
        raise StorageError(
            words.replace("name the --runs or --storage of that launch", f"name it with {flag}")
        ) from error


def _refuse_running(ledger: Ledger) -> None:
    alive = [(name, one) for name in ledger.launched() for one in ledger.open_launches(name) if is_alive(one)]
    if alive:
        name, launch = alive[0]
        raise UsageError(f"{_where(name, launch)}: wait for its end, or end it with Ctrl-C, then run this again")


def _where(name: str, launch: Launch) -> str:
    return f"process {launch.pid} on {launch.host} works on {name}, and what it writes from now on would be left behind"


@contextmanager
def _told(settings: MoveSettings) -> Iterator[None]:
    """Says in one line what came in between, and that nothing of it is left."""
    source, target = masked(settings.source), masked(settings.target)
    try:
        yield
    except (DataError, UnicodeEncodeError) as error:
        raise StorageError(
            f"the database {target} cannot hold what {source} does: {_reason(settings, error)}; nothing was kept of "
            "it: name another one with --to, in UTF-8"
        ) from error
    except SQLAlchemyError as error:
        raise SearchFailed(
            f"moving {source} to {target} broke off: {_reason(settings, error)}; nothing was kept of it: mend that, "
            "then run this again"
        ) from error


def _reason(settings: MoveSettings, error: Exception) -> str:
    words = " ".join(str(getattr(error, "orig", None) or error).split())
    return without_password(without_password(words, settings.source), settings.target)


@contextmanager
def _bar(rows: int) -> Iterator[Callable[[int], None]]:
    """A bar, where someone watches."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("moving rows", total=rows)
        yield lambda done: bar.advance(task, done)


def _lines(settings: MoveSettings, moved: moving.Moved, newest: str) -> Iterator[str]:
    source, target = masked(settings.source), masked(settings.target)
    done = "held all of it before" if moved.before else "holds all of it now"
    yield f"{target} {done}: {moved.rows:,} rows, sha256 {moved.digest}, as in {source}"
    yield f"the newest record of its chain is {newest[:12]}, as reports name it"
    yield f"go on with --storage {target}; {source} is as it was: keep it as a backup, and search no further in it"
