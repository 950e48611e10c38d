"""Of what a worker died: memory is named where memory it was."""

from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from containers import GB, machine

from search.workers._ray import what_ended
from search.workers.bridge import _WorkSearcher
from search.workers.deaths import Deaths, Seat
from search.workers.kills import Asked, Kills
from search.workers.probe import Proofs
from search.workers.room import Node
from search.workers.seats import NODES_FORGIVEN, Seats

BY_RAY = "Failure # 1 (occurred at noon)\n1 worker(s) were killed due to the node running low on memory. Refer to\n"
OTHER = "Failure # 2 (occurred at one)\nThe actor died unexpectedly before finishing this task.\n"
PLAIN = "its worker died 3 times"
STARVED = (
    "its worker died 3 times, as memory ran out (4.0 GB for all processes here): give fewer --workers or more memory, "
    "or search smaller batches under a new name: --study NEW --set cnn.batch_size=N"
)


def killing(root: Path, kills: int) -> Path:
    """A container of 4 GB in which the kernel has killed so many processes."""
    return machine(root, "v2", {"": {"memory.max": f"{4 * GB}", "memory.events": f"oom 9\noom_kill {kills}\n"}})


def test_each_kill_of_the_kernel_accounts_for_one_death(tmp_path: Path) -> None:
    deaths = Deaths(killing(tmp_path, 5))  # before this run
    deaths.note("cnn 1", OTHER)
    killing(tmp_path, 7)
    for label in ("cnn 2", "cnn 3", "cnn 4"):
        deaths.note(label, OTHER)
    assert [deaths.reason(f"cnn {number}") for number in (1, 2, 3, 4)] == [PLAIN, STARVED, STARVED, PLAIN]
    assert [deaths.of(f"cnn {number}") for number in (1, 2, 5)] == [1, 1, 0]
    assert not deaths.report("cnn 2").no_room  # it died of that once


def test_a_job_whose_workers_were_all_killed_for_memory_does_not_fit(tmp_path: Path) -> None:
    deaths = Deaths(killing(tmp_path, 0))
    for _ in range(3):
        deaths.note("cnn 1", BY_RAY)
    assert (deaths.report("cnn 1").failure, deaths.report("cnn 1").no_room) == (STARVED, True)


def test_a_kill_by_ray_s_own_watch_over_memory_is_one_too(tmp_path: Path) -> None:
    deaths = Deaths(killing(tmp_path, 0))
    deaths.note("cnn 1", BY_RAY)
    deaths.note("cnn 2", OTHER)
    assert [deaths.reason(label) for label in ("cnn 1", "cnn 2")] == [STARVED, PLAIN]


ELSEWHERE = Seat("second", "b", 7, here=False)


def test_the_kernel_of_another_node_is_asked_itself_and_its_host_is_named(tmp_path: Path) -> None:
    counts = {"second": 4}  # before this run
    asked: list[str] = []

    def ask(node: str) -> Asked:
        asked.append(node)
        count = counts.get(node)
        return lambda: count

    deaths = Deaths(killing(tmp_path, 0), Kills(killing(tmp_path, 0), ask))
    deaths.watch(Seat("own", "a", 1))
    deaths.watch(ELSEWHERE)
    deaths.watch(ELSEWHERE)
    assert asked == ["second"]  # once, and nobody asks this machine by Ray
    deaths.note("cnn 1", OTHER, ELSEWHERE)  # nothing was killed
    counts["second"] = 5
    killing(tmp_path, 1)  # here, which is not there
    assert [deaths.note(label, OTHER, ELSEWHERE) for label in ("cnn 2", "cnn 3")] == [True, False]
    assert deaths.reason("cnn 1") == deaths.reason("cnn 3") == PLAIN
    assert deaths.reason("cnn 2") == STARVED.replace("4.0 GB for all processes here", "on b")
    assert deaths.note("cnn 4", OTHER, Seat("own", "a", 1))
    assert deaths.reason("cnn 4") == STARVED
    del counts["second"]  # it does not answer any more
    assert not deaths.note("cnn 5", OTHER, ELSEWHERE)


def test_a_count_that_comes_late_is_taken_at_the_next_death(tmp_path: Path) -> None:
    counts = iter([None, 4])  # of the node before this run
    kills = Kills(killing(tmp_path, 0), lambda _: lambda: next(counts))
    kills.begin("second")
    kills._ask = lambda _: lambda: 6
    assert [kills.one_more("second") for _ in range(4)] == [False, True, True, False]


class _Trial:
    """Tune's, as far as it is asked."""

    def __init__(self, file: Path | None) -> None:
        self.error_file = None if file is None else str(file)


def test_only_the_last_of_a_trial_s_deaths_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text(BY_RAY + OTHER)
    assert "low on memory" not in what_ended(_Trial(tmp_path / "error.txt"))
    assert "died unexpectedly" in what_ended(_Trial(tmp_path / "error.txt"))
    assert what_ended(_Trial(None)) == what_ended(_Trial(tmp_path / "none")) == ""


def test_deaths_that_say_nothing_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node has left; it was ended on one that had joined and was not proven yet; its host is barred."""
    live = [Node("a", 1.0, 0.0, "left"), Node("b", 1.0, 0.0, "there"), Node("b", 1.0, 0.0, "new")]
    killed = Mock()
    monkeypatch.setattr("search.workers.seats.live_nodes", lambda: live)
    monkeypatch.setattr("search.workers.seats.place_of_actor", lambda actor: (actor, 7))
    monkeypatch.setattr("ray.kill", killed)
    proofs = Mock(left_out={}, proven=lambda node: node != "new")
    seats = Seats(cast("Proofs", proofs), print)
    work, job = Mock(), Mock(label="cnn 1")
    searcher = _WorkSearcher(work, Mock(), Mock(), seats, {"cpu": 1.0}, print)
    searcher.deaths = Deaths(tmp_path, cast("Kills", Mock(one_more=lambda node: False)))  # noqa: ARG005
    searcher.jobs["tune"] = job

    def died(node: str) -> int:
        searcher.placed("tune", node)
        left = live.pop(0) if node == "left" else None
        searcher.died("tune", OTHER)
        live[:0] = [] if left is None else [left]  # a node that comes again
        return searcher.deaths.of("cnn 1")

    def given_up(node: str) -> list[str]:
        """What becomes of a job that Tune gives up after a death there: ways of ``Work`` that are called."""
        died(node)
        searcher.on_trial_complete("tune", error=True)
        searcher.jobs["tune"] = job
        called = [name for name, *_ in work.method_calls]
        work.reset_mock()
        return called

    assert died("left") == 0
    assert [died("new") for _ in range(4)] == [0] * 4
    assert killed.call_count == 4
    assert died("there") == 1
    assert [given_up("new") for _ in range(4)] == [["give_back"]] * 4
    assert given_up("there") == ["give_back"]
    assert [given_up("new") for _ in range(4)] == [["give_back"]] * 4  # after two deaths of its own, too
    seats.hosts.barred["b"] = "it is sick"
    assert died("there") == 2
    del seats.hosts.barred["b"]
    assert [died("left") for _ in range(NODES_FORGIVEN)] == [2] * (NODES_FORGIVEN - 1) + [3]  # it seems to end them
    assert given_up("left") == ["worker_lost"]
    seats.reached("cnn 1", 3)  # it comes further than ever: its nodes left for another reason
    seats.reached("cnn 1", 3)
    gone = [bool(seats.excused("cnn 1", Seat("gone", "c", 7))) for _ in range(NODES_FORGIVEN + 1)]
    assert gone == [True] * NODES_FORGIVEN + [False]
