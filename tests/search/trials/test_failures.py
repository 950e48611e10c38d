"""When failures in a row end a search, and when they do not."""

from collections.abc import Sequence

import pytest

from search.errors import SearchFailed
from search.training.jobs import IN_A_ROW
from search.trials.failures import Failures


def fail(failures: Failures, worker: str, times: int, study: str = "a", reason: str = "ValueError: no") -> None:
    for _ in range(times):
        failures.ended(study, worker, reason)


def in_vain(failures: Failures, reasons: Sequence[str], before: int = 0) -> None:
    """Trials that fail one after the other, where so many had failed before the launch."""
    ever = dict(enumerate(reasons))
    for number in range(before, len(ever)):
        failures.in_vain("a", number, {other: ever[other] for other in range(number + 1)})


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


def test_the_first_five_trials_of_a_study_end_the_search_where_all_failed() -> None:
    failures = Failures()
    reasons = ["ValueError: no", "OSError: full", "ValueError: no", "ValueError: no"]
    in_vain(failures, reasons)
    with pytest.raises(
        SearchFailed, match=r"study a: all 5 trials failed: 4 x ValueError: no; 1 x OSError: full.*mend"
    ):
        failures.in_vain("a", 4, dict(enumerate([*reasons, "ValueError: no"])))


def test_what_was_mended_in_vain_ends_the_search_after_five_more() -> None:
    failures = Failures()  # of a second launch
    in_vain(failures, ["ValueError: no"] * 9, before=5)
    with pytest.raises(SearchFailed, match="study a: all 10 trials failed"):
        failures.in_vain("a", 9, dict.fromkeys(range(10), "ValueError: no"))


def test_what_ends_behind_the_first_five_of_an_earlier_launch_ends_nothing() -> None:
    """They stay the first five for as long as the trial behind them trains on another worker."""
    for number in range(6, 12):
        Failures().in_vain("a", number, dict.fromkeys(range(IN_A_ROW), "OutOfMemoryError: no"))


def test_once_a_trial_went_well_five_failures_replace_the_worker_only() -> None:
    failures = Failures()
    failures.ended("a", "host:1", None)
    fail(failures, "host:1", IN_A_ROW)


def test_where_time_ran_out_the_advice_is_more_of_it() -> None:
    late = ["OutOfTimeError: it took longer than --trial-timeout 3 s"] * IN_A_ROW
    with pytest.raises(SearchFailed, match=r"mend this \(a longer --trial-timeout, smaller networks\)$"):
        in_vain(Failures(), late)
