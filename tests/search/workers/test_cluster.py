"""How many workers a machine or a container carries."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from containers import GB, machine

from search.command.settings import WorkerSettings
from search.errors import UsageError
from search.workers.cluster import plan_crew
from search.workers.room import Node, Room, slots

EXAMPLE = Path(__file__).resolve().parents[3] / ".env.example"
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


def test_a_worker_that_this_machine_does_not_hold_is_refused(tmp_path: Path) -> None:
    root = machine(tmp_path, "v2", {"": {"cpu.max": "400000 100000"}})
    assert plan_crew(replace(ASKED, cpus_per_worker=4), "cpu", 0, root=root).cpus == 4
    with pytest.raises(UsageError) as refused:
        plan_crew(replace(ASKED, cpus_per_worker=8), "cpu", 0, root=root)
    assert str(refused.value) == (
        f"this machine holds no worker with 8 CPU: {os.uname().nodename} lends 4 CPU; ask for less (--cpus-per-worker)"
    )


@pytest.mark.parametrize("cores", [6, 64])
def test_as_the_containers_are_shipped_workers_fit_whatever_the_host_of_the_launch_has(
    tmp_path: Path, cores: int
) -> None:
    shipped = dict(line.split("=", 1) for line in EXAMPLE.read_text().splitlines() if re.match(r"WORKER\w*=", line))
    workers = int(shipped["WORKERS"]) if shipped.get("WORKERS") else None
    asked = WorkerSettings(device="cpu", ray_address="auto", workers=workers)
    root = machine(tmp_path, "v2", {"": {"cpu.max": f"{cores}00000 100000"}})
    crew = plan_crew(asked, "cpu", 0, root=root)
    nodes = [Node("ray-head", 0, 0), Node("ray-worker", float(shipped["WORKER_CPUS"]), 0), Node("launch", 0, 0)]
    Room(crew.resources, crew.workers, print, nodes=lambda: nodes).check()
    assert (crew.cpus, crew.threads) == (1, 1)
    assert slots(crew.resources, nodes) == int(shipped["WORKER_CPUS"]) >= (workers or 1)


@pytest.mark.parametrize(("side", "workers"), [(50, 8), (96, 5), (256, 1)])
def test_larger_patches_leave_memory_for_fewer_workers(tmp_path: Path, side: int, workers: int) -> None:
    root = machine(tmp_path, "v2", {"": {"memory.max": f"{16 * GB}"}})
    assert plan_crew(ASKED, "cpu", 0, side, root).workers == workers
