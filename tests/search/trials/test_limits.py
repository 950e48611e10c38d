"""Configurations that do not fit: no failures, and known to the sampler as infeasible."""

import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from inside import context_of, job_for
from optuna.storages import RDBStorage
from searches import searching

from models._registry import load_model, model_names
from search.errors import SearchFailed
from search.training.jobs import IN_A_ROW, EpochReport, Job
from search.training.loop import count_parameters
from search.trials.launches import Presence
from search.trials.limits import above, weights_of
from search.trials.side_by_side import Searches
from search.trials.study_search import DOES_NOT_FIT, StudySearch
from search.workers.worker import Worker
from studies.ledger.invariants import broken
from studies.ledger.ledger import Ledger
from studies.storage._gaussian import as_complete
from studies.storage.results import CUT_SHORT, by_hand, cut_short, summarise

NO_ROOM = EpochReport(0, {}, float("nan"), {"seconds": 1.0}, "OutOfMemoryError: no", no_room=True)
SLOW = replace(NO_ROOM, failure="0.5 ms a patch on cpu, more than the 0.1 of --max-ms-per-patch: not trained")
LARGE = "more than the 10 weights of --max-parameters: not trained"


class Silent:
    def begun(self, job: Job) -> None: ...

    def epoch(self, job: Job, report: EpochReport | None, state: str) -> None:
        self.last = (job, report, state)


@pytest.fixture
def presence(storage: RDBStorage) -> Presence:
    return Presence(Ledger(storage.engine), "idc")


def test_what_runs_out_of_memory_is_pruned_as_infeasible_and_is_no_failure(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path, wanted=3)
    jobs = [search.next_job() for _ in range(3)]
    assert all(jobs)
    first, second, third = (job for job in jobs if job is not None)
    assert search.report(first, NO_ROOM) == "PRUNED"
    for epoch in (1, 2, 3):
        search.report(second, EpochReport(epoch, {"auc": 0.6}, 0.1))
    search.report(third, EpochReport(1, {"auc": 0.7}, 0.1))
    assert search.worker_lost(third, NO_ROOM) == "PRUNED"  # its value is kept, and its like are avoided all the same
    trials = search.study.trials
    assert [trial.constraints.get(DOES_NOT_FIT) for trial in trials] == [1.0, None, 1.0]
    assert [trial.value for trial in trials] == [None, 0.6, 0.7]
    study = summarise(search.study)
    assert by_hand(study.trials) == ""
    assert cut_short(study.trials) == ["2 x OutOfMemoryError: no (trials 0, 2)"]
    assert study.best == 1
    assert search.failures() == {}
    assert broken(storage, lambda _launch: True, "idc") == []
    assert sorted(trial.value or 0.0 for trial in as_complete(trials)) == [0.6, 0.6, 0.6]  # no better than the worst


def test_the_sampler_keeps_away_from_what_does_not_fit(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    search = searching(storage, presence, tmp_path, wanted=60, sampler="tpe")
    batches = []
    for _ in range(40):
        job = search.next_job()
        assert job is not None
        batches.append(job.params["batch_size"])
        if job.params["batch_size"] == 128:
            search.report(job, NO_ROOM)
        else:
            for epoch in (1, 2, 3):
                search.report(job, EpochReport(epoch, {"auc": 0.5}, 0.1))
    assert batches[20:].count(128) <= 3  # at random a third


def test_what_is_larger_than_asked_for_is_told_to_the_sampler_and_never_trained(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    model = load_model("cnn")
    most = weights_of(model, model.default)
    search = searching(storage, presence, tmp_path, wanted=4, too_large=above(model, most))
    for width in (48, 16, 48, 16):
        search.study.enqueue_trial({**model.default, "width": width})
    told: list[tuple[int, str | None, str]] = []
    trained = list(iter(lambda: search.next_job(lambda *of: told.append((of[0].number, of[1].failure, of[2]))), None))
    assert [job.number for job in trained if job is not None] == [1, 3]
    reason = f"more than the {most:,} weights of --max-parameters: not trained"
    assert told == [(0, reason, "PRUNED"), (2, reason, "PRUNED")]
    assert [trial.state.name for trial in search.study.trials] == ["PRUNED", "RUNNING"] * 2
    assert [trial.constraints.get(DOES_NOT_FIT) for trial in search.study.trials] == [1.0, None] * 2


@pytest.mark.parametrize("name", model_names())
def test_weights_are_counted_as_they_are_without_memory_for_them(name: str) -> None:
    model = load_model(name)
    built = count_parameters(model.build(model.configuration(model.default), None))
    assert weights_of(model, model.default) == built
    assert above(model, built)(model.default) is None
    assert above(model, None)(model.default) is None
    assert "not trained" in str(above(model, built - 1)(model.default))


def test_a_study_of_which_nothing_fits_ends_like_one_that_fails(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    searches = Searches(
        [searching(storage, presence, tmp_path, wanted=20)], until=None, watcher=Silent(), check=lambda: None
    )
    jobs = [job for _ in range(IN_A_ROW) if (job := searches.next_job()) is not None]
    for job in jobs[:-1]:
        searches.report(job, NO_ROOM)
    with pytest.raises(SearchFailed, match=rf"all {IN_A_ROW} trials failed: {IN_A_ROW} x OutOfMemoryError: no"):
        searches.report(jobs[-1], NO_ROOM)


def test_a_limit_that_no_network_keeps_is_named_as_what_to_mend(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    searches = Searches(
        [searching(storage, presence, tmp_path, wanted=20)], until=None, watcher=Silent(), check=lambda: None
    )
    jobs = [job for _ in range(IN_A_ROW) if (job := searches.next_job()) is not None]
    for job in jobs[:-1]:
        searches.report(job, SLOW)
    with pytest.raises(SearchFailed, match=r"mend this \(a larger --max-ms-per-patch, a space of smaller networks\)"):
        searches.report(jobs[-1], SLOW)


def test_what_does_not_fit_among_others_ends_nothing(storage: RDBStorage, presence: Presence, tmp_path: Path) -> None:
    searches = Searches(
        [searching(storage, presence, tmp_path, wanted=40)], until=None, watcher=Silent(), check=lambda: None
    )
    for number in range(3 * IN_A_ROW):
        job = searches.next_job()
        assert job is not None
        ends = [EpochReport(epoch, {"auc": 0.5}, 0.1) for epoch in (1, 2, 3)] if number == 0 else [NO_ROOM]
        for report in ends:
            searches.report(job, report)
    states = [trial.state for trial in optuna.load_study(study_name="idc-cnn", storage=storage).trials]
    assert len(states) == 3 * IN_A_ROW


def test_what_is_slower_than_asked_for_is_measured_by_its_worker_and_never_trained(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path, wanted=4)
    context = context_of(tmp_path / "data")
    living = Worker(replace(context, most_milliseconds=1e-7))
    for number in range(2):
        job = search.next_job()
        assert job is not None
        told = living.begin(job)
        assert (told.epoch, told.no_room) == (0, True)
        assert search.report(job, told) == "PRUNED"
        trial = search.study.trials[number]
        assert re.fullmatch(
            r"[\d.e-]+ ms a patch on 1 CPU thread, more than the 1e-07 of --max-ms-per-patch: not trained",
            trial.user_attrs[CUT_SHORT],
        )
        assert (trial.value, trial.constraints[DOES_NOT_FIT]) == (None, 1.0)
        assert not living._fitness.failed
    assert "epochs" in trial.user_attrs
    free, limited = Worker(context), Worker(replace(context, most_milliseconds=1e6))
    (plain, timed) = (worker.begin(job_for(tmp_path / name)) for name, worker in (("a", free), ("b", limited)))
    assert plain.scores == timed.scores, "to be timed changes nothing"
    assert plain.train_loss == timed.train_loss


@pytest.fixture
def twenty(storage: RDBStorage, presence: Presence, tmp_path: Path) -> Searches:
    return searches_of(searching(storage, presence, tmp_path, wanted=20))


def searches_of(search: StudySearch) -> Searches:
    return Searches([search], until=None, watcher=Silent(), check=lambda: None)


def asked(searches: Searches, count: int) -> list[Job]:
    return [job for _ in range(count) if (job := searches.next_job()) is not None]


def test_what_does_not_fit_beside_a_trial_that_runs_ends_nothing(twenty: Searches) -> None:
    """The default trains for minutes, while the others are left out in no time."""
    (default,) = asked(twenty, 1)
    for job in asked(twenty, IN_A_ROW):
        assert twenty.report(job, SLOW)  # beside one that has no value yet
    twenty.report(default, EpochReport(1, {"auc": 0.9}, 0.1))
    for job in asked(twenty, IN_A_ROW):
        assert twenty.report(job, NO_ROOM)


def test_once_the_last_that_ran_does_not_fit_either_the_search_ends(twenty: Searches) -> None:
    (default,) = asked(twenty, 1)
    for job in asked(twenty, IN_A_ROW + 1):
        twenty.report(job, SLOW)
    with pytest.raises(SearchFailed, match=rf"all {IN_A_ROW + 2} trials failed.*\(a larger --max-ms-per-patch,"):
        twenty.report(default, NO_ROOM)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_where_nothing_fits_newer_trials_on_other_workers_keep_the_search_from_no_end(
    twenty: Searches, workers: int
) -> None:
    running = asked(twenty, workers)
    for _ in range(IN_A_ROW - 1):
        assert twenty.report(running.pop(0), NO_ROOM)
        running += asked(twenty, 1)
    with pytest.raises(SearchFailed, match=f"all {IN_A_ROW} trials failed"):
        twenty.report(running.pop(0), NO_ROOM)


def test_one_that_does_not_fit_after_long_ends_nothing_beside_the_next_oldest(twenty: Searches) -> None:
    """Which of two old trials ends first says nothing of the other."""
    slow, default, *others = asked(twenty, 2 + IN_A_ROW)
    for job in [*others, slow]:
        assert twenty.report(job, NO_ROOM)
    assert not twenty.report(default, EpochReport(1, {"auc": 0.9}, 0.1))


def test_a_default_that_is_given_back_is_waited_for_like_one_that_runs(twenty: Searches) -> None:
    default, *others = asked(twenty, 2 + IN_A_ROW)
    twenty.give_back(default, "its worker died")
    for job in others:
        assert twenty.report(job, NO_ROOM)
    (again,) = asked(twenty, 1)
    assert again.number == default.number
    with pytest.raises(SearchFailed, match=f"all {IN_A_ROW + 2} trials failed"):
        twenty.report(again, NO_ROOM)


def test_what_waits_for_its_first_turn_is_not_waited_for(twenty: Searches, storage: RDBStorage) -> None:
    jobs = asked(twenty, IN_A_ROW)
    optuna.load_study(study_name="idc-cnn", storage=storage).enqueue_trial({})
    for job in jobs[:-1]:
        twenty.report(job, NO_ROOM)
    with pytest.raises(SearchFailed, match=f"all {IN_A_ROW} trials failed"):
        twenty.report(jobs[-1], NO_ROOM)


def test_a_trial_of_another_launch_is_waited_for_and_who_begins_anew_has_as_many_tries(
    storage: RDBStorage, tmp_path: Path
) -> None:
    other, ours, later = (
        searches_of(searching(storage, Presence(Ledger(storage.engine), "idc"), tmp_path, wanted=30)) for _ in range(3)
    )
    (default,) = asked(other, 1)
    for job in asked(ours, IN_A_ROW + 1):
        assert ours.report(job, NO_ROOM)
    assert other.report(default, NO_ROOM)  # that launch has had one try
    (last,) = asked(ours, 1)
    with pytest.raises(SearchFailed, match=f"all {IN_A_ROW + 3} trials failed"):
        ours.report(last, NO_ROOM)
    mended, *others = asked(later, 1 + IN_A_ROW)
    for job in others:
        assert later.report(job, NO_ROOM)
    assert not later.report(mended, EpochReport(1, {"auc": 0.9}, 0.1))


def test_sizes_that_are_refused_end_nothing_as_they_cost_nothing(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    """Few configurations may keep a limit, and the sampler has to find them."""
    reasons = iter([*[LARGE] * (IN_A_ROW - 1), None, *[LARGE] * 15])
    twenty = searches_of(searching(storage, presence, tmp_path, wanted=20, too_large=lambda _: next(reasons)))
    (kept,) = asked(twenty, 1)
    assert kept.number == IN_A_ROW - 1
    assert twenty.report(kept, NO_ROOM), "the first that was tried"
    assert twenty.next_job() is None


def test_what_is_enqueued_outside_of_the_space_says_nothing_of_the_study(twenty: Searches, storage: RDBStorage) -> None:
    study = optuna.load_study(study_name="idc-cnn", storage=storage)
    for _ in range(IN_A_ROW - 1):
        study.enqueue_trial({"width": -1})
    (job,) = asked(twenty, 1)
    assert job.number == IN_A_ROW - 1
    assert twenty.report(job, NO_ROOM)


@pytest.mark.parametrize("ended", [NO_ROOM, EpochReport(0, {}, float("nan"), failure="ValueError: no")])
def test_a_trial_that_was_told_by_hand_says_nothing_of_the_model(
    twenty: Searches, storage: RDBStorage, ended: EpochReport
) -> None:
    """It passed for one that went well, and kept a search alive of which nothing could be trained."""
    study = optuna.load_study(study_name="idc-cnn", storage=storage)
    study.tell(study.ask(), 0.99)
    *others, last = asked(twenty, IN_A_ROW)
    for job in others:
        twenty.report(job, ended)
    with pytest.raises(SearchFailed, match=f"all {IN_A_ROW} trials failed"):
        twenty.report(last, ended)


def test_a_failure_among_what_is_too_large_ends_nothing_beside_a_trial_that_goes_well(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    reasons = iter([None, *[LARGE] * (IN_A_ROW - 1), *[None] * IN_A_ROW])
    twenty = searches_of(searching(storage, presence, tmp_path, wanted=20, too_large=lambda _: next(reasons)))
    default, *others = asked(twenty, 1 + IN_A_ROW)
    twenty.report(default, EpochReport(1, {"auc": 0.9}, 0.1))
    for job in others:
        assert twenty.report(job, EpochReport(0, {}, float("nan"), failure="TrainingDivergedError: nan"))


def test_where_most_were_left_out_by_a_limit_nobody_is_sent_to_look_for_a_broken_disk(twenty: Searches) -> None:
    failing, *slow, last = asked(twenty, IN_A_ROW)
    twenty.report(failing, EpochReport(0, {}, float("nan"), failure="ValueError: no"))
    for job in slow:
        twenty.report(job, SLOW)
    with pytest.raises(SearchFailed, match=r"1 x ValueError: no.*\(a larger --max-ms-per-patch, a space"):
        twenty.report(last, SLOW)


def test_five_that_fail_end_the_search_although_one_did_not_fit_and_one_still_runs(twenty: Searches) -> None:
    _, left_out, *failing, last = asked(twenty, 2 + IN_A_ROW)
    twenty.report(left_out, NO_ROOM)
    broken = EpochReport(0, {}, float("nan"), failure="ValueError: no")
    for job in failing:
        twenty.report(job, broken)
    with pytest.raises(SearchFailed, match=rf"all {IN_A_ROW} trials failed: {IN_A_ROW} x ValueError: no.*a full disk"):
        twenty.report(last, broken)
