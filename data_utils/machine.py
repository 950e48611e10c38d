"""What this process may use of its machine: CPU cores and memory, as affinity and control groups leave them to it.

A container or a batch system grants less than the machine has. The limits stand in files of the process's control
groups (cgroup v1 and v2), of its own and of every one above it; the smallest counts. A file that is missing or holds
no number limits nothing. ``root`` is the folder that holds ``proc`` and ``sys``.

Standard library only: commands ask it before they import anything.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")
_UNLIMITED = 2**63
_FILE_CACHE = ("total_inactive_file", "total_active_file"), ("inactive_file", "active_file")
"""Bytes that a group gives back when it needs them, as v1 and v2 name them."""


def cores(root: Path = ROOT) -> int:
    """CPU cores, at least one; of a quota of 2.5 cores two, as a third process would wait for the others."""
    return max(1, math.floor(min([len(os.sched_getaffinity(0)), *map(_quota, _groups("cpu", root))])))


def free_memory(root: Path = ROOT) -> int:
    """Bytes that can still be taken, of the machine or of what a group may hold; a cache of files counts as free."""
    return max(0, min([_of_machine("MemAvailable", root), *map(_room, _groups("memory", root))]))


def memory(root: Path = ROOT) -> int:
    """Bytes that all processes together may hold here."""
    return min([_of_machine("MemTotal", root), *map(_limit, _groups("memory", root))])


def killed_for_memory(root: Path = ROOT) -> int:
    """How many processes the kernel has killed so far since memory ran out: of this group, or of a machine without."""
    for group in _groups("memory", root):
        for file in ("memory.events", "memory.oom_control"):
            if (kills := _named(group / file).get("oom_kill")) is not None:
                return kills
    return _named(root / "proc/vmstat").get("oom_kill", 0)


def limit_threads(root: Path = ROOT) -> None:
    """Has libraries that are imported from now on start no more threads than there are cores.

    By themselves they go by the affinity, which a quota leaves as it is: 64 threads would share one core.
    """
    if cores(root) < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores(root)))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the groups that hold this process: its own first, then those above it, of v1 and of v2."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for top, within in _mounts("cgroup" if controllers else "cgroup2", controller, root):
            # as a container sees it, its own group may be the one that is mounted
            below = os.path.relpath(path, top) if Path(path).is_relative_to(top) else "."
            folder = within / below
            yield from (folder, *(above for above in folder.parents if above.is_relative_to(within)))


def _mounts(kind: str, controller: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Which group is mounted where, of the file systems of a kind; in v1 each controller has one."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        top, point = mount.split()[3:5]
        found, _, options = system.split(maxsplit=2)
        if found == kind and (kind == "cgroup2" or controller in options.split(",")):
            yield top, root / point.lstrip("/")


def _of_machine(name: str, root: Path) -> int:
    """Bytes of the whole machine, as "MemTotal:  24576 kB" has them."""
    lines = (line.split() for line in _lines(root / "proc/meminfo"))
    return next((int(line[1]) * 1024 for line in lines if line[0] == f"{name}:"), _UNLIMITED)


def _quota(group: Path) -> float:
    """CPU cores that a group may use."""
    with suppress(OSError, ValueError):  # "max 100000" is no limit
        most, every = map(int, (group / "cpu.max").read_text(encoding="ascii").split())
        return most / every
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return math.inf if quota is None or period is None or quota <= 0 else quota / period


def _limit(group: Path) -> int:
    """Bytes that a group may hold; v1 has a number beyond any machine where nothing is limited."""
    found = (_number(group / file) for file in ("memory.max", "memory.limit_in_bytes"))
    return next((limit for limit in found if limit is not None), _UNLIMITED)


def _room(group: Path) -> int:
    """Bytes that a group may still take."""
    held = (_number(group / file) for file in ("memory.current", "memory.usage_in_bytes"))
    stat = _named(group / "memory.stat")
    cache = next((sum(stat[name] for name in names) for names in _FILE_CACHE if stat.keys() >= set(names)), 0)
    return _limit(group) - next((taken for taken in held if taken is not None), 0) + cache


def _number(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None


def _named(file: Path) -> dict[str, int]:
    """The numbers of a file with a name and a number a line."""
    pairs = (line.split() for line in _lines(file))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _lines(file: Path) -> list[str]:
    with suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="utf-8").splitlines()
    return []
