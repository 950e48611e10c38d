"""Control groups for tests: made-up trees of the files that the kernel shows, and real groups where one can be made."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tree import wait_until

from data_utils.machine import ROOT, _groups

GB = 2**30
_MOUNTS = {
    "v2": "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
    "v1": (
        "31 23 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 {top} /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory\n"
    ),
}
_OWN = {"v2": "0::{own}\n", "v1": "9:cpu,cpuacct:{own}\n8:memory:{own}\n1:name=systemd:{own}\n0::/\n"}


def machine(root: Path, version: str, groups: dict[str, dict[str, str]], *, own: str = "/", top: str = "/") -> Path:
    """What a process sees of a machine of 512 GB, half of them free.

    Args:
        root: an empty folder for it; returned.
        version: of the control groups, "v1" or "v2".
        groups: name of a group as it is mounted, "" for the topmost -> file -> content.
        own: the group of the process, as ``/proc/self/cgroup`` names it.
        top: the group that is mounted.
    """
    _write(root / "proc/self/cgroup", _OWN[version].format(own=own))
    _write(root / "proc/self/mountinfo", _MOUNTS[version].format(top=top))
    size = 512 * GB // 1024
    _write(root / "proc/meminfo", f"MemTotal:    {size} kB\nMemFree:  1000 kB\nMemAvailable:  {size // 2} kB\n")
    _write(root / "proc/vmstat", "nr_free_pages 10\noom_kill 7\n")
    for group, files in groups.items():
        for name, content in files.items():
            kind = "" if version == "v2" else "memory" if name.startswith("memory") else "cpu,cpuacct"
            _write(root / "sys/fs/cgroup" / kind / group / name, content)
    return root


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@contextmanager
def real_group(controller: str, limits: dict[str, str]) -> Iterator[Path]:
    """A group of the kernel's below that of this process; processes enter it by ``inside``. Skips where none can be."""
    own = next(_groups(controller, ROOT), None)
    if own is None:
        pytest.skip("no control groups here")
    group = own / f"histotune-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of its own can be made here: {error}")
    try:
        known = {name: value for name, value in limits.items() if (group / name).exists()}
        if not known:
            pytest.skip(f"{controller} cannot be limited in {group}")
        for name, value in known.items():
            (group / name).write_text(value)
        yield group
    finally:
        wait_until(lambda: _is_removed(group), 60, "the end of all processes of the group")


def _is_removed(group: Path) -> bool:
    with suppress(OSError):  # it is busy as long as a process is in it
        group.rmdir()
    return not group.exists()


def inside(group: Path, command: list[str]) -> list[str]:
    """The command line that runs another one in a group."""
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *command]
