"""Several searches that share the workers, without Ray."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from searches import searching

from search.training.jobs import EpochReport, Job
from search.trials.launches import Presence
from search.trials.side_by_side import Searches, order_of
from search.trials.study_search import Outlook
from studies.ledger.ledger import Ledger


class Silent:
    def begun(self, job: Job) -> None:
        pass

    def epoch(self, job: Job, report: EpochReport | None, state: str) -> None:
        pass


@pytest.fixture
def both(storage: RDBStorage, tmp_path: Path) -> Searches:
    """Two studies, of two trials and of one, as on a GPU whose memory is to be measured first."""
    presence = Presence(Ledger(storage.engine), "idc")
    cnn = searching(storage, presence, tmp_path, wanted=2, epochs=1)
    vgg16 = searching(storage, presence, tmp_path, model="vgg16", wanted=1, epochs=1)
    searches = Searches([cnn, vgg16], until=None, watcher=Silent(), check=lambda: None)
    searches.only_measures = True
    return searches


def test_a_study_whose_trials_all_failed_unmeasured_keeps_the_other_one_from_nothing(both: Searches) -> None:
    """On a GPU that several trials are to share, each study is measured first, by one trial."""
    first = {job.model: job for job in (both.next_job(), both.next_job()) if job is not None}
    assert set(first) == {"cnn", "vgg16"}
    assert both.peak_memory() is None
    both.report(first["cnn"], EpochReport(1, {"auc": 0.5}, 0.1, {"peak_memory": 100}, None))
    assert both.next_job() is None  # vgg16 is not measured yet
    both.report(first["vgg16"], EpochReport(0, {}, float("nan"), {}, "out of memory"))
    assert both.peak_memory() == 100
    both.only_measures = False
    last = both.next_job()
    assert last is not None
    assert last.model == "cnn"


def test_the_study_that_is_furthest_behind_is_next(both: Searches, storage: RDBStorage) -> None:
    both.only_measures = False
    assert [job.model for job in iter(both.next_job, None) if job is not None] == ["cnn", "vgg16", "cnn"]
    assert not both.anything_to_do()
    assert both.unfinished()
    both.release()
    waiting = optuna.load_study(study_name="idc-cnn", storage=storage).trials
    assert [trial.state.name for trial in waiting] == ["WAITING", "WAITING"]


@pytest.mark.parametrize(
    ("outlooks", "workers", "first"),
    [
        pytest.param([(0.5, 4, 10.0), (0.4, 4, 10.0)], 2, 1, id="the one that is behind, while much is left"),
        pytest.param([(0.5, 4, 1.0), (0.6, 4, 10.0)], 2, 1, id="long trials, as the others fill 4 s of their 10"),
        pytest.param([(0.5, 4, 10.0), (0.4, 4, 1.0)], 2, 0, id="wherever it stands"),
        pytest.param([(0.5, 20, 1.0), (0.6, 4, 10.0)], 2, 0, id="not yet: 20 s fill more than the 10"),
        pytest.param([(0.5, 20, 1.0), (0.6, 4, 10.0)], 4, 1, id="on four workers 30 are to be filled"),
        pytest.param([(0.5, 4, 1.0), (0.6, 4, 10.0)], 1, 0, id="one worker is never left alone"),
        pytest.param([(0.0, 8, None), (0.5, 4, 10.0)], 2, 0, id="where a pace is unknown, the one that is behind"),
        pytest.param([(1.0, 0, 99.0), (0.6, 4, 10.0), (0.5, 9, 1.0)], 2, 1, id="a study that has its trials is none"),
    ],
)
def test_long_trials_go_first_as_soon_as_the_others_just_fill_the_time(
    outlooks: list[tuple[float, int, float | None]], workers: int, first: int
) -> None:
    order = order_of([Outlook(*one) for one in outlooks], workers)
    assert sorted(order) == list(range(len(outlooks)))
    assert next(place for place in order if outlooks[place][1]) == first


def makespan(seconds: dict[str, float], trials: int, workers: int, plan: int) -> float:
    """When the last worker is done, where ``order_of`` is told of ``plan`` workers."""
    left, free, told = dict.fromkeys(seconds, trials), [0.0] * workers, dict.fromkeys(seconds)
    while any(left.values()):
        names = list(seconds)
        outlooks = [Outlook(1 - left[name] / trials, left[name], told[name]) for name in names]
        name = next(names[place] for place in order_of(outlooks, plan) if left[names[place]])
        left[name] -= 1
        told[name] = seconds[name]
        free[free.index(min(free))] += seconds[name]
    return max(free)


@pytest.mark.parametrize(
    ("seconds", "trials", "workers"),
    [({"cnn": 3.0, "vgg16": 10.0}, 7, 2), ({"cnn": 1.0, "vgg16": 9.0}, 12, 8), ({"a": 1.0, "b": 2.0, "c": 7.0}, 5, 2)],
)
def test_a_search_of_long_and_short_trials_ends_earlier_and_hardly_later_than_the_best(
    seconds: dict[str, float], trials: int, workers: int
) -> None:
    before, after = (makespan(seconds, trials, workers, plan) for plan in (1, workers))
    assert after < before
    rounds = math.ceil(trials / workers) * max(seconds.values())
    at_best = max(trials * sum(seconds.values()) / workers, rounds)
    print(f"{before:g} s by progress alone, {after:g} s now, {at_best:g} s at best")
    assert after <= 1.05 * at_best
