"""Scaling in data: from 5,547 patches to 277,524, the size of the public set; each has a colour of its own, and noise.

Second start: seconds in which a search that is begun again has its patches, ``prepare`` on a warm cache in the driver
and ``load_development`` in a worker, without imports. Memory: the proportional set size (PSS, each page shared out
among the processes that map it) of the mapped patches, added up over 1 and over 4 processes that hold the development
patches as a worker does and have touched them all. What each process holds besides is told beside it.

    python -m benchmarks.data [--full]
"""

import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks._launch import SPLIT, SPLIT_SEED, STUDY, Source, prepared, scratch_folder
from benchmarks._report import Result, main
from data_utils.split.lock import SplitLock
from data_utils.split.prepare import load_development, prepare

COUNTS = (5_547, 277_524)
PATCHES_OF_A_PATIENT = 1000  # as in the public set: 279 patients
CHUNK = 10_000
WORKERS = 4
SHORT_ROUNDS, FULL_ROUNDS = 3, 11
MIB = 2**20


@dataclass(frozen=True)
class Memory:
    """MiB of one process: its share of the mapped patches, and what it took besides while loading them."""

    patches: float
    besides: float


def measure(full: bool) -> list[Result]:
    """Both sizes; the figures are of the large one."""
    rounds = FULL_ROUNDS if full else SHORT_ROUNDS
    told = {}
    for count in COUNTS:
        with scratch_folder() as folder:
            source = write_patches(folder / "patches", count)
            began = time.perf_counter()
            made = prepared(source, folder / "prepared")
            first = time.perf_counter() - began
            second = median(second_start(source, folder / "prepared", made.lock) for _ in range(rounds))
            memory = {workers: hold(made.development, workers) for workers in (1, WORKERS)}
        told[count] = (second, memory)
        print(f"  {count} patches: first start {first:.1f} s, second {second:.3f} s; {_mapped(memory)}", flush=True)
    (small, _), (second, memory) = (told[count] for count in COUNTS)
    return results(small, second, memory, rounds)


def results(small: float, second: float, memory: dict[int, list[Memory]], rounds: int) -> list[Result]:
    """Both figures of the table."""
    one, many = (sum(part.patches for part in memory[workers]) for workers in (1, WORKERS))
    starts = f"{small:.3f} s with {COUNTS[0]} patches, {second:.3f} s with {COUNTS[1]}; medians of {rounds}"
    return [
        Result("scaling in data, second start", second, 3, unit="s", at_least=False, detail=starts),
        Result("scaling in data, memory", 100 * (many / one - 1), 10, unit="%", at_least=False, detail=_mapped(memory)),
    ]


def write_patches(folder: Path, count: int) -> Source:
    """X.npy, Y.npy and patients.npy of so many different patches."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=np.uint8, shape=(count, 50, 50, 3))
    for begin in range(0, count, CHUNK):
        part = pixels[begin : begin + CHUNK]
        colours = rng.integers(0, 224, (len(part), 1, 1, 3), np.uint8)
        part[:] = colours + (np.frombuffer(rng.bytes(part.size), np.uint8).reshape(part.shape) >> 3)
    pixels.flush()
    np.save(folder / "Y.npy", rng.integers(0, 2, count))
    of_a_patient = min(PATCHES_OF_A_PATIENT, count // 20)
    np.save(folder / "patients.npy", np.array([f"P{row // of_a_patient:05d}" for row in range(count)]))
    return Source(str(folder), f"{count} made-up patches")


def second_start(source: Source, folder: Path, lock: SplitLock) -> float:
    """Seconds of reading what an earlier start prepared."""
    began = time.perf_counter()
    again = prepare(source.data, folder, name=STUDY, fractions=SPLIT, seed=SPLIT_SEED, lock=lock)
    load_development(again.development)
    return time.perf_counter() - began


def hold(development: Path, workers: int) -> list[Memory]:
    """What each of so many processes holds while all of them hold the patches."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(workers)]
    processes = [context.Process(target=_worker, args=(development, theirs)) for _, theirs in pipes]
    for process in processes:
        process.start()
    for _, theirs in pipes:
        theirs.close()  # so that the end of a process that failed is noticed
    try:
        for word in ("load", "tell"):
            _all([ours for ours, _ in pipes], word)
        found = [ours.recv() for ours, _ in pipes]
    finally:
        for ours, _ in pipes:
            ours.close()
        for process in processes:
            process.join()
    return found


def _all(pipes: list[Connection], word: str) -> None:
    """Waits until every process is ready, then sends all of them on."""
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send(word)


def _worker(development: Path, pipe: Connection) -> None:
    """Loads as ``search.workers.worker`` does, touches every page, tells its memory once all have, waits for all."""
    from search.training.device_patches import DevicePatches

    pipe.send("imported")
    pipe.recv()
    before = private_memory()
    loaded = load_development(development)
    assert loaded.labels is not None
    on_device = DevicePatches.load(loaded.pixels, loaded.labels, "cpu")
    for chunk in on_device.pixels.split(CHUNK):
        chunk.numpy().max()
    pipe.send("touched")
    pipe.recv()
    pipe.send(Memory(patches_memory(), private_memory() - before))
    try:
        pipe.recv()
    except EOFError:
        return  # all have told


def patches_memory() -> float:
    """PSS of the mapped patches of this process, in MiB."""
    return sum(pss for name, pss in _mappings() if name.endswith("/pixels.npy"))


def private_memory() -> float:
    """PSS of this process that no file stands behind, in MiB."""
    return sum(pss for name, pss in _mappings() if not name.startswith("/"))


def _mappings() -> Iterator[tuple[str, float]]:
    """(file or "", PSS in MiB) of each mapping of this process."""
    name = ""
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if header := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)", line):
            name = header[1]
        elif line.startswith("Pss:"):
            yield name, int(line.split()[1]) * 1024 / MIB


def _mapped(memory: dict[int, list[Memory]]) -> str:
    return ", ".join(
        f"{workers} {'worker maps' if workers == 1 else 'workers map'} {sum(part.patches for part in found):.0f} MiB"
        f" (and {max(part.besides for part in found):.0f} each besides)"
        for workers, found in memory.items()
    )


if __name__ == "__main__":
    sys.exit(main(measure, __doc__))
