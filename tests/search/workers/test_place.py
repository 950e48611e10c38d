"""Where a Ray of its own is started, and which running one is joined: refused in one line where it cannot be."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.command.settings import WorkerSettings
from search.errors import UsageError
from search.workers.place import ANSWER_SECONDS, LONGEST_SOCKET, check_ray, ray_folder

LONG = "x" * 60


def test_the_usual_folder_is_taken_where_it_serves() -> None:
    short = Path(f"/tmp/t{os.getpid()}")
    assert ray_folder(None, {}) == Path("/tmp/ray")
    assert ray_folder(None, {"TMPDIR": str(short)}) == short / "ray"
    assert ray_folder(None, {"TMPDIR": "/tmp/other", "RAY_TMPDIR": str(short)}) == short / "ray"
    assert not short.exists()


@pytest.mark.parametrize("usual", [LONG, "short\u00fc", "quo'te", "a file", "read-only"])
def test_a_short_one_is_taken_where_the_usual_one_does_not_serve(tmp_path: Path, usual: str, mounted: Path) -> None:
    folder = Path(f"/tmp/h{os.getpid()}") / usual
    place = {"a file": tmp_path / "file", "read-only": mounted}.get(usual, folder)
    (tmp_path / "file").touch()
    runtime = Path(f"/tmp/r{os.getpid()}")
    assert ray_folder(None, {"TMPDIR": str(place), "XDG_RUNTIME_DIR": str(runtime)}) == runtime / f"ray-{os.getuid()}"
    assert ray_folder(None, {"TMPDIR": str(place)}) == Path("/tmp") / f"ray-{os.getuid()}"


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A folder that nobody can write in, root neither."""
    folder = Path(f"/tmp/m{os.getpid()}")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no file system of its own can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_folder_of_another_user_is_not_taken() -> None:
    folder = Path(f"/tmp/o{os.getpid()}")
    (folder / "ray").mkdir(parents=True)
    try:
        os.chown(folder / "ray", 12345, 12345)
    except PermissionError:
        (folder / "ray").rmdir()
        folder.rmdir()
        pytest.skip("only root can give a folder away")
    try:
        assert ray_folder(None, {"TMPDIR": str(folder)}) == Path("/tmp") / f"ray-{os.getuid()}"
        with pytest.raises(UsageError, match=f"--ray-temp-dir {folder}: {folder}/ray belongs to another user; name"):
            ray_folder(folder)
    finally:
        (folder / "ray").rmdir()
        folder.rmdir()


def test_a_folder_that_is_asked_for_is_taken_or_refused_by_its_name(mounted: Path) -> None:
    short = Path(f"/tmp/t{os.getpid()}")
    assert ray_folder(short) == short / "ray"
    long = Path("/tmp") / LONG
    with pytest.raises(UsageError, match=rf"--ray-temp-dir {long}: .* names of \d+ bytes .* takes {LONGEST_SOCKET};"):
        ray_folder(long)
    with pytest.raises(UsageError, match=f"--ray-temp-dir {mounted}: {mounted} cannot be written in .Read-only"):
        ray_folder(mounted)
    assert not long.exists()


def test_where_no_folder_serves_that_is_one_line_which_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.workers.place._SHORT", (f"/tmp/{LONG}",))
    with pytest.raises(UsageError, match=f"no folder for its sockets: /tmp/{LONG}/ray: .*name one by --ray-temp-dir"):
        ray_folder(None, {"TMPDIR": f"/tmp/{LONG}"})


@pytest.fixture(params=["says nothing", "speaks HTTP"])
def no_ray(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that is none of Ray."""
    held = []

    def serve() -> None:
        while True:
            try:
                there, _ = server.accept()
            except OSError:
                return
            if request.param == "speaks HTTP":
                there.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                there.close()
            else:
                held.append(there)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for there in held:
        there.close()


def test_a_port_that_is_no_ray_is_refused_in_a_line_and_in_time(no_ray: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=rf"^no Ray answers at {no_ray} \(.*\): start one with 'ray start --head'"):
        check_ray(WorkerSettings(ray_address=no_ray))
    assert time.monotonic() - began < ANSWER_SECONDS + 10


def test_a_port_where_nothing_listens_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(UsageError, match=rf"no Ray answers at 127.0.0.1:{free} \(.*refused"):
        check_ray(WorkerSettings(ray_address=f"127.0.0.1:{free}"))
