"""Cores and memory as a container leaves them: from made-up files of control groups, and from real groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from containers import GB, inside, machine, real_group

from data_utils.machine import cores, free_memory, killed_for_memory, limit_threads, memory

ROOT = Path(__file__).resolve().parents[2]
QUOTAS = [
    pytest.param("v2", {"": {"cpu.max": "100000 100000"}}, {}, 1, id="a quota of one core"),
    pytest.param("v2", {"": {"cpu.max": "50000 100000"}}, {}, 1, id="half a core is one worker"),
    pytest.param("v2", {"": {"cpu.max": "250000 100000"}}, {}, 2, id="two and a half are two"),
    pytest.param("v2", {"": {"cpu.max": "max 100000"}}, {}, 64, id="no quota"),
    pytest.param("v2", {"": {"cpu.max": "9900000 100000"}}, {}, 64, id="a quota beyond the affinity"),
    pytest.param("v2", {}, {}, 64, id="no such file"),
    pytest.param("v2", {"": {"cpu.max": "what\n"}}, {}, 64, id="a file that says something else"),
    pytest.param(
        "v2",
        {"a/b": {"cpu.max": "max 100000"}, "a": {"cpu.max": "300000 100000"}, "": {"cpu.max": "800000 100000"}},
        {"own": "/a/b"},
        3,
        id="the smallest on the way up",
    ),
    pytest.param("v2", {"a": {"cpu.max": "100000 100000"}}, {"own": "/ab"}, 64, id="of another group"),
    pytest.param(
        "v1", {"": {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}}, {}, 1, id="v1: a quota of one core"
    ),
    pytest.param(
        "v1", {"": {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}}, {}, 64, id="v1: no quota"
    ),
    pytest.param(
        "v1",
        {"": {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"}},
        {"own": "/docker/abc", "top": "/docker/abc"},
        4,
        id="v1: a container that sees its group by the host's name",
    ),
    pytest.param(
        "v1",
        {
            "slurm/job_7/step_0": {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
            "slurm/job_7": {"cpu.cfs_quota_us": "600000", "cpu.cfs_period_us": "100000"},
        },
        {"own": "/slurm/job_7/step_0"},
        6,
        id="v1: a step of a batch job",
    ),
]  # fmt: skip


@pytest.fixture
def _64_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.mark.usefixtures("_64_cores")
@pytest.mark.parametrize(("version", "groups", "place", "expected"), QUOTAS)
def test_cores_are_those_of_the_affinity_and_of_every_quota_on_the_way_up(
    tmp_path: Path, version: str, groups: dict[str, dict[str, str]], place: dict[str, str], expected: int
) -> None:
    assert cores(machine(tmp_path, version, groups, **place)) == expected


def test_a_machine_without_any_such_files_has_the_cores_of_its_affinity(tmp_path: Path) -> None:
    assert cores(tmp_path) == len(os.sched_getaffinity(0))
    assert killed_for_memory(tmp_path) == 0


@pytest.mark.parametrize(
    ("version", "files", "total", "free"),
    [
        ("v2", {"memory.max": f"{8 * GB}", "memory.current": f"{3 * GB}"}, 8, 5),
        (
            "v2",
            {
                "memory.max": f"{8 * GB}",
                "memory.current": f"{7 * GB}",
                "memory.stat": f"anon 5\ninactive_file {2 * GB}\nactive_file {GB}\n",
            },
            8,
            4,
        ),
        ("v2", {"memory.max": "max", "memory.current": f"{3 * GB}"}, 512, 256),
        ("v2", {"memory.max": f"{GB}", "memory.current": f"{2 * GB}"}, 1, 0),
        (
            "v1",
            {
                "memory.limit_in_bytes": f"{6 * GB}",
                "memory.usage_in_bytes": f"{5 * GB}",
                "memory.stat": f"inactive_file 0\nactive_file 0\ntotal_inactive_file {GB}\ntotal_active_file 0\n",
            },
            6,
            2,
        ),
        ("v1", {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "5"}, 512, 256),
    ],
)
def test_memory_is_what_machine_and_group_leave_and_a_cache_of_files_is_free(
    tmp_path: Path, version: str, files: dict[str, str], total: int, free: int
) -> None:
    root = machine(tmp_path, version, {"job": files}, own="/job")
    assert (memory(root) / GB, free_memory(root) / GB) == (total, free)


def test_the_smallest_memory_on_the_way_up_counts(tmp_path: Path) -> None:
    groups = {"a/b": {"memory.max": f"{9 * GB}"}, "a": {"memory.max": f"{2 * GB}", "memory.current": f"{GB}"}}
    root = machine(tmp_path, "v2", groups, own="/a/b")
    assert (memory(root) / GB, free_memory(root) / GB) == (2, 1)


@pytest.mark.parametrize(
    ("version", "files", "kills"),
    [
        ("v2", {"memory.events": "low 0\nhigh 4\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2),
        ("v1", {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"}, 5),
        ("v2", {}, 7),
    ],
)
def test_the_kernel_tells_how_many_processes_it_killed_for_memory(
    tmp_path: Path, version: str, files: dict[str, str], kills: int
) -> None:
    assert killed_for_memory(machine(tmp_path, version, {"job": files}, own="/job")) == kills


@pytest.mark.usefixtures("_64_cores")
def test_libraries_start_no_more_threads_than_a_quota_has_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    limit_threads(machine(tmp_path / "whole", "v2", {}))
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    small = machine(tmp_path / "small", "v2", {"": {"cpu.max": "200000 100000"}})
    limit_threads(small)
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads(small)
    assert os.environ["OMP_NUM_THREADS"] == "2"


def ask(group: Path, what: str) -> int:
    """What a process in the group is told."""
    command = [sys.executable, "-c", f"from data_utils.machine import *; print({what})"]
    return int(subprocess.run(inside(group, command), cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_a_real_quota_of_one_core_is_seen() -> None:
    limits = {"cpu.max": "100000 100000", "cpu.cfs_quota_us": "100000"}
    with real_group("cpu", limits) as group:
        assert ask(group, "cores()") == 1


def test_a_real_limit_on_memory_and_a_kill_for_it_are_seen() -> None:
    limits = {"memory.max": f"{GB // 4}", "memory.limit_in_bytes": f"{GB // 4}"}
    with real_group("memory", limits) as group:
        assert ask(group, "memory()") == GB // 4
        assert 0 < ask(group, "free_memory()") < GB // 4
        before = ask(group, "killed_for_memory()")
        greedy = [sys.executable, "-c", f"bytes(bytearray({GB}))"]
        assert subprocess.run(inside(group, greedy), check=False).returncode == -9
        assert ask(group, "killed_for_memory()") == before + 1
