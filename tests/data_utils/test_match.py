"""Patients of an X.npy, found in the full set by pixels."""

import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils import fetch
from data_utils.command import run_command
from data_utils.errors import FormatError
from data_utils.match import check_free, main, match, save
from data_utils.readers.patches import PatchSet, read_patches, signature

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60")


@pytest.fixture
def archive(made: PatchSet, tmp_path: Path) -> Path:
    """Rows 0 to 39 as the public zip."""
    path = tmp_path / "full.zip"
    with zipfile.ZipFile(path, "w") as written:
        for row in range(40):
            assert made.patients is not None
            assert made.labels is not None
            buffer = BytesIO()
            Image.fromarray(made.pixels[row]).save(buffer, "PNG")
            written.writestr(f"{made.patients[row]}/{made.labels[row]}/{made.names[row]}", buffer.getvalue())
    return path


def test_rows_get_patient_and_place_and_others_stay_empty(
    made: PatchSet, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = np.random.default_rng(0).permutation(60)
    np.save(tmp_path / "X.npy", made.pixels[order])
    assert main(["--patches", str(tmp_path / "X.npy"), "--full", str(archive), "--out", str(tmp_path / "out")]) == 0
    patients, xy = (np.load(tmp_path / "out" / name) for name in ("patients.npy", "xy.npy"))
    there = order < 40
    assert made.patients is not None
    np.testing.assert_array_equal(patients, np.where(there, made.patients[order], ""))
    places = np.stack([made.x[order], made.y[order]], axis=1)
    np.testing.assert_array_equal(xy, np.where(there[:, None], places, -1))
    told = capsys.readouterr().out
    assert "40 of 60 patches matched" in told
    assert "20 are not in" in told
    assert "--exclude no_patient" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["patients.npy", "xy.npy"]


def test_pixels_of_several_patients_or_places_are_nobodys_or_nowhere(made: PatchSet) -> None:
    assert made.patients is not None
    rows = np.array([0, 1, 2, 0, 1])
    full = made.take(rows)
    assert full.patients is not None
    owners = full.patients.copy()
    owners[3] = "another"
    x = full.x.copy()
    x[4] += 50
    matched = match(made.digests[:4], replace(full, patients=owners, x=x))
    assert matched.patients.tolist() == ["", made.patients[1], made.patients[2], ""]
    assert matched.shared.tolist() == [True, False, False, False]
    assert matched.xy.tolist() == [[-1, -1], [-1, -1], [int(made.x[2]), int(made.y[2])], [-1, -1]]


def test_a_set_without_patients_is_refused(made: PatchSet) -> None:
    with pytest.raises(FormatError, match="synthetic:60 has no patient ids"):
        match(made.digests, replace(made, patients=None))


@pytest.mark.parametrize("name", ["patients.npy", "xy.npy"])
def test_nothing_is_written_over(made: PatchSet, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(FormatError, match=f"{name} is there already and is not written over"):
        check_free(tmp_path)
    with pytest.raises(FormatError, match="is there already"):
        save(match(made.digests, made), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"precious"


def test_the_command_refuses_in_one_line_before_it_reads_the_archive(made: PatchSet, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", made.pixels)
    (tmp_path / "xy.npy").touch()
    command = [sys.executable, "-m", "data_utils.match", "--patches", str(tmp_path / "X.npy"), "--full", "nowhere"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "xy.npy is there already" in done.stderr


def asked(folder: Path, archive: Path) -> list[str]:
    return ["--patches", str(folder / "X.npy"), "--full", str(archive), "--out", str(folder / "new" / "out")]


def test_where_nothing_matches_nothing_is_written(made: PatchSet, archive: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", 255 - made.pixels)
    with pytest.raises(FormatError, match=r"none of 60 patches of .*X.npy can be told a patient.*nothing was written"):
        main(asked(tmp_path, archive))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order_and_scratch_of_killed_ones_is_removed(
    made: PatchSet,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    np.save(tmp_path / "X.npy", made.pixels)
    out = tmp_path / "new" / "out"
    dead = out / f".match-{socket.gethostname()}-{2**22 + 1}"
    dead.mkdir(parents=True)
    while_reading = []

    def read(*_: object, **__: object) -> None:
        while_reading.extend(out.iterdir())
        os.kill(os.getpid(), number)

    monkeypatch.setattr("data_utils.match.read_patches", read)
    assert run_command(lambda: main(asked(tmp_path, archive))) == code
    assert capsys.readouterr().err == f"interrupted by {number.name}; go on with the same command\n"
    assert while_reading == [out / f".match-{socket.gethostname()}-{os.getpid()}"]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "argv", "message"),
    [
        (main, ["--patchs", "X.npy"], "--patchs is not an option, did you mean --patches?"),
        (main, ["--patches", "X.npy"], "--full is needed"),
        (fetch.main, ["--to", "x", "--set", "smal"], "--set: 'smal' is not known, did you mean small?"),
        (fetch.main, ["--too", "x"], "--too is not an option, did you mean --to?"),
    ],
)
def test_a_mistyped_flag_or_value_is_answered_with_did_you_mean(
    capsys: pytest.CaptureFixture[str], command: Callable[[list[str]], int], argv: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        command(argv)
    told = capsys.readouterr().err
    assert (stop.value.code, told.count("\n")) == (2, 1)
    assert message in told


def test_the_real_arrays_get_back_the_patients_that_are_known(shared: Path) -> None:
    data = shared / "data"
    arrays, full = read_patches(str(data)), read_patches(str(data / "idc_patches.zip"))
    matched = match(arrays.digests, full)
    assert arrays.patients is not None
    assert int(matched.found.sum()) == 5332
    np.testing.assert_array_equal(matched.patients[matched.found], arrays.patients[matched.found])
    assert not matched.shared.any()
    assert (matched.xy[matched.found] >= 0).all()
    np.testing.assert_array_equal(matched.found, np.isin(arrays.digests, full.digests))


def test_places_are_read_where_they_are_known_and_ids_may_be_empty(made: PatchSet, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", made.pixels)
    np.save(tmp_path / "Y.npy", made.labels)
    before = signature(str(tmp_path))
    np.save(tmp_path / "xy.npy", np.stack([made.x, made.y], axis=1))
    assert signature(str(tmp_path)) != before
    np.save(tmp_path / "patients.npy", np.array(["a", ""] * 30))
    read = read_patches(str(tmp_path))
    np.testing.assert_array_equal(np.stack([read.x, read.y]), np.stack([made.x, made.y]))
    assert read.patients is not None
    assert read.patients.tolist() == ["a", ""] * 30
    np.save(tmp_path / "patients.npy", np.full(60, ""))
    assert read_patches(str(tmp_path)).patients is None


def test_paths_may_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Path, made: PatchSet
) -> None:
    (tmp_path / "here").mkdir()
    np.save(tmp_path / "X.npy", made.pixels)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "here")
    assert main(["--patches=~/X.npy", f"--full=~/{archive.name}", "--out=~/out"]) == 0
    assert (tmp_path / "out" / "patients.npy").is_file()
    assert list(Path.cwd().iterdir()) == []
