"""Reading many PNG files, from a folder and from a zip: against a plain Pillow loop and torchvision's ImageFolder.

All three turn the same files into pixels in a memory-mapped array, one after the other in the same run, with a warm
page cache: listing, opening, decoding, storing. The loop opens file after file; the peer is ImageFolder (for the zip, a
Dataset that opens it once in each worker) in a DataLoader with 2 workers, which yields batches of 512. HistoTune's
share is ``read_patches``, which parses and checks every name besides. The files are made here, each of other pixels, as
they compress like real patches; the folder is gone afterwards.

Memory is what no file stands behind, added up over all processes of a first start (read, clean, hash, split, write);
the second start is the one in which a search that is begun again has its patches.

    python -m benchmarks.ingest [--full]
"""

import io
import multiprocessing
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import psutil
from PIL import Image

from benchmarks._report import Result, main
from data_utils.pictures.picture import read_picture
from data_utils.readers.patches import read_patches
from data_utils.readers.patchset import USUAL_SIDE, Pixels, new_pixels

if TYPE_CHECKING:
    from data_utils.split.lock import SplitLock
    from data_utils.split.prepare import Prepared

FILES, ALL_FILES = 40_000, 277_524
ROUNDS, FULL_ROUNDS = 3, 1
PATIENTS = 279
DRAWN = 600  # patches that are made; each file shows one of them, shifted as no other does
WORKERS = 2
BATCH = 512
MIB = 2**20


def measure(full: bool) -> list[Result]:
    """Both forms of the set; the memory and the second start are those of the larger figure of both."""
    count, rounds = (ALL_FILES, FULL_ROUNDS) if full else (FILES, ROUNDS)
    found, starts, memory = [], [], []
    with tempfile.TemporaryDirectory(prefix="histotune-bench-") as made:
        scratch = Path(made)
        folder, archive = scratch / "folder", scratch / "set.zip"
        began = time.perf_counter()
        written = make_files(folder, count)
        pack(folder, archive)
        print(f"  {count} files, {written / MIB:.0f} MiB, made in {time.perf_counter() - began:.0f} s", flush=True)
        alone = decoding_alone(folder)
        for name, source in (("folder", folder), ("zip", archive)):
            paces = race(source, count, rounds, scratch)
            print(f"  {name}, files a second: {_told(paces)}; decoding alone {alone:.0f}", flush=True)
            found += compared(name, paces, rounds, alone)
            first, second, peak = start(source, scratch / f"prepared-{name}")
            print(f"  {name}: first start {first:.1f} s, second {second:.2f} s, {peak:.0f} MiB at most", flush=True)
            starts.append(second)
            memory.append(peak)
    sizes = f"{count} files, folder and zip"
    told = ", ".join(f"{seconds:.2f} s" for seconds in starts)
    return [
        *found,
        Result("ingest, second start", max(starts), 3, unit="s", at_least=False, detail=f"{sizes}: {told}"),
        Result("ingest, memory", max(memory), 1024, unit="MiB", at_least=False, detail=f"{sizes}: besides the map"),
    ]


def compared(name: str, paces: dict[str, list[float]], rounds: int, alone: float) -> list[Result]:
    """Both ratios of one form."""
    ours, loop, loader = (median(paces[who]) for who in ("HistoTune", "Pillow", "DataLoader"))
    share = f"{100 * ours / alone:.0f} % of decoding alone"
    medians = f"{ours:.0f}, {{}} files a second; medians of {rounds}; {share}"
    return [
        Result(f"ingest of a {name}, Pillow", ours / loop, 1.7, detail=medians.format(f"{loop:.0f}")),
        Result(f"ingest of a {name}, DataLoader", ours / loader, 1.2, detail=medians.format(f"{loader:.0f}")),
    ]


# --- the files ------------------------------------------------------------------------------------------------------


def make_files(folder: Path, count: int) -> int:
    """So many different PNG files in the public form; bytes in all."""
    drawn = read_patches(f"synthetic:{DRAWN}").pixels
    parts = np.array_split(np.arange(count), 64)
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(partial(_write_files, folder, drawn, count), parts))


def _write_files(folder: Path, drawn: Pixels, count: int, numbers: np.ndarray) -> int:
    written = 0
    for number in numbers.tolist():
        patient, label = 8863 + number * PATIENTS // count, int(number % 7 < 2)  # 28.6 % with IDC
        place = (
            f"{patient}/{label}/{patient}_idx5_x{number % 1000 * 50 + 1}_y{number // 1000 * 50 + 1}_class{label}.png"
        )
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(_picture(drawn, number)).save(buffer, "PNG")
        written += file.write_bytes(buffer.getvalue())
    return written


def _picture(drawn: Pixels, number: int) -> Pixels:
    """One of the drawn patches, shifted around as no other number shifts it."""
    shift = number // len(drawn)
    picture: Pixels = np.roll(drawn[number % len(drawn)], divmod(shift, USUAL_SIDE), axis=(0, 1))
    return picture


def pack(folder: Path, archive: Path) -> None:
    """The same files in a zip, stored as they are, as PNG files do not compress."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(folder.rglob("*.png")):
            packed.writestr(file.relative_to(folder).as_posix(), file.read_bytes())


# --- who reads them -------------------------------------------------------------------------------------------------


def race(source: Path, count: int, rounds: int, scratch: Path) -> dict[str, list[float]]:
    """Files a second of each reader in each round; the rounds alternate, so that a busy minute meets all of them."""
    readers: dict[str, Callable[[Path, Pixels], None]] = {"Pillow": read_by_loop, "DataLoader": read_by_loader}
    paces: dict[str, list[float]] = {"HistoTune": [], "Pillow": [], "DataLoader": []}
    for _ in range(rounds):
        for who, read in readers.items():
            paces[who].append(
                count / _timed(lambda read=read: read(source, new_pixels(count, USUAL_SIDE, scratch / "peer.npy")))
            )
        paces["HistoTune"].append(count / _timed(lambda: _read_ours(source, count, scratch / "ours.npy")))
        check_equal(source, scratch)
        for left in scratch.glob("*.npy"):
            left.unlink()
    return paces


def _read_ours(source: Path, count: int, into: Path) -> None:
    read = read_patches(str(source), into=into)
    if len(read) != count:
        raise RuntimeError(f"{len(read)} patches were read of {count}")


def check_equal(source: Path, scratch: Path) -> None:
    """The peers and we must have read the same pixels; ImageFolder's order is ours."""
    names = ("ours.npy", "peer.npy")
    ours, theirs = (np.load(scratch / name, mmap_mode="r", allow_pickle=False) for name in names)
    rows = np.linspace(0, len(ours) - 1, 200).astype(int)
    if not (ours[rows] == theirs[rows]).all():
        raise RuntimeError(f"other pixels were read of {source}")


def read_by_loop(source: Path, room: Pixels) -> None:
    """File after file, as one writes it first."""
    if source.is_dir():
        for row, file in enumerate(sorted(source.rglob("*.png"))):
            with Image.open(file) as picture:
                room[row] = np.asarray(picture.convert("RGB"))
        return
    with zipfile.ZipFile(source) as archive:
        for row, name in enumerate(sorted(archive.namelist())):
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                room[row] = np.asarray(picture.convert("RGB"))


def read_by_loader(source: Path, room: Pixels) -> None:
    """ImageFolder in a DataLoader with 2 workers."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.v2 import PILToTensor

    transform = PILToTensor()
    dataset = ImageFolder(source, transform) if source.is_dir() else ZipPictures(source, transform)
    row = 0
    for batch, _ in DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS):
        room[row : row + len(batch)] = batch.permute(0, 2, 3, 1).numpy()
        row += len(batch)


class ZipPictures:
    """Pictures of a zip as a Dataset; each worker opens it once."""

    def __init__(self, source: Path, transform: Callable[[Image.Image], object]) -> None:
        self.source, self.transform = source, transform
        with zipfile.ZipFile(source) as archive:
            self.names = sorted(archive.namelist())
        self.archive: zipfile.ZipFile | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> tuple[object, int]:
        self.archive = self.archive or zipfile.ZipFile(self.source)
        name = self.names[row]
        with Image.open(io.BytesIO(self.archive.read(name))) as picture:
            return self.transform(picture.convert("RGB")), int(name[-5])


def decoding_alone(folder: Path) -> float:
    """Files a second of two processes that decode from memory and do nothing else: what no reader can pass."""
    files = [str(file) for file in sorted(folder.rglob("*.png"))[:4000]]
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(_decode_for_a_while, [files] * WORKERS))


def _decode_for_a_while(files: Sequence[str], seconds: float = 5.0) -> float:
    contents = [Path(file).read_bytes() for file in files]
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        content = contents[done % len(contents)]
        read_picture(content, len(content), USUAL_SIDE)
        done += 1
    return done / (time.perf_counter() - began)


# --- memory and the second start ------------------------------------------------------------------------------------


def start(source: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds of a first and of a second start, and the most MiB that the first one took."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_first_start, args=(source, folder, theirs))
    process.start()
    peak = 0.0
    while process.is_alive():
        peak = max(peak, anonymous(process.pid or 0))
        time.sleep(0.2)
    process.join()
    first, lock = ours.recv()
    import data_utils.split.prepare  # noqa: F401 - so that the second start is timed without its import

    second = _timed(lambda: _second_start(source, folder, lock))
    return first, second, peak


def _first_start(source: Path, folder: Path, pipe: Connection) -> None:
    began = time.perf_counter()
    prepared = _prepare(source, folder, None)
    pipe.send((time.perf_counter() - began, prepared.lock))


def _second_start(source: Path, folder: Path, lock: "SplitLock") -> None:
    from data_utils.split.prepare import load_development

    load_development(_prepare(source, folder, lock).development)


def _prepare(source: Path, folder: Path, lock: "SplitLock | None") -> "Prepared":
    # imported here: the processes that decode import this module, as they would a command's, which is light
    from data_utils.split.prepare import prepare

    return prepare(str(source), folder, name="bench", fractions=(70, 15, 15), seed=0, lock=lock)


def anonymous(pid: int) -> float:
    """MiB of a process and its children that no file stands behind."""
    try:
        process = psutil.Process(pid)
        return sum(_anonymous(one.pid) for one in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0.0


def _anonymous(pid: int) -> float:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:  # it has ended
        return 0.0
    found = re.search(r"^Anonymous: +(\d+) kB", told, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _told(paces: dict[str, list[float]]) -> str:
    return ", ".join(f"{who} {' '.join(f'{pace:.0f}' for pace in found)}" for who, found in paces.items())


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
