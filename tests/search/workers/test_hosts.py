"""Failures by host: a sick one is barred and costs no trial, and a job that fails by itself is told as such."""

from dataclasses import replace
from pathlib import Path

import pytest
from containers import machine

from search.training.jobs import EpochReport
from search.workers.deaths import Deaths, Seat
from search.workers.hosts import Hosts

WELL = EpochReport(1, {"auc": 0.9}, 0.1)
BROKEN = replace(WELL, epoch=0, failure="RuntimeError: CUDA error")


def hosts(told: list[str], *names: str) -> Hosts:
    made: Hosts = Hosts(lambda host: any(one not in (host, *made.barred) for one in names), told.append)
    return made


def test_a_host_with_three_failures_in_a_row_and_none_done_is_barred_and_none_counts() -> None:
    told: list[str] = []
    both = hosts(told, "a", "b")
    assert [both.reported("b", f"cnn {job}", BROKEN) for job in range(4)] == [False] * 4
    assert told == [
        "host b is barred: 3 jobs in a row failed there and none was done (RuntimeError: CUDA error). They go to "
        "others; mend it, and the next launch takes it again"
    ]
    assert both.reported("a", "cnn 0", WELL)


def test_a_job_that_fails_on_two_hosts_fails_by_itself() -> None:
    both = hosts([], "a", "b")
    assert [both.reported(host, "cnn 0", BROKEN) for host in ("a", "a", "b")] == [False, False, True]


def test_a_host_that_has_done_a_job_is_well_and_failures_there_are_the_jobs_own() -> None:
    both = hosts([], "a", "b")
    assert both.reported("b", "cnn 0", WELL)
    assert [both.reported("b", f"cnn {job}", BROKEN) for job in range(4)] == [True] * 4
    assert both.barred == {}


def test_the_last_host_is_never_barred() -> None:
    both = hosts([], "a", "b")
    assert [both.reported("b", f"cnn {job}", BROKEN) for job in range(3)] == [False] * 3
    assert [both.reported("a", f"cnn {job}", BROKEN) for job in range(4)] == [True] * 4
    assert list(both.barred) == ["b"]
    assert [hosts([], "a").reported("a", "cnn 0", BROKEN) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(
    "of_the_job",
    [
        replace(BROKEN, failure="TrainingDivergedError: the loss is nan"),
        replace(BROKEN, failure="OutOfTimeError: it took longer"),
        replace(BROKEN, no_room=True),
        replace(BROKEN, keeps_value=True),
    ],
)
def test_what_lies_in_the_configuration_is_no_fault_of_a_host(of_the_job: EpochReport) -> None:
    both = hosts([], "a", "b")
    assert [both.reported("b", f"cnn {job}", of_the_job) for job in range(4)] == [True] * 4
    assert both.barred == {}


def test_deaths_on_a_host_that_is_barred_are_none_of_the_job_and_the_last_place_is_told(tmp_path: Path) -> None:
    deaths = Deaths(machine(tmp_path, "v2", {"": {}}))
    for seat in (Seat("1", "b", 7), Seat("1", "b", 8), Seat("2", "a", 9), None):
        deaths.note("cnn 1", "The actor died unexpectedly", seat)
    assert deaths.report("cnn 1").attributes == {"worker": "a:9"}
    deaths.forget("b")
    assert deaths.of("cnn 1") == 2
