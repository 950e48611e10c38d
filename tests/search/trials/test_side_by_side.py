"""Several searches that share the workers, without Ray."""

from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from searches import searching

from search.training.jobs import EpochReport, Job
from search.trials.launches import Presence
from search.trials.side_by_side import Searches
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
    searches = Searches([cnn, vgg16], timeout=None, watcher=Silent(), check=lambda: None)
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
