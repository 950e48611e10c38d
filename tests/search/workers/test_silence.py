"""Which jobs say nothing any more, by what others of their model took for an epoch."""

import pytest

from search.workers.silence import SILENT_SECONDS, Silence


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def wait(silence: Silence, clock: Clock, seconds: float) -> list[tuple[str, float, float]]:
    """The driver looks once a second."""
    found = []
    for _ in range(int(seconds)):
        clock.now += 1
        found += silence.look()
    return found


@pytest.mark.parametrize(("epoch", "silent_after"), [(2, SILENT_SECONDS), (60, 600)])
def test_a_job_is_silent_after_ten_times_the_slowest_epoch_of_its_model_and_no_sooner_than_two_minutes(
    epoch: int, silent_after: int
) -> None:
    clock = Clock()
    silence = Silence(clock)
    silence.placed("a", "cnn")
    silence.placed("other", "vgg16")
    assert wait(silence, clock, epoch) == []
    silence.spoke("a")
    assert wait(silence, clock, silent_after) == []
    assert wait(silence, clock, 1) == [("a", silent_after + 1, epoch)]
    assert wait(silence, clock, 5) == []  # told of once; of vgg16 nothing is known


def test_one_that_speaks_or_has_ended_is_not_silent() -> None:
    clock = Clock()
    silence = Silence(clock)
    for job in ("a", "b"):
        silence.placed(job, "cnn")
        clock.now += 1
        silence.spoke(job)
    wait(silence, clock, 100)
    silence.spoke("a")
    silence.ended("b")
    assert wait(silence, clock, 100) == []


def test_a_driver_that_was_stopped_hears_nobody_meanwhile() -> None:
    clock = Clock()
    silence = Silence(clock)
    silence.placed("a", "cnn")
    clock.now += 1
    silence.spoke("a")
    wait(silence, clock, 10)
    clock.now += 3600
    assert silence.look() == []
    assert [job for job, _, _ in wait(silence, clock, 120)] == ["a"]
