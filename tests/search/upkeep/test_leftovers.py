"""What ``search.clean`` removes, and what it never does."""

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState
from stored import own_study

from search.command.settings import CleanSettings, CommonSettings
from search.comparison import Comparison, Division
from search.errors import UsageError
from search.trials.launches import Presence, scratch
from search.upkeep.leftovers import clean, find
from studies.errors import StorageError
from studies.ledger.ledger import Ledger
from studies.storage.studies import open_storage

DEAD = 2**22 + 1  # larger than any process id of Linux


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a comparison whose test split was opened, with everything in its folder that one leaves."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    storage = open_storage(f"sqlite:///{runs}/studies.db")
    made = Comparison("idc", runs / "idc", storage, Ledger(storage.engine))
    made.prepared("synthetic:300", Division((70, 15, 15), 0, (), None))
    study = own_study(storage)
    study.set_user_attr("settings", {"trials": 1})
    study.tell(study.ask(), 0.9)
    study.enqueue_trial({})
    study.ask()  # goes on under number 1
    members = ("cnn/checkpoints/0123456789ab-2", "cnn/checkpoints/0123456789ab-3", "cnn/members/0123456789ab")
    for name in ("cnn/checkpoints/0", "cnn/checkpoints/1", "vgg16/checkpoints/3", *members):
        put(made.folder / name / "last.pt")
    for name in ("cnn/members/0123456789ab/member_2.json", "opening/predictions.npz", "report.html", "logs/launch.log"):
        put(made.folder / name)
    made.ledger.freeze_plan("idc", "1" * 64, "{}")
    made.ledger.close_opening(made.ledger.record_opening("idc", "1" * 64, ["a"], "", "me"), "2" * 64)
    storage.engine.dispose()
    return runs


@pytest.fixture
def common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommonSettings:
    monkeypatch.setenv("HISTOTUNE_NODE_FOLDER", str(tmp_path / "node"))
    return CommonSettings(None, "", f"sqlite:///{tmp_path}/runs/studies.db", tmp_path / "runs", "info")


@pytest.fixture
def comparison(
    finished: Path, common: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Comparison]:
    """A copy of it to try things on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the scratch of other runs is not ours to look at
    shutil.copytree(finished, common.runs)
    opened = Comparison.open(common)
    yield opened
    opened.storage.engine.dispose()


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10_000)
    return path


def names(common: CommonSettings) -> set[tuple[str, str]]:
    found, _ = find(common)
    return {(one.kind, one.path.relative_to(common.runs.parent).as_posix()) for one in found}


GONE = {
    ("checkpoint", "runs/idc/cnn/checkpoints/0"),
    ("checkpoint", "runs/idc/cnn/checkpoints/0123456789ab-2"),
    ("checkpoint", "runs/idc/vgg16/checkpoints/3"),
    ("prepared", "runs/idc/data"),
}


def test_only_what_no_study_needs_is_found(common: CommonSettings, comparison: Comparison) -> None:
    assert names(common) == GONE


def test_it_is_removed_and_nothing_else(
    common: CommonSettings, comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(comparison.folder)
    assert clean(CleanSettings(common=common, yes=False, dry_run=True)) == 0
    assert files(comparison.folder) == before
    assert clean(CleanSettings(common=common, yes=True, dry_run=False)) == 0
    told = capsys.readouterr().out
    gone = before - files(comparison.folder)
    assert gone == {name for name in before if any(name.startswith(f"{path[9:]}/") for _, path in GONE)}
    assert "nothing was removed" in told
    assert "MB" in told
    assert str(comparison.folder / "data") in told
    assert names(common) == set()
    assert comparison.ledger.last_opening("idc") is not None
    assert {"lock.json", "report.html", "opening/predictions.npz", "logs/launch.log"} <= files(comparison.folder)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_without_somebody_to_ask_nothing_is_removed(common: CommonSettings, comparison: Comparison) -> None:
    before = files(comparison.folder)
    with pytest.raises(UsageError, match=r"nothing was removed: give --yes"):
        clean(CleanSettings(common=common, yes=False, dry_run=False))
    assert files(comparison.folder) == before


@pytest.mark.parametrize(("answer", "left"), [("n\n", 4), ("\n", 4), ("y\n", 0)])
def test_it_asks(
    common: CommonSettings, comparison: Comparison, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    class Person:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: answer)

    monkeypatch.setattr("sys.stdin", Person)
    clean(CleanSettings(common=common, yes=False, dry_run=False))
    assert len(names(common)) == left


def test_a_comparison_that_a_live_launch_works_on_is_left_alone(common: CommonSettings, comparison: Comparison) -> None:
    with Presence(comparison.ledger, "idc"):
        found, kept = find(common)
    assert found == []
    assert kept == [f"left alone: {comparison.folder} (a launch works on it)"]
    assert names(common) == GONE


def test_a_folder_whose_lock_is_not_in_this_database_is_left_alone(
    common: CommonSettings, comparison: Comparison
) -> None:
    lock = comparison.folder / "lock.json"
    lock.write_text(lock.read_text().replace('"test"', '"train"', 1))
    found, kept = find(common)
    assert found == []
    assert kept == [f"left alone: {comparison.folder} (its lock.json is not the lock in this database)"]


def test_prepared_patches_stay_where_they_may_be_wanted_or_could_not_be_made_again(
    common: CommonSettings, comparison: Comparison
) -> None:
    meta = comparison.folder / "data" / "meta.json"
    written = meta.read_text()
    meta.write_text(written.replace('"signature": "', '"signature": "0'))  # its source has changed since
    assert ("prepared", "runs/idc/data") not in names(common)
    meta.write_text(written)
    comparison.ledger.record_opening("idc", "3" * 64, ["a"], "again", "me")  # and was cut off
    assert ("prepared", "runs/idc/data") not in names(common)


def test_what_killed_processes_left_is_found(common: CommonSettings, comparison: Comparison, tmp_path: Path) -> None:
    partial = put(comparison.folder / f".data-partial-{socket.gethostname()}-{DEAD}" / "pixels.npy").parent
    alive = put(comparison.folder / f".data-partial-{socket.gethostname()}-1" / "pixels.npy").parent
    dead = put(tmp_path / f"histotune-{DEAD}-abc" / "x").parent
    old = put(comparison.folder / ".report.html.77.part")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    put(comparison.folder / ".report.json.77.part")
    with scratch() as mine:
        found = {one.path for one in find(common)[0]} - {common.runs.parent / path for _, path in GONE}
    assert found == {partial, dead, old}
    assert alive not in found
    assert Path(mine) not in found


def test_transformed_pixels_go_with_the_prepared_ones_and_half_of_them_go_first(
    common: CommonSettings, comparison: Comparison
) -> None:
    data = comparison.folder / "data"
    before = next(one.size for one in find(common)[0] if one.kind == "prepared")
    put(data / "macenko" / "pixels.npy")
    half = put(data / f".macenko-partial-{socket.gethostname()}-{DEAD}" / "pixels.npy").parent
    assert names(common) == GONE  # all of it is in the folder that goes, and is counted there, once
    assert next(one.size for one in find(common)[0] if one.kind == "prepared") >= before + 20_000
    comparison.ledger.record_opening("idc", "3" * 64, ["a"], "again", "me")  # and was cut off: the folder stays
    assert {one.path for one in find(common)[0] if one.path.is_relative_to(data)} == {half}


def test_what_killed_readings_left_is_found_below_names_without_a_lock_too(
    common: CommonSettings, comparison: Comparison
) -> None:
    host = socket.gethostname()
    left = set()
    for name in ("idc", "never"):
        folder = common.runs / name
        left.add(put(folder / f".data-partial-{host}-{DEAD}" / "read.npy").parent)
        left.add(put(folder / f".explore-{host}-{DEAD}" / "read.npy").parent)
        left.add(put(folder / ".data-pieces-0123" / "pixels.npy").parent)
        put(folder / f".explore-{host}-1" / "read.npy")  # a process that lives
        put(folder / ".explore-ab_1" / "read.npy")  # of an earlier version, young
    found = {one.path: one for one in find(common)[0]}
    assert set(found) - {common.runs.parent / path for _, path in GONE} == left
    assert "patches are prepared" in found[common.runs / "idc" / ".data-pieces-0123"].why
    assert "the next launch goes on from there" in found[common.runs / "never" / ".data-pieces-0123"].why
    reader = put(common.runs / "never" / f".data-partial-{host}-1" / "read.npy")
    assert common.runs / "never" / ".data-pieces-0123" not in {one.path for one in find(common)[0]}
    reader.parent.rename(
        reader.parent.with_name(".data-partial-another-7")
    )  # whether it lives cannot be seen from here
    assert common.runs / "never" / ".data-pieces-0123" not in {one.path for one in find(common)[0]}


def test_what_a_killed_look_left_is_found_where_there_is_no_database_yet(tmp_path: Path) -> None:
    common = CommonSettings(None, "", f"sqlite:///{tmp_path}/studies.db", tmp_path, "info")
    with pytest.raises(StorageError, match="there is no database"):
        find(common)
    left = put(tmp_path / "idc" / f".explore-{socket.gethostname()}-{DEAD}" / "read.npy").parent
    assert [one.path for one in find(common)[0]] == [left]
    assert not (tmp_path / "studies.db").exists()


def test_kept_features_go_when_every_study_has_its_trials_and_nobody_uses_them(
    common: CommonSettings, comparison: Comparison
) -> None:
    entry = put(common.runs / "features" / socket.gethostname() / "0123" / "values.bin").parent
    users = entry / "users"
    users.touch()
    study = comparison.load_study("cnn")
    assert ("features", f"runs/features/{socket.gethostname()}/0123") in names(common)
    with users.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert names(common) == GONE
    study.set_user_attr("settings", {"trials": 5})
    assert names(common) == GONE
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]


def test_what_this_node_has_fetched_goes_when_nobody_uses_it(common: CommonSettings, comparison: Comparison) -> None:
    node = common.runs.parent / "node"
    users = put(node / "copies" / "0123" / "users")
    left = put(node / f".job-{socket.gethostname()}-{DEAD}" / "checkpoint/last.pt").parents[1]
    put(node / f".job-{socket.gethostname()}-{os.getppid()}" / "checkpoint/last.pt")
    assert comparison.finished("cnn") == 1
    found = {(one.kind, one.path) for one in find(common)[0] if one.path.is_relative_to(node)}
    assert found == {("copy", users.parent), ("scratch", left)}
    with users.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        clean(CleanSettings(yes=True, common=common))
        assert users.exists()
    clean(CleanSettings(yes=True, common=common))
    assert [path.name for path in node.iterdir() if path.name == "copies"] == ["copies"]
    assert not users.exists()
    assert not left.exists()
