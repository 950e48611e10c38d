"""When failures in a row end a search, and when they do not."""

import pytest

from search.errors import SearchFailed
from search.failures import IN_A_ROW, Failures


def fail(failures: Failures, worker: str, times: int, study: str = "a", reason: str = "ValueError: no") -> None:
    for _ in range(times):
        failures.ended(study, worker, reason)


def test_a_second_worker_that_fails_as_often_in_a_row_ends_the_search_although_others_do_well() -> None:
    failures = Failures()
    fail(failures, "host:1", IN_A_ROW)
    failures.ended("a", "host:2", None)
    fail(failures, "host:3", IN_A_ROW - 1, reason="OSError: full")
    failures.ended("a", "host:2", None)
    with pytest.raises(SearchFailed, match=r"host:1 and host:3 each.*5 x ValueError: no; 5 x OSError: full.*mend"):
        fail(failures, "host:3", 1, reason="OSError: full")


def test_twice_as_many_failures_of_a_study_on_any_workers_end_the_search() -> None:
    failures = Failures()
    for worker in range(2 * IN_A_ROW - 1):
        fail(failures, f"host:{worker}", 1)
    with pytest.raises(SearchFailed, match=r"study a failed 10 trials in a row: 9 x ValueError: no; 1 x its worker"):
        failures.ended("a", "", "its worker died 3 times")


def test_a_trial_that_does_not_fail_begins_the_count_anew() -> None:
    failures = Failures()
    for _ in range(3):
        fail(failures, "host:1", IN_A_ROW - 1)
        failures.ended("a", "host:1", None)


def test_one_study_that_cannot_train_ends_the_search_although_the_other_one_does_well() -> None:
    failures = Failures()
    for _ in range(2 * IN_A_ROW - 1):
        failures.ended("b", "host:1", "ValueError: no")
        failures.ended("a", "host:1", None)
    with pytest.raises(SearchFailed, match="study b failed 10 trials in a row"):
        failures.ended("b", "host:1", "ValueError: no")
