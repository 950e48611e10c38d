"""What goes wrong inside a worker is a failure with its reason; the process lives on, or is replaced."""

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from inside import context_of, job_for
from torch import Tensor, nn

from search.training import loop as training
from search.training.jobs import IN_A_ROW, WorkerContext
from search.workers.checkpoints import Checkpoint
from search.workers.deadline import Deadline, OutOfTimeError
from search.workers.worker import Worker

NO_MACHINE_HAS_SO_MUCH = 10**16


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    return context_of(tmp_path_factory.mktemp("prepared") / "data")


def ask_for_too_much(monkeypatch: pytest.MonkeyPatch, larger_than: int) -> None:
    """A convolution that learns from so many patches at a time asks the allocator for more than there is."""
    forward = nn.Conv2d.forward

    def asking(self: nn.Conv2d, images: Tensor) -> Tensor:
        if self.training and len(images) > larger_than:
            torch.empty(NO_MACHINE_HAS_SO_MUCH)
        return forward(self, images)

    monkeypatch.setattr(nn.Conv2d, "forward", asking)


def test_a_batch_that_the_memory_does_not_hold_is_halved_once(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for_too_much(monkeypatch, larger_than=32)
    told = Worker(context).begin(job_for(tmp_path, batch_size=64))
    assert told.failure is None
    assert told.attributes["batch_parts"] == 2


def test_a_batch_that_it_does_not_hold_in_halves_either_ends_the_trial_with_that_reason(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for_too_much(monkeypatch, larger_than=16)
    living = Worker(context)
    told = living.begin(job_for(tmp_path, batch_size=64))
    assert told.failure is not None
    assert told.failure.startswith("OutOfMemoryError: out of memory with batches of 64, also in 2 parts")
    assert told.no_room
    monkeypatch.undo()
    assert living.begin(job_for(tmp_path, batch_size=64)).failure is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_fails_the_trial_with_that_reason(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    right = training._loss
    monkeypatch.setattr(training, "_loss", lambda *arguments: right(*arguments) + loss)
    told = Worker(context).begin(job_for(tmp_path))
    assert told.failure == f"TrainingDivergedError: The loss of epoch 1 is {loss}; try a smaller learning rate."


def test_an_exception_fails_the_trial_with_its_reason_and_the_worker_lives_on(
    context: WorkerContext, tmp_path: Path
) -> None:
    living = Worker(context)
    assert str(living.begin(job_for(tmp_path, activation="tanh")).failure).startswith("KeyError: ")
    assert living.begin(job_for(tmp_path)).failure is None


class _ReplacedError(Exception):
    """The process has ended itself."""


@pytest.fixture
def _seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise _ReplacedError(code)

    monkeypatch.setattr(os, "_exit", end)


@pytest.mark.usefixtures("_seen")
def test_a_worker_ends_itself_after_so_many_failures_in_a_row(context: WorkerContext, tmp_path: Path) -> None:
    failing = Worker(context)
    for _ in range(IN_A_ROW):
        assert failing.begin(job_for(tmp_path, activation="tanh")).failure is not None
    with pytest.raises(_ReplacedError):
        failing.begin(job_for(tmp_path))


@pytest.mark.usefixtures("_seen")
def test_a_trial_that_does_not_fail_begins_the_count_anew(context: WorkerContext, tmp_path: Path) -> None:
    living = Worker(context)
    for activation in ["tanh"] * (IN_A_ROW - 1) + ["relu"] + ["tanh"] * (IN_A_ROW - 1) + ["relu"]:
        failed = living.begin(job_for(tmp_path, activation=activation)).failure is not None
        assert failed == (activation == "tanh")


def test_a_trial_that_goes_on_has_only_the_time_that_is_left_to_it(context: WorkerContext, tmp_path: Path) -> None:
    job = job_for(tmp_path, epochs=3)
    assert Worker(context).begin(job).failure is None
    kept = Checkpoint.read(job)
    assert kept is not None
    (first,) = kept.told
    took_long = {**first.attributes, "cost": {"training": 400.0, "evaluation": 200.0, "saved": 0.0}}
    Checkpoint(kept.layout, [replace(first, attributes=took_long)], kept.training).write(job)
    going_on = Worker(replace(context, trial_timeout=500))
    assert going_on.begin(job).failure is None  # tells the first epoch again
    assert going_on.advance().failure == "OutOfTimeError: it took longer than --trial-timeout 500 s"
    enough = Worker(replace(context, trial_timeout=700))
    enough.begin(job)
    assert enough.advance().failure is None


def test_the_time_that_a_trial_needs_to_be_set_up_is_not_counted(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("search.workers.deadline.time.monotonic", lambda: now[0])
    right = training.Training.begin

    def slow(*arguments: object, **named: object) -> training.Training:
        now[0] += 600
        return right(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(training.Training, "begin", slow)
    limited = Worker(replace(context, trial_timeout=500))
    assert limited.begin(job_for(tmp_path, epochs=3)).failure is None
    now[0] += 400
    crossing = limited.advance()
    assert (crossing.epoch, crossing.failure) == (2, None)
    now[0] += 200
    over = limited.advance()
    assert (over.failure, over.keeps_value) == ("OutOfTimeError: it took longer than --trial-timeout 500 s", True)


def test_a_loss_that_turns_nan_keeps_the_epochs_before(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = training._loss
    losing = Worker(context)
    assert losing.begin(job_for(tmp_path, epochs=3)).failure is None
    monkeypatch.setattr(training, "_loss", lambda *arguments: right(*arguments) * float("nan"))
    told = losing.advance()
    assert told.failure == "TrainingDivergedError: The loss of epoch 2 is nan; try a smaller learning rate."
    assert told.keeps_value
    assert not losing._fitness.failed


def test_a_job_is_given_as_long_beyond_its_limit_as_its_longest_epoch_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    class Noted(threading.Timer):
        def __init__(self, interval: float, *rest: Any) -> None:
            waited.append(interval)
            super().__init__(interval, *rest)

    monkeypatch.setattr("search.workers.deadline.threading.Timer", Noted)
    deadline = Deadline(tmp_path / "7", 60.0)
    with deadline.watched():
        deadline.begin(before=0.0, epochs=0)
    deadline.epoch(40.0)
    with deadline.watched():
        pass
    assert [round(seconds) for seconds in waited] == [65, 65, 100]
    later = Deadline(tmp_path / "7", 60.0)  # in another process, two epochs later
    later.begin(before=50.0, epochs=2)
    with later.watched():
        pass
    assert round(waited[-1]) == 35


def test_a_worker_that_waits_for_its_next_job_is_not_ended_by_the_last_one_s_timeout(
    context: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watches(*_: object) -> int:
        return sum(
            isinstance(thread, threading.Timer) and not thread.finished.is_set() for thread in threading.enumerate()
        )

    seen: list[int] = []
    monkeypatch.setattr(nn.Conv2d, "__init__", lambda *_, **__: seen.append(watches()))  # while its network is built
    waiting = Worker(replace(context, trial_timeout=30))
    waiting.begin(job_for(tmp_path))
    monkeypatch.undo()
    before = watches()
    assert waiting.begin(job_for(tmp_path)).failure is None
    assert set(seen) == {before + 1}
    assert watches() == before


@pytest.mark.usefixtures("_seen")
@pytest.mark.parametrize(("limit", "told"), [(60.0, True), (20.0, True), (90.0, False), (None, False)])
def test_a_job_whose_process_was_ended_by_the_timeout_may_be_given_more_time_later(
    tmp_path: Path, limit: float | None, told: bool
) -> None:
    with pytest.raises(_ReplacedError):
        Deadline(tmp_path / "7", 60.0)._end_process()
    later = Deadline(tmp_path / "7", limit)
    if told:
        with pytest.raises(OutOfTimeError, match=f"--trial-timeout {limit:g} s"):
            later.check()
    else:
        later.check()


@pytest.mark.usefixtures("_seen")
def test_a_job_that_does_not_come_back_ends_its_process_also_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    deadline = Deadline(tmp_path / "7", None)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(_ReplacedError):
        deadline._end_process()
