"""The public sets: fetched from a stand-in for Kaggle on 127.0.0.1, verified, resumed; placed by hand without it."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils.errors import FormatError, NotFoundError
from data_utils.fetch import FULL, SMALL, PublicSet, fetch, verify
from data_utils.readers.patches import PatchSet, read_patches

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made() -> PatchSet:
    return read_patches("synthetic:60")


@dataclass
class StandIn:
    """What the stand-in serves, and what it was asked for.

    Attributes:
        files: file name, or "" for the whole archive -> content.
        cut: bytes after which a download breaks off; 0 for none.
        ranges: the Range headers that came, "" for a download from the start.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: int = 0
    ranges: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Two calls of Kaggle's API and the storage that the second leads to, as kagglehub 1.0 speaks to them."""

    stand_in: StandIn

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/GetDataset"):
            self._send(200, json.dumps({"currentVersionNumber": 1}).encode(), {"Content-Type": "application/json"})
            return
        self.send_response(302)
        self.send_header("Location", f"{self.stand_in.url}/storage/{asked.get('fileName', '')}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        content = self.stand_in.files.get(self.path.rpartition("/")[2])
        if content is None:
            self._send(404, b"{}", {"Content-Type": "application/json"})
            return
        asked = self.headers.get("Range", "")
        self.stand_in.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        headers = {"Accept-Ranges": "bytes", "x-goog-hash": f"md5={b64encode(md5(content).digest()).decode()}"}
        self._send(206 if start else 200, content[start:], headers, cut=0 if start else self.stand_in.cut)

    def _send(self, status: int, content: bytes, headers: dict[str, str], cut: int = 0) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: cut or None])

    def log_message(self, *_: object) -> None:  # a test's output is the test's
        pass


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    from kagglesdk import kaggle_env

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.stand_in = StandIn(f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, Handler.stand_in.url)
    monkeypatch.setenv("KAGGLEHUB_CACHE", "")  # so that it is put back
    monkeypatch.delenv("KAGGLE_API_ENVIRONMENT", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Handler.stand_in
    server.shutdown()
    thread.join()
    server.server_close()


def array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def archive(made: PatchSet, padding: int = 0) -> bytes:
    """The public zip with its second level, which holds everything once more; ``padding`` bytes larger."""
    assert made.patients is not None
    assert made.labels is not None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("README", bytes(padding))
        for level in ("", "IDC_regular_ps50_idx5/"):
            for row in range(len(made)):
                picture = io.BytesIO()
                Image.fromarray(made.pixels[row]).save(picture, "PNG")
                path = f"{level}{made.patients[row]}/{made.labels[row]}/{made.names[row]}"
                written.writestr(path, picture.getvalue())
    return buffer.getvalue()


def counted(public: PublicSet, made: PatchSet) -> PublicSet:
    """The public set as if it held these patches."""
    assert made.labels is not None
    idc = int(made.labels.sum())
    patients = len(np.unique(made.patients)) if public.patients else 0
    return replace(public, others=len(made) - idc, idc=idc, patients=patients)


def test_arrays_are_fetched_verified_and_left_alone_afterwards(kaggle: StandIn, made: PatchSet, tmp_path: Path) -> None:
    assert made.labels is not None
    kaggle.files = {"X.npy": array(made.pixels), "Y.npy": array(made.labels)}
    wanted = counted(SMALL, made)
    told = fetch(wanted, tmp_path)
    np.testing.assert_array_equal(read_patches(str(tmp_path / "small")).pixels, made.pixels)
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["X.npy", "Y.npy"]
    assert told == f"{wanted.others} patches without IDC and {wanted.idc} with"
    asked = len(kaggle.ranges)
    assert fetch(wanted, tmp_path) == told
    assert len(kaggle.ranges) == asked


def test_the_full_set_is_unpacked_and_read_once_in_spite_of_its_second_level(
    kaggle: StandIn, made: PatchSet, tmp_path: Path
) -> None:
    kaggle.files = {"": archive(made)}
    told = fetch(counted(FULL, made), tmp_path)
    assert told.endswith(f"of {len(np.unique(made.patients))} patients")
    read = read_patches(str(tmp_path / "full"))
    assert (len(read), read.exclusions[0]) == (60, ("doubled copy", 60))
    assert list(tmp_path.rglob("*.archive")) == []


def test_a_download_that_broke_off_goes_on_where_it_was(kaggle: StandIn, made: PatchSet, tmp_path: Path) -> None:
    kaggle.files = {"": archive(made, padding=3_000_000)}
    kaggle.cut = 2_000_000
    with pytest.raises(NotFoundError, match="cannot be fetched"):
        fetch(counted(FULL, made), tmp_path)
    assert not (tmp_path / "full").exists()
    kaggle.cut = 0
    fetch(counted(FULL, made), tmp_path)
    assert kaggle.ranges == ["", "", "bytes=1048576-"]  # it writes a mebibyte at a time, asks, and goes on


def test_another_set_than_the_known_one_is_refused_and_not_put_in_place(
    kaggle: StandIn, made: PatchSet, tmp_path: Path
) -> None:
    assert made.labels is not None
    kaggle.files = {"X.npy": array(made.pixels), "Y.npy": array(made.labels)}
    with pytest.raises(FormatError, match=r"expected 2759 patches without IDC and 2788 with of https://www.kaggle.com"):
        fetch(SMALL, tmp_path)
    assert not (tmp_path / "small").exists()


def test_a_set_that_kaggle_has_no_longer_is_named_with_the_way_by_hand(kaggle: StandIn, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"404 .*by hand: get it from .*put X.npy and Y.npy into .*small"):
        fetch(SMALL, tmp_path)


def test_what_lies_there_by_hand_is_verified_without_kaggle(made: PatchSet, tmp_path: Path) -> None:
    packed = zipfile.ZipFile(io.BytesIO(archive(made)))
    packed.extractall(tmp_path / "full")
    wanted = counted(FULL, made)
    assert fetch(wanted, tmp_path) == verify(wanted, tmp_path / "full")
    some = next((tmp_path / "full").rglob("*class0.png"))
    for copy in (tmp_path / "full").rglob(some.name):
        copy.unlink()
    with pytest.raises(FormatError, match=f"holds {wanted.others - 1} patches without IDC"):
        fetch(wanted, tmp_path)


def test_files_that_are_no_patches_are_refused(made: PatchSet, tmp_path: Path) -> None:
    packed = zipfile.ZipFile(io.BytesIO(archive(made)))
    packed.extractall(tmp_path / "full")
    for file in (tmp_path / "full").rglob("*.png"):
        file.write_bytes(b"a page that says no")
    with pytest.raises(FormatError, match="is no PNG of at most 50x50 pixels"):
        fetch(counted(FULL, made), tmp_path)


def test_where_kaggle_is_out_of_reach_the_command_says_what_to_do_in_one_line(tmp_path: Path) -> None:
    begin = (
        "import sys; from kagglesdk import kaggle_env as k;"
        "k._env_to_endpoint[k.KaggleEnv.PROD] = 'http://127.0.0.1:9';"  # nobody listens there
        "from data_utils.command import run_command; from data_utils.fetch import main; sys.exit(run_command(main))"
    )
    command = [sys.executable, "-c", begin, "--to", str(tmp_path), "--set", "full"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "by hand: get it from https://www.kaggle.com/datasets/paultimothymooney/" in done.stderr
    assert f"unpack the archive into {tmp_path / 'full'}" in done.stderr
