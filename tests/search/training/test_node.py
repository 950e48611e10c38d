"""The folder of a node: on a disk of its own, the user's alone."""

import os
import tempfile
from pathlib import Path

import platformdirs
import pytest

from search.training.node import VARIABLE, features_folder, is_local, kind_of, node_folder

OWN = f"histotune-node-{os.getuid()}"


def mounted(root: Path, *mounts: tuple[Path, str]) -> Path:
    """A root whose ``proc`` tells of these file systems."""
    lines = [f"1 1 0:1 / {str(point).replace(' ', chr(92) + '040')} rw - {kind} x rw" for point, kind in mounts]
    told = root / "proc/self/mountinfo"
    told.parent.mkdir(parents=True)
    told.write_text("\n".join(["1 1 8:1 / / rw shared:1 - ext4 /dev/sda rw", *lines]))
    return root


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, and the user's cache beside it."""
    folder = tmp_path / "a temporary one"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    return folder


def test_a_folder_that_is_named_is_taken_and_made(tmp_path: Path) -> None:
    assert node_folder({VARIABLE: str(tmp_path / "a/b")}) == tmp_path / "a/b"
    assert (tmp_path / "a/b").is_dir()


def test_else_the_folder_for_temporary_files_where_it_is_on_a_disk(temporary: Path, tmp_path: Path) -> None:
    root = mounted(tmp_path / "root")
    assert node_folder({}, root) == temporary / OWN
    assert (temporary / OWN).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["tmpfs", "nfs4", "fuse.sshfs"])
def test_never_memory_nor_a_network(temporary: Path, tmp_path: Path, kind: str) -> None:
    root = mounted(tmp_path / "root", (temporary, kind), (Path("/var/tmp"), kind))
    assert kind_of(temporary / "x", root) == kind
    assert node_folder({}, root) == tmp_path / "histotune/node"


def test_never_a_folder_that_another_user_made(temporary: Path, tmp_path: Path) -> None:
    (temporary / OWN).mkdir()
    (temporary / OWN).chmod(0o777)
    root = mounted(tmp_path / "root", (Path("/var/tmp"), "nfs"))
    assert node_folder({}, root) == tmp_path / "histotune/node"


def test_what_is_mounted_last_counts(tmp_path: Path) -> None:
    root = mounted(tmp_path / "root", (tmp_path, "nfs"), (tmp_path, "xfs"), (tmp_path / "below", "cifs"))
    assert is_local(tmp_path, root)
    assert not is_local(tmp_path / "below", root)


def test_outputs_of_frozen_layers_go_to_a_disk_where_results_lie_on_a_network(tmp_path: Path) -> None:
    runs, own = tmp_path / "runs", {VARIABLE: str(tmp_path / "own")}
    runs.mkdir()
    root = mounted(tmp_path / "root", (runs, "nfs4"))
    assert features_folder(runs / "features", own, root) == tmp_path / "own/features"
