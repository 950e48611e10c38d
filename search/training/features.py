"""Outputs of a frozen prefix for every development patch and view: computed once, shared by all who need them.

A configuration whose first layers are frozen sends the same patches through the same layers again and again. What
comes out is kept here, in a file of this host that every worker maps: whoever needs an output that is not there yet
computes it, so nothing is computed before it is needed. Outputs are kept in bf16; a network that lets its prefix be
kept rounds it itself (``models/_spec.py``), so that training is the same with and without this file.

Development patches only: the sealed ones are never put through here.
"""

import hashlib
import json
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from data_utils.colour.augment import VIEWS
from search.training.device import Compute
from search.training.device_patches import DevicePatches
from search.training.jobs import FeatureStore
from search.training.node import boot_of
from search.training.shelf import LOCK, USERS, drop, held, locked, make_room, use

EMPTY, CLAIMED, READY = range(3)
WAIT_SECONDS = 2.0
"""After this, outputs that another worker claimed are anybody's again: it has died, or is much slower."""
_LARGEST_SHARE_OF_DISK = 0.5
_PROBE_PATCHES = 16
_RECORD, _VALUES, _STATES = "entry.json", "values.bin", "states.bin"


@dataclass(frozen=True)
class _Record:
    """What is known of an entry; written last, so that its presence means wholeness.

    Attributes:
        shape: of one output, (C, h, w).
        patches: number of development patches.
        seconds: that the prefix takes for one patch, on the worker that made the entry.
    """

    shape: tuple[int, int, int]
    patches: int
    seconds: float


_RECORDS = TypeAdapter(_Record)


class Features:
    """One entry in use: the outputs of one prefix."""

    def __init__(
        self,
        folder: Path,
        record: _Record,
        users: IO[bytes],
        prefix: nn.Module,
        patches: DevicePatches,
        here: Compute,
    ) -> None:
        self._seconds_saved = 0.0
        self._record = record
        self._users = users  # held open: its lock says that the entry is in use
        self._lock = (folder / LOCK).open("rb")
        self._prefix = prefix
        self._patches = patches
        self._compute = here
        shape = (record.patches, VIEWS)
        self._states = np.memmap(folder / _STATES, np.uint8, "r+", shape=shape)
        values = np.memmap(folder / _VALUES, np.int16, "r+", shape=(*shape, *record.shape))
        self._values = torch.from_numpy(values).view(torch.bfloat16)

    @classmethod
    def open(
        cls,
        store: FeatureStore,
        key: tuple[str, ...],
        prefix: nn.Module,
        patches: DevicePatches,
        compute: Compute,
    ) -> "Features | None":
        """The entry of ``key``, made where there is none; None where it has no room.

        Args:
            store: where entries are.
            key: which patches, and what tells the prefix apart beside its layers and tensors.
            prefix: the frozen layers, in place on the device.
            patches: all development patches of the worker.
            compute: where and how the prefix runs.

        Raises:
            OSError: the disk is full, or nothing may be written there.
        """
        folder = store.folder / _digest(key, prefix, compute.precision)
        store.folder.mkdir(parents=True, exist_ok=True)
        with locked(store.folder / LOCK):
            record = _read_record(folder) or _make(store, folder, prefix, patches, compute)
            if record is None:
                return None
            os.utime(folder / _RECORD)  # the least recently used entry is the first to go
            users = use(folder)
        return cls(folder, record, users, prefix, patches, compute)

    def close(self) -> None:
        """Lets the entry go; others may use it, or take its room."""
        self._users.close()
        self._lock.close()

    def take_seconds_saved(self) -> float:
        """Seconds that outputs would have taken, had they not been there; since the last call."""
        seconds, self._seconds_saved = self._seconds_saved, 0.0
        return seconds

    def outputs(self, rows: Tensor, views: Tensor) -> Tensor:
        """(B,) rows, each in its view -> (B, C, h, w) bf16 on the device.

        Args:
            rows: (B,) int64 on the CPU, each once.
            views: (B,) int64 on the CPU, 0 to 7.
        """
        place = (rows.numpy(), views.numpy())
        mine = self._claim(place)
        self._seconds_saved += float((~mine).sum()) * self._record.seconds
        self._fill(rows, views, mine)
        patience = time.monotonic() + WAIT_SECONDS
        while (self._states[place] != READY).any():  # other workers are computing them
            time.sleep(0.002)
            if time.monotonic() > patience:
                self._forget_claims()
                self._fill(rows, views, self._claim(place))
        return self._values[rows, views].to(self._compute.device)

    def _claim(self, place: tuple[npt.NDArray[np.int64], ...]) -> npt.NDArray[np.bool_]:
        """(B,) which outputs nobody has begun; they are ours to compute."""
        mine: npt.NDArray[np.bool_] = self._states[place] == EMPTY
        if mine.any():
            with held(self._lock):
                mine = self._states[place] == EMPTY  # again, now that nobody else looks
                self._states[tuple(part[mine] for part in place)] = CLAIMED
        return mine

    def _forget_claims(self) -> None:
        """All of them: one that is alive computes at most one batch in vain."""
        with held(self._lock):
            self._states[self._states == CLAIMED] = EMPTY

    def _fill(self, rows: Tensor, views: Tensor, wanted: npt.NDArray[np.bool_]) -> None:
        """Computes and keeps the wanted ones."""
        if not wanted.any():
            return
        chosen = torch.from_numpy(wanted)
        rows, views = rows[chosen], views[chosen]
        self._values[rows, views] = _run(self._prefix, self._patches, rows, views, self._compute).cpu()
        self._states[rows.numpy(), views.numpy()] = READY


class PrefixOutputs:
    """Outputs of one prefix while several networks are evaluated behind it, in memory; kept as files keep them."""

    def __init__(self, prefix: nn.Module, patches: "DevicePatches", compute: Compute) -> None:
        self._prefix = prefix
        self._patches = patches
        self._compute = compute
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def outputs(self, rows: Tensor, views: Tensor) -> Tensor:
        """(B,) rows, each in its view -> (B, C, h, w) bf16 on the device; the same batches come again and again."""
        batch = (*rows.tolist(), *views.tolist())
        if batch not in self._kept:
            self._kept[batch] = _run(self._prefix, self._patches, rows, views, self._compute)
        return self._kept[batch]


def bytes_kept(patches: int, shape: tuple[int, ...]) -> int:
    """Of the outputs of so many patches in all views, (C, h, w) each, in bf16."""
    return 2 * patches * VIEWS * math.prod(shape)


def room(store: FeatureStore) -> int:
    """Bytes that the outputs of one prefix may take: the store's, or half of the free disk; also before it is made."""
    there = next(folder for folder in (store.folder, *store.folder.parents) if folder.exists())
    return min(store.limit, int(shutil.disk_usage(there).free * _LARGEST_SHARE_OF_DISK))


def _digest(key: tuple[str, ...], prefix: nn.Module, precision: str) -> str:
    """Of all that the outputs depend on, the layers and their tensors themselves among them.

    And of this start of the machine: after a power cut nobody knows which pages reached the disk. What another machine
    keeps in the same folder has another name, and stays.
    """
    found = hashlib.sha256("\n".join((*key, precision, repr(prefix), boot_of())).encode())
    for tensor in prefix.state_dict().values():
        found.update(tensor.cpu().contiguous().numpy())
    return found.hexdigest()[:24]


def _run(prefix: nn.Module, patches: DevicePatches, rows: Tensor, views: Tensor, compute: Compute) -> Tensor:
    """(B, C, h, w) bf16 outputs of the prefix."""
    with torch.no_grad(), compute.autocast():
        outputs: Tensor = prefix(compute.arrange(patches.batch(rows, views)))
    return outputs.to(torch.bfloat16)


def _make(
    store: FeatureStore, folder: Path, prefix: nn.Module, patches: DevicePatches, compute: Compute
) -> _Record | None:
    """An empty entry with all its room reserved; None where there is none. Call it under the store's lock."""
    count = len(patches.pixels)
    shape, seconds = _probe(prefix, patches, compute)
    size = bytes_kept(count, shape)
    if not drop(folder) or not _make_room(store, size):  # one that is not whole, unless somebody uses it
        return None
    record = _Record(shape, count, seconds)
    try:
        folder.mkdir(parents=True)
        _reserve(folder / _VALUES, size)
        _reserve(folder / _STATES, count * VIEWS)
        (folder / LOCK).touch()
        (folder / USERS).touch()
        (folder / _RECORD).write_text(json.dumps(asdict(record)))
    except OSError:  # the disk is full after all
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return record


def _probe(prefix: nn.Module, patches: DevicePatches, compute: Compute) -> tuple[tuple[int, int, int], float]:
    """Shape of one output, and seconds of the prefix for one patch."""
    rows = torch.arange(min(_PROBE_PATCHES, len(patches.pixels)))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        outputs = _run(prefix, patches, rows, torch.zeros_like(rows), compute).cpu()
        seconds.append(time.perf_counter() - began)
    channels, height, width = outputs.shape[1:]
    return (channels, height, width), min(seconds) / len(rows)


def _reserve(path: Path, size: int) -> None:
    """A file of zeros whose blocks are there: a mapped file with holes would end the process on a full disk."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _make_room(store: FeatureStore, size: int) -> bool:
    """Whether so many bytes fit; entries that nobody uses go, the least recently used first."""
    if size > room(store):
        return False
    entries = sorted(store.folder.glob(f"*/{_RECORD}"), key=lambda record: record.stat().st_mtime)
    sizes = {record.parent: (record.parent / _VALUES).stat().st_size for record in entries}
    return make_room(sizes, size, store.limit)


def _read_record(folder: Path) -> _Record | None:
    """The record of a whole entry; None where there is none."""
    try:
        record = _RECORDS.validate_json((folder / _RECORD).read_bytes())
        sizes = [(folder / name).stat().st_size for name in (_VALUES, _STATES)]
    except (OSError, ValueError):
        return None
    promised = [bytes_kept(record.patches, record.shape), record.patches * VIEWS]
    return record if sizes == promised else None
