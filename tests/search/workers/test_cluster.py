"""How many workers a machine or a container carries."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from containers import GB, machine

from search.command.settings import WorkerSettings
from search.workers.cluster import plan_crew

ASKED = WorkerSettings(device="cpu")


@pytest.fixture(autouse=True)
def _64_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.mark.parametrize(
    ("files", "workers", "threads"),
    [
        pytest.param({}, 64, 1, id="the whole machine of 64 cores and 512 GB"),
        pytest.param({"cpu.max": "100000 100000"}, 1, 1, id="a quota of one core"),
        pytest.param({"cpu.max": "800000 100000"}, 8, 1, id="of eight"),
        pytest.param({"memory.max": f"{8 * GB}"}, 4, 16, id="8 GB of memory"),
        pytest.param({"memory.max": f"{8 * GB}", "cpu.max": "300000 100000"}, 3, 1, id="both"),
        pytest.param({"memory.max": f"{GB}"}, 1, 64, id="less than a worker takes: one, as none would be no search"),
    ],
)
def test_a_container_gets_the_workers_that_its_limits_carry(
    tmp_path: Path, files: dict[str, str], workers: int, threads: int
) -> None:
    crew = plan_crew(ASKED, "cpu", 0, root=machine(tmp_path, "v2", {"": files}))
    assert (crew.workers, crew.threads) == (workers, threads)


def test_what_is_asked_for_is_given_whatever_the_container_carries(tmp_path: Path) -> None:
    root = machine(tmp_path, "v2", {"": {"cpu.max": "100000 100000"}})
    assert plan_crew(replace(ASKED, workers=3), "cpu", 0, root=root).workers == 3


@pytest.mark.parametrize(("side", "workers"), [(50, 8), (96, 5), (256, 1)])
def test_larger_patches_leave_memory_for_fewer_workers(tmp_path: Path, side: int, workers: int) -> None:
    root = machine(tmp_path, "v2", {"": {"memory.max": f"{16 * GB}"}})
    assert plan_crew(ASKED, "cpu", 0, side, root).workers == workers
