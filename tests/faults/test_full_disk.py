"""A disk that is really full: no file is half there, the message names the path, and training goes on where it can."""

import resource
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from inside import context_of, job_for
from PIL import Image
from torch import nn
from tree import copy_tree

from data_utils import match
from data_utils.errors import FormatError
from search.command.settings import parse_explore, parse_launch
from search.training.device import Compute
from search.training.jobs import FeatureStore, WorkerContext
from search.workers.checkpoints import Checkpoint
from search.workers.worker import Worker
from studies.errors import NotWrittenError
from studies.files import naming, whole, write_whole

KILOBYTES = 16


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    return context_of(tmp_path_factory.mktemp("prepared") / "data")


@contextmanager
def limit_on_files() -> Iterator[None]:
    """No file of this process grows beyond ``KILOBYTES``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (KILOBYTES * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(params=["a full file system", "a limit on files"])
def full(
    request: pytest.FixtureRequest, tmp_path: Path, context: WorkerContext
) -> Iterator[AbstractContextManager[Path]]:
    """Within it, a folder holds no more than ``KILOBYTES`` in all, or in one file; pytest's own log is without."""
    folder = tmp_path / "full"
    folder.mkdir()
    if request.param == "a limit on files":
        yield _limited(folder)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={KILOBYTES}k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system of its own can be mounted here: {mounted.stderr.strip()}")
    yield nullcontext(folder)
    subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _limited(folder: Path) -> Iterator[Path]:
    with limit_on_files():
        yield folder


def test_a_file_is_whole_or_not_there_and_the_message_names_it(full: AbstractContextManager[Path]) -> None:
    with full as folder:
        path = folder / "report.html"
        with pytest.raises(NotWrittenError, match=rf"{path} cannot be written \((No space left|File too large)"):
            write_whole(path, "x" * KILOBYTES * 2048)
        assert list(folder.iterdir()) == []
        write_whole(path, "as it was")
        with pytest.raises(NotWrittenError, match="unchanged"), whole(path) as draft:
            draft.write_bytes(b"x" * KILOBYTES * 2048)
        assert path.read_text() == "as it was"
        assert list(folder.iterdir()) == [path]


def test_a_place_without_room_is_named_although_numpy_names_none(full: AbstractContextManager[Path]) -> None:
    with full as folder, pytest.raises(NotWrittenError, match=f"{folder} cannot be written"), naming(folder):
        np.zeros(KILOBYTES * 1024).tofile(folder / "array")


def test_training_goes_on_without_checkpoints_and_says_so_once(
    full: AbstractContextManager[Path], context: WorkerContext
) -> None:
    with full as folder:
        worker = Worker(context)
        job = job_for(folder / "7", epochs=4)
        reports = [worker.begin(job), worker.advance(), worker.advance(), worker.advance()]
        assert [(report.epoch, report.failure) for report in reports] == [(1, None), (2, None), (3, None), (4, None)]
        (warning,) = [warning for report in reports for warning in report.warnings]
        assert f"no checkpoint can be written in {folder}" in warning
        assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_the_checkpoint_of_that_training_is_larger_than_the_room(tmp_path: Path, context: WorkerContext) -> None:
    Worker(context).begin(job_for(tmp_path / "7", epochs=4))
    assert (tmp_path / "7" / "last.pt").stat().st_size > KILOBYTES * 1024


def test_an_earlier_checkpoint_stays_when_a_later_one_finds_no_room(full: AbstractContextManager[Path]) -> None:
    with full as folder:
        job = job_for(folder / "7", epochs=4)
        Checkpoint("contiguous", [], {"epoch": 1}).write(job)
        with pytest.raises(NotWrittenError, match=r"7/last.pt cannot be written"):
            Checkpoint("contiguous", [], {"epoch": 2, "network": torch.zeros(KILOBYTES * 1024)}).write(job)
        kept = Checkpoint.read(job)
        assert kept is not None
        assert kept.training == {"epoch": 1}


def test_kept_outputs_that_cannot_be_written_cost_no_trial(tmp_path: Path, context: WorkerContext) -> None:
    worker = Worker(context)
    with limit_on_files():
        opened = worker._open_features(FeatureStore(tmp_path, 2**30), ("a",), nn.Conv2d(3, 8, 3), Compute())
    assert opened is None
    assert [told for told in worker._warnings if f"cannot be kept in {tmp_path} (File too large)" in told]
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_data_that_find_no_room_are_refused_with_their_place(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    command = tree.command("launch", "--model", "tiny", "--data", "synthetic:600", "--study", "full")
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 2000; exec "$@"', "-", *command],
        cwd=tree.folder,
        env=tree.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path}/runs/full/data cannot be written (File too large)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not [path for path in (tree.runs / "full").iterdir() if "data" in path.name]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip whose pixels, once decoded, are larger than ``KILOBYTES``; an array of them lies beside it."""
    path, pixels = tmp_path / "patches.zip", np.arange(60 * 7500, dtype=np.uint32).astype(np.uint8)
    pixels = pixels.reshape(60, 50, 50, 3)
    np.save(tmp_path / "X.npy", pixels)
    with zipfile.ZipFile(path, "w") as written:
        for row in range(60):
            patient, label, picture = row % 12, row // 30, BytesIO()
            Image.fromarray(pixels[row]).save(picture, "PNG")
            written.writestr(f"{patient}/{label}/{patient}_idx5_x{row}_y1_class{label}.png", picture.getvalue())
    return path


def test_a_look_a_dry_run_and_a_match_that_find_no_room_name_the_place_and_leave_nothing(
    tmp_path: Path, archive: Path
) -> None:
    from search.trials.course import dry_run
    from search.upkeep.exploration import explore

    place = ["--data", str(archive), "--runs", str(tmp_path / "runs"), "--study", "s", "--vgg16-weights", "none"]
    out = tmp_path / "out"
    with limit_on_files():
        with pytest.raises(NotWrittenError, match=r"histotune-\S+ cannot be written \(File too large"):
            dry_run(parse_launch(["--model", "cnn", *place], {}))
        with pytest.raises(NotWrittenError, match=r"runs/s cannot be written \(File too large"):
            explore(parse_explore(place, {}))
        with pytest.raises(FormatError, match=r"out cannot be written \(File too large"):
            match.main(["--patches", str(tmp_path / "X.npy"), "--full", str(archive), "--out", str(out)])
    assert list((tmp_path / "runs" / "s").iterdir()) == []
    assert not out.exists()
