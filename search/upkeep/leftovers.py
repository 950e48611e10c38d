"""What may be removed: checkpoints, prepared patches and kept features that no study needs, scratch of dead runs.

Never a lock, plan, opening, member or report, and nothing of a comparison that a live launch works on. A folder is
looked into only where the database holds its lock: under another database its trials would look forgotten. Of a name
without one, there is only what reading left, and that tells by itself whether its process lives.
"""

import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from data_utils.colour.preprocessing import KINDS
from data_utils.scratch import dead_scratch_in
from data_utils.split.prepare import can_be_made_again, discard, leftovers, pieces_left
from search.command.settings import CleanSettings, CommonSettings
from search.command.terminal import say
from search.comparison import Comparison, holds_lock
from search.errors import UsageError
from search.training.node import features_folder, node_folder
from search.training.shelf import idle_entries, remove_idle
from search.trials.launches import dead_scratch, is_alive
from search.workers.courier import COPIES, JOBS
from studies.ledger.ledger import Ledger
from studies.storage.studies import is_there, open_existing

EXPLORING = "explore"
"""Kind of scratch of ``search.explore``: see ``scratch_in``."""
DRAFT_SECONDS = 24 * 3600.0
"""A file that was begun so long ago and never got its name belongs to a process that was killed."""
_KILLED = "its process was killed"
_MEMBER = re.compile(r"([0-9a-f]{12})-(\d+)")  # key of a configuration, fold: see search.final.retraining


@dataclass(frozen=True)
class Leftover:
    """Something that nobody needs.

    Attributes:
        kind: "checkpoint", "prepared", "features", "copy", "scratch", "pieces" or "draft".
        why: it may go, in words.
    """

    path: Path
    kind: str
    why: str

    @property
    def size(self) -> int:
        """Bytes on disk."""
        files = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(path.lstat().st_blocks * 512 for path in files)

    def remove(self) -> None:
        """Removes it; features and copies only if nobody uses them by now."""
        if self.kind in ("features", "copy"):
            remove_idle(self.path)
        elif self.kind == "prepared":
            discard(self.path)
        elif self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def clean(settings: CleanSettings) -> int:
    """Shows what may go, asks, and removes it; the exit code.

    Raises:
        UsageError: there is nobody to ask, and neither --yes nor --dry-run was given.
    """
    console = Console()
    found, kept = find(settings.common)
    for line in (*map(_line, found), *kept):
        say(console, line)
    if not found:
        say(console, "nothing to remove")
    elif settings.dry_run:
        say(console, f"{_gigabytes(sum(one.size for one in found))} in all; nothing was removed")
    elif settings.yes or _agreed(sum(one.size for one in found)):
        still = set(find(settings.common)[0])  # a launch may have begun in the meantime
        say(console, f"removed {_gigabytes(_remove([one for one in found if one in still]))}")
    else:
        say(console, "nothing was removed")
    return 0


def find(common: CommonSettings) -> tuple[list[Leftover], list[str]]:
    """What may go, and what was left alone although it may look forgotten, in words."""
    never_begun = [] if is_there(common.storage) else list(_of_others(common, set()))
    if never_begun:  # search.explore alone makes no database
        return never_begun, []
    storage = open_existing(common.storage)
    ledger = Ledger(storage.engine)
    locked = ledger.locked()
    names = [name for name in locked if common.study in ("", name)]
    found = list(_of_others(common, set(locked)))
    kept: list[str] = []
    unfinished = False
    for name in names:
        comparison = Comparison(name, common.runs / name, storage, ledger)
        reason = _hands_off(comparison)
        if reason is None:
            found += _of_comparison(comparison)
        elif comparison.folder.is_dir():
            kept.append(f"left alone: {comparison.folder} ({reason})")
        unfinished = unfinished or reason is not None or not _is_finished(comparison)
    if not common.study:
        found += [] if unfinished else [*_features(common.runs), *_copies(node_folder())]
        found += [Leftover(folder, "scratch", _KILLED) for folder in dead_scratch_in(node_folder(), JOBS)]
        found += [Leftover(folder, "scratch", _KILLED) for folder in dead_scratch()]
    return found, kept


def _of_others(common: CommonSettings, locked: set[str]) -> Iterator[Leftover]:
    """What reading left in folders of names that have no lock in this database."""
    for folder in sorted(path for path in common.runs.glob("*") if path.is_dir() and path.name not in locked):
        if common.study in ("", folder.name):
            yield from _of_reading(folder)


def _of_reading(folder: Path) -> Iterator[Leftover]:
    """Patches that were being read when a process was killed, whether for a lock or for a look."""
    data = folder / "data"
    for path in (*leftovers(data), *dead_scratch_in(folder, EXPLORING)):
        yield Leftover(path, "scratch", _KILLED)
    for path in folder.glob(f".{EXPLORING}-*"):  # of earlier versions, which named no process
        if path.name.count("-") == 1 and _is_old(path):
            yield Leftover(path, "scratch", "a look at patches that was cut off")
    why = "patches are prepared" if data.is_dir() else "else the next launch goes on from there, and then reads anew"
    for path in pieces_left(data):
        yield Leftover(path, "pieces", f"decoded by a reading that was cut off; {why}")


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > DRAFT_SECONDS


def _hands_off(comparison: Comparison) -> str | None:
    """Why nothing of a comparison may be touched; None where it may."""
    if not holds_lock(comparison.folder, comparison.ledger.lock(comparison.name)):
        return "its lock.json is not the lock in this database"
    if any(is_alive(launch) for launch in comparison.ledger.open_launches(comparison.name)):
        return "a launch works on it"
    return None


def _of_comparison(comparison: Comparison) -> Iterator[Leftover]:
    yield from _checkpoints(comparison)
    data = comparison.folder / "data"
    if _is_opened(comparison) and can_be_made_again(data):
        yield Leftover(data, "prepared", "the test split was opened; made again from the patches when it is needed")
    else:  # otherwise what is inside goes with it
        yield from (Leftover(path, "scratch", _KILLED) for kind in KINDS for path in leftovers(data / kind))
    yield from _of_reading(comparison.folder)
    for path in sorted(comparison.folder.rglob(".*.part*")):
        if path.is_file() and _is_old(path):
            yield Leftover(path, "draft", "half a file, begun by a process that was killed")


def _checkpoints(comparison: Comparison) -> Iterator[Leftover]:
    """Those of trials that wait for a worker are needed; so are those of members until the member is there."""
    models = comparison.models()
    for folder in sorted(comparison.folder.glob("*/checkpoints/*")):
        model = folder.parent.parent.name
        member = _MEMBER.fullmatch(folder.name)
        if member is not None:
            record = folder.parent.parent / "members" / member[1] / f"member_{member[2]}.json"
            if record.is_file():
                yield Leftover(folder, "checkpoint", "its member is trained")
        elif model not in models:
            yield Leftover(folder, "checkpoint", "its study is gone from the database")
        elif folder.name not in _unfinished(comparison, model):
            yield Leftover(folder, "checkpoint", "its trial has finished")


def _unfinished(comparison: Comparison, model: str) -> set[str]:
    """Numbers of trials that go on."""
    trials = comparison.load_study(model).get_trials(deepcopy=False)
    return {str(trial.number) for trial in trials if not trial.state.is_finished()}


def _is_opened(comparison: Comparison) -> bool:
    last = comparison.ledger.last_opening(comparison.name)
    return last is not None and last.closed


def _is_finished(comparison: Comparison) -> bool:
    """Whether every study holds the trials that it was last asked for."""
    wanted = {model: comparison.load_study(model).user_attrs.get("settings", {}) for model in comparison.models()}
    return all(comparison.finished(model) >= settings.get("trials", 0) for model, settings in wanted.items())


def _features(runs: Path) -> list[Leftover]:
    """Of this host only: what another one uses cannot be seen from here."""
    entries = idle_entries(features_folder((runs / "features").resolve()))
    return [Leftover(entry, "features", "every study has its trials; computed again when needed") for entry in entries]


def _copies(node: Path) -> list[Leftover]:
    """Of this host as well, and of searches that another one began."""
    return [Leftover(entry, "copy", "fetched again where runs/ is not there") for entry in idle_entries(node / COPIES)]


def _line(found: Leftover) -> str:
    return f"{_gigabytes(found.size):>10}  {found.path}  ({found.kind}: {found.why})"


def _agreed(size: int) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nothing was removed: give --yes to remove it without a question, or --dry-run to look only")
    sys.stdout.write(f"Remove these {_gigabytes(size)}? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove(found: list[Leftover]) -> int:
    """Removes them one by one; bytes that are gone."""
    freed = 0
    for one in found:
        size = one.size
        one.remove()
        freed += size if not one.path.exists() else 0
    return freed


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.1f} MB"
