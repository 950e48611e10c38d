"""Many files: decoded by several processes, interrupted, gone on with; and no process outlives its reader."""

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from data_utils.readers import _decode
from data_utils.readers.patches import PatchSet, read_patches, signature
from data_utils.split.prepare import prepare
from tests.tree import wait_until

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:300")


@pytest.fixture
def source(made: PatchSet, tmp_path: Path) -> Path:
    """A patient folder."""
    folder = tmp_path / "source"
    assert made.patients is not None
    assert made.labels is not None
    for row, name in enumerate(made.names):
        file = folder / made.patients[row] / str(made.labels[row]) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(made.pixels[row]).save(buffer, "PNG")
        file.write_bytes(buffer.getvalue())
    return folder


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files are read as if they were many: by two processes, 40 at a time."""
    monkeypatch.setattr(_decode, "_PARALLEL_FROM", 1)
    monkeypatch.setattr(_decode, "_PIECE", 40)
    monkeypatch.setattr(_decode, "_MAX_PROCESSES", 2)


def interrupt_after(files: int) -> object:
    def progress(done: int, of: int) -> None:
        if done >= files:
            raise KeyboardInterrupt

    return progress


def damage(files: list[Path]) -> None:
    """Other bytes, of the same size and time, so that nothing but reading them can tell."""
    for file in files:
        stat = file.stat()
        file.write_bytes(bytes(stat.st_size))
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def sorted_files(source: Path) -> list[Path]:
    return sorted(source.rglob("*.png"), key=lambda file: file.relative_to(source).as_posix())


@pytest.mark.usefixtures("many")
def test_an_interrupted_reading_goes_on_and_decodes_nothing_twice(made: PatchSet, source: Path, tmp_path: Path) -> None:
    whole = read_patches(str(source))
    places = {"into": tmp_path / "pixels.npy", "pieces": tmp_path / "pieces"}
    with pytest.raises(KeyboardInterrupt):
        read_patches(str(source), progress=interrupt_after(120), **places)
    kept = sorted(path.name for path in (tmp_path / "pieces").iterdir())
    assert kept[:3] == ["0000000.json", "0000040.json", "0000080.json"]
    assert kept[-1] == "pixels.npy"
    damage(sorted_files(source)[:120])  # whoever reads them again notices
    calls: list[tuple[int, int]] = []
    again = read_patches(str(source), progress=lambda *call: calls.append(call), **places)
    np.testing.assert_array_equal(again.pixels, whole.pixels)
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), whole.pixels)
    np.testing.assert_array_equal(again.names, whole.names)
    assert [done for done, _ in calls] == [40, 80, 120, 160, 200, 240, 280, 300]
    assert not (tmp_path / "pieces").exists()


def full(*_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("many")
def test_a_reading_that_found_no_room_finds_none_the_next_time_either(
    made: PatchSet, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"into": tmp_path / "pixels.npy", "pieces": tmp_path / "pieces"}
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        for _ in range(2):  # a file that is there in its whole length may still have no room behind it
            with pytest.raises(OSError, match="No space left"):
                read_patches(str(source), **places)
    assert len(read_patches(str(source), **places)) == len(made)


@pytest.mark.usefixtures("many")
def test_a_reading_that_finds_no_room_to_go_on_loses_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"into": tmp_path / "pixels.npy", "pieces": tmp_path / "pieces"}
    with pytest.raises(KeyboardInterrupt):
        read_patches(str(source), progress=interrupt_after(120), **places)
    begun = (tmp_path / "pieces" / "pixels.npy").read_bytes()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        read_patches(str(source), **places)
    assert (tmp_path / "pieces" / "pixels.npy").read_bytes() == begun


def cut(piece: Path) -> None:
    piece.write_bytes(piece.read_bytes()[:-5])


def blank(piece: Path) -> None:
    """The rows of a piece as a power cut may leave them: noted as done, but never written."""
    pixels = np.load(piece.parent / "pixels.npy", mmap_mode="r+")
    pixels[:40] = 0
    pixels.flush()


def shorten(piece: Path) -> None:
    np.save(piece.parent / "pixels.npy", np.zeros((3, 50, 50, 3), np.uint8))


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("harm", [cut, blank, shorten, Path.unlink])
def test_a_piece_that_is_not_whole_is_decoded_again(
    made: PatchSet, source: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    places = {"into": tmp_path / "pixels.npy", "pieces": tmp_path / "pieces"}
    with pytest.raises(KeyboardInterrupt):
        read_patches(str(source), progress=interrupt_after(80), **places)
    harm(tmp_path / "pieces" / "0000000.json")
    again = read_patches(str(source), **places)
    place = {name: row for row, name in enumerate(made.names)}
    np.testing.assert_array_equal(again.pixels, made.pixels[[place[name] for name in again.names]])


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("into", [None, "pixels.npy"])
def test_files_of_another_size_leave_no_gap(source: Path, tmp_path: Path, into: str | None) -> None:
    files = sorted_files(source)
    border = [*range(35, 60), 119, 160, 299]
    for row in border:
        Image.fromarray(np.zeros((50, 30, 3), np.uint8)).save(files[row])
    read = read_patches(str(source), into=into and tmp_path / into)
    assert read.exclusions == (("other size than 50x50", 28),)
    stay = [file for row, file in enumerate(files) if row not in border]
    assert read.names.tolist() == [file.name for file in stay]
    expected = np.stack([np.asarray(Image.open(file)) for file in stay])
    np.testing.assert_array_equal(read.pixels, expected)


@pytest.mark.usefixtures("many")
def test_a_launch_that_was_interrupted_goes_on_and_leaves_no_pieces(source: Path, tmp_path: Path) -> None:
    def prepared(folder: str, progress: object = None) -> object:
        return prepare(
            str(source), tmp_path / folder / "data", name="s", fractions=(70, 15, 15), seed=0, lock=None,
            progress=progress,
        )  # fmt: skip

    (tmp_path / "runs").mkdir()
    stale = tmp_path / "runs" / ".data-pieces-of-another-source"
    stale.mkdir()
    with pytest.raises(KeyboardInterrupt):
        prepared("runs", interrupt_after(120))
    (kept,) = (tmp_path / "runs").iterdir()
    assert kept.name == f".data-pieces-{signature(str(source))[:16]}"
    again, whole = prepared("runs"), prepared("whole")
    assert again.fingerprint == whole.fingerprint
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["data"]


@pytest.mark.usefixtures("many")
def test_without_a_place_for_pieces_nothing_is_kept(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        read_patches(str(source), progress=interrupt_after(120), into=tmp_path / "pixels.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pixels.npy", "source"]


def test_a_folder_is_read_alike_by_whatever_path(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_patches(str(source))
    monkeypatch.chdir(source)
    for path in (".", "./", f"{source}/", "../source", f"{source}//"):
        read = read_patches(path)
        np.testing.assert_array_equal(read.names, whole.names)
        np.testing.assert_array_equal(read.pixels, whole.pixels)


READER = """
import sys, time
from data_utils.readers import _decode
from data_utils.readers.patches import read_patches
if __name__ == "__main__":
    _decode._PARALLEL_FROM, _decode._PIECE, _decode._MAX_PROCESSES = 1, 10, 2
    def progress(done, of):
        print(done, flush=True)
        time.sleep(60)
    read_patches(sys.argv[1], progress=progress)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_reader_and_none_complains(source: Path, tmp_path: Path, number: int) -> None:
    script = tmp_path / "reader.py"
    script.write_text(READER)
    reader = subprocess.Popen(
        [sys.executable, str(script), str(source)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )  # fmt: skip
    assert reader.stdout is not None
    assert reader.stdout.readline() == "10\n"
    children = psutil.Process(reader.pid).children(recursive=True)
    assert len(children) >= 2
    if number == signal.SIGINT:
        os.killpg(reader.pid, number)  # as a terminal sends it: to all of them
    else:
        reader.kill()
    _, said = reader.communicate(timeout=60)
    wait_until(lambda: not any(child.is_running() for child in children), 60, "the end of the processes that decode")
    assert said.count("Traceback") == (number == signal.SIGINT)  # the reader's own, which run_command would catch
