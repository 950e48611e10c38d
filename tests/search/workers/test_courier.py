"""A node without the launch's folder of results, without Ray: what it is given, what it leaves."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside import context_of, job_for

from data_utils.split.prepare import load_development
from search.training.jobs import Delivery, EpochReport, Job, WorkerContext
from search.workers import parcels
from search.workers.checkpoints import Checkpoint
from search.workers.courier import COPIES, CarriedWorker, Courier
from search.workers.parcels import Copies, NotAsSentError, Parcel
from search.workers.post import PostOffice, given_of
from search.workers.worker import Worker
from studies.errors import NotWrittenError

FOLDS = 3


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    """What the launch hands out; all that is its own lies in ``RUNS/inside``."""
    data = tmp_path_factory.mktemp("runs") / "inside" / "data"
    data.parent.mkdir()
    context = context_of(data)
    rows = len(load_development(context.development).pixels)
    np.save(data / "folds.npy", np.arange(rows) % FOLDS)
    return replace(context, folds=data / "folds.npy")


@pytest.fixture
def results(launch: WorkerContext) -> Path:
    return launch.development.parents[1]


class Way:
    """From a node to the post office; counts what was asked."""

    def __init__(self, launch: WorkerContext, results: Path) -> None:
        self.office = PostOffice(given_of(launch), results)
        self.asked: Counter[str] = Counter()

    def __call__(self, method: str, *args: Any) -> Any:
        self.asked[method] += 1
        return getattr(self.office, method)(*args)


@pytest.fixture
def way(launch: WorkerContext, results: Path) -> Way:
    return Way(launch, results)


_OPEN: list[Copies] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def kept_in(shelf: Path, most: int = parcels.MOST) -> Copies:
    _OPEN.append(Copies(shelf, most))
    return _OPEN[-1]


def courier(way: Callable[..., Any], folder: Path, **more: Any) -> Courier:
    made = Courier(way, shared=False, folder=folder, **more)
    _OPEN.append(made._copies)
    return made


def trained(worker: Worker | CarriedWorker, job: Job, epochs: int) -> list[EpochReport]:
    reports = [worker.begin(job), *(worker.advance() for _ in range(epochs - 1))]
    assert [report.failure for report in reports] == [None] * epochs
    return reports


def losses(reports: list[EpochReport]) -> list[float]:
    return [report.train_loss for report in reports]


def test_a_trial_on_such_a_node_is_the_same_and_another_node_goes_on_with_it(
    launch: WorkerContext, results: Path, way: Way, tmp_path: Path
) -> None:
    search = replace(launch, folds=None)
    here = trained(Worker(search), job_for(tmp_path / "checkpoint", epochs=3), 3)
    job = job_for(results / "cnn/checkpoints/7", epochs=3)
    first = trained(CarriedWorker(search, courier(way, tmp_path / "one")), job, 2)
    kept = Checkpoint.read(job)
    assert kept is not None
    assert losses(kept.told) == losses(first)
    second = trained(CarriedWorker(search, courier(way, tmp_path / "two")), replace(job, reported=3), 1)
    assert losses([*first, *second]) == losses(here)
    assert [report.scores for report in (*first, *second)] == [report.scores for report in here]


def test_a_member_comes_back_before_its_last_report(
    launch: WorkerContext, results: Path, way: Way, tmp_path: Path
) -> None:
    job = replace(job_for(results / "cnn/checkpoints/key-1"), fold=1, out=results / "cnn/members/key", number=-1)
    trained(CarriedWorker(launch, courier(way, tmp_path)), job, 2)
    assert sorted(path.name for path in job.out.iterdir()) == ["member_1.npz", "member_1.safetensors"]
    with np.load(io.BytesIO((job.out / "member_1.npz").read_bytes())) as stored:
        assert (stored["rows"] % FOLDS == 1).all()


def test_no_sealed_row_is_in_any_file_of_the_node(
    launch: WorkerContext, results: Path, way: Way, tmp_path: Path
) -> None:
    there = courier(way, tmp_path).unpacked(launch)
    sealed = set(np.load(results / "data/sealed/digests.npy").tolist())
    given = load_development(there.development)
    assert there.development.is_relative_to(tmp_path)
    assert len(sealed) > 0
    assert not sealed & {sha256(patch.tobytes()).hexdigest() for patch in given.pixels}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [
        path for path in files for digest in sealed if digest in path.read_bytes().replace(b"\0", b"").decode("latin1")
    ]
    with pytest.raises(KeyError):
        way("parcel", "sealed")
    with pytest.raises(AssertionError):
        way("piece", "development", "../sealed/digests.npy", 0)


@pytest.mark.parametrize("place", ["data/sealed", "cnn/checkpoints/../../data/sealed", "cnn/checkpoints"])
def test_the_post_reads_and_writes_folders_of_jobs_only(results: Path, way: Way, place: str) -> None:
    for ask in (("left", results / place), ("take", results / place, "x", 0, b"", None)):
        with pytest.raises(AssertionError, match="folders of jobs only"):
            way(*ask)
    with pytest.raises(ValueError, match="is not in the subpath"):
        way("left", Path("/etc/cnn/x"))


def test_where_the_folder_of_results_is_here_nothing_is_copied(launch: WorkerContext, way: Way, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    assert not Delivery("post", sign, "word").is_here()
    sign.write_text("another's")
    assert not Delivery("post", sign, "word").is_here()
    sign.write_text("word")
    assert Delivery("post", sign, "word").is_here()
    same = Courier(way, shared=True, folder=tmp_path)
    job = job_for(tmp_path / "checkpoint")
    assert same.unpacked(launch) == launch
    assert same.begin(job) == job
    assert not way.asked


def test_checkpoints_take_a_tenth_of_the_time_at_most(
    launch: WorkerContext, results: Path, way: Way, tmp_path: Path
) -> None:
    now = [0.0]

    def slow(method: str, *args: Any) -> Any:
        now[0] += 6.0 if method == "take" else 0.0
        return way(method, *args)

    sender = courier(slow, tmp_path, clock=lambda: now[0])
    job = job_for(results / "cnn/checkpoints/8", epochs=9)
    (sender.begin(job).checkpoint / "last.pt").write_bytes(b"a")
    for _ in range(7):  # of 10 s each; one takes 6 s to send
        sender.ended(EpochReport(1, {}, 0.0))
        now[0] += 10.0
    assert way.asked["take"] == 2


def test_what_cannot_be_given_back_is_told(results: Path, way: Way, tmp_path: Path) -> None:
    def full(method: str, *args: Any) -> Any:
        if method == "take":
            raise NotWrittenError("the disk is full")
        return way(method, *args)

    sender = courier(full, tmp_path)
    job = replace(job_for(results / "cnn/checkpoints/9"), fold=0, out=results / "cnn/members/key")
    here = sender.begin(job)
    (here.checkpoint / "last.pt").write_bytes(b"a")
    here.out.mkdir()
    (here.out / "member_0.npz").write_bytes(b"a")
    told = sender.ended(EpochReport(1, {}, 0.0)).warnings
    assert told == (
        f"no checkpoint of a node without runs/ reaches {results}/cnn/checkpoints (the disk is full): training goes "
        "on, but what is cut off now goes on from an earlier epoch",
    )
    assert sender.ended(EpochReport(1, {}, 0.0)).warnings == ()
    failed = sender.ended(EpochReport(2, {}, 0.0)).failure
    assert failed == f"what it has left did not reach {results}/cnn/members/key: the disk is full"


@pytest.mark.parametrize("pieces", [[b"one"], [b"one", b"two", b"three"]])
def test_a_piece_may_come_twice_as_ray_repeats_a_call_whose_answer_was_lost(
    results: Path, way: Way, pieces: list[bytes]
) -> None:
    folder, whole = results / "tiny" / "members" / "twice", b"".join(pieces)
    start = 0
    for number, piece in enumerate(pieces, 1):
        digest = sha256(whole).hexdigest() if number == len(pieces) else None
        way("take", folder, "weights", start, piece, digest)
        way("take", folder, "weights", start, piece, digest)
        start += len(piece)
    assert [(file.name, file.read_bytes()) for file in folder.iterdir()] == [("weights", whole)]


def test_a_note_that_time_is_over_reaches_whoever_takes_up_the_job(results: Path, way: Way, tmp_path: Path) -> None:
    job = job_for(results / "cnn/checkpoints/10")
    dying = courier(way, tmp_path / "one")
    note = dying.begin(job).checkpoint / "timed_out"
    note.write_text("5.0")
    dying.leave(note)
    assert (courier(way, tmp_path / "two").begin(job).checkpoint / "timed_out").read_text() == "5.0"


def test_pieces_that_come_out_of_turn_or_otherwise_leave_what_was_there(results: Path, way: Way) -> None:
    folder = results / "cnn/checkpoints/11"
    way("take", folder, "last.pt", 0, b"whole", sha256(b"whole").hexdigest())
    way("take", folder, "last.pt", 0, b"half", None)
    with pytest.raises(NotAsSentError, match=r"has 4 bytes; expected the 5 that came before"):
        way("take", folder, "last.pt", 5, b"of another", sha256(b"half of another").hexdigest())
    with pytest.raises(NotAsSentError, match="did not come as it was sent"):
        way("take", folder, "last.pt", 0, b"other", sha256(b"sent").hexdigest())
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
    assert (folder / "last.pt").read_bytes() == b"whole"


# --- what a node keeps ------------------------------------------------------------------------------------------------


def packed(folder: Path, content: bytes) -> tuple[Parcel, Callable[[str, int], bytes], list[int]]:
    """A parcel of one file, how it is read, and where it was."""
    folder.mkdir(exist_ok=True)
    (folder / "a").write_bytes(content)
    places: list[int] = []

    def read(name: str, start: int) -> bytes:
        assert name == "a"
        places.append(start)
        return content[start : start + 4]

    return Parcel.of(folder), read, places


def test_a_node_fetches_once_in_pieces_and_a_later_search_finds_it(tmp_path: Path) -> None:
    parcel, read, places = packed(tmp_path / "from", b"0123456789")
    shelf = tmp_path / COPIES
    first = kept_in(shelf).folder(parcel, read)
    assert (first / "a").read_bytes() == b"0123456789"
    assert places == [0, 4, 8]
    assert kept_in(shelf).folder(parcel, read) == first
    assert places == [0, 4, 8]


def test_what_was_changed_is_fetched_again_once_the_machine_was_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel, read, places = packed(tmp_path / "from", b"0123")
    copies = kept_in(tmp_path / COPIES)
    file = copies.folder(parcel, read) / "a"
    copies.close()
    file.write_bytes(b"012?")
    monkeypatch.setattr(parcels, "boot_of", lambda: "another")
    assert (copies.folder(parcel, read) / "a").read_bytes() == b"0123"
    assert len(places) == 2
    copies.close()
    file.write_bytes(b"012")
    assert (copies.folder(parcel, read) / "a").read_bytes() == b"0123"


def test_what_was_changed_is_fetched_again_and_waited_for_where_another_process_uses_it(tmp_path: Path) -> None:
    parcel, read, places = packed(tmp_path / "from", b"0123")
    user, other = kept_in(tmp_path / COPIES), kept_in(tmp_path / COPIES)
    for changed in (b"012?", b"012"):
        file = user.folder(parcel, read) / "a"
        file.write_bytes(changed)
        with pytest.raises(NotAsSentError, match="is not as it was fetched, and another process uses it"):
            other.folder(parcel, read)
        user.close()
        assert (other.folder(parcel, read) / "a").read_bytes() == b"0123"
        other.close()
    assert len(places) == 3
    file.touch()  # and nothing else
    assert other.folder(parcel, read) == file.parent
    assert len(places) == 3


def test_what_came_otherwise_than_it_was_sent_is_not_kept(tmp_path: Path) -> None:
    parcel, _, _ = packed(tmp_path / "from", b"0123")
    with pytest.raises(NotAsSentError, match="a came with sha256"):
        kept_in(tmp_path / COPIES).folder(parcel, lambda *_: b"012?")
    with pytest.raises(NotAsSentError, match="a came with sha256"):
        kept_in(tmp_path / COPIES).folder(parcel, lambda *_: b"")
    assert [path.name for path in (tmp_path / COPIES).iterdir()] == ["lock"]


def test_what_nobody_uses_makes_room_and_what_is_used_stays(tmp_path: Path) -> None:
    shelf = tmp_path / COPIES
    contents = [packed(tmp_path / str(size), b"." * size) for size in (4, 5, 6)]
    holder = kept_in(shelf, most=10)
    first, second = (holder.folder(parcel, read) for parcel, read, _ in contents[:2])
    with pytest.raises(NotWrittenError, match=r"has no room for the 0\.0 GB that workers need"):
        kept_in(shelf, most=10).folder(*contents[2][:2])
    holder.close()
    os.utime(first.parent / "users", (1, 1))
    kept_in(shelf, most=11).folder(*contents[2][:2])
    assert not first.exists()
    assert second.exists()
