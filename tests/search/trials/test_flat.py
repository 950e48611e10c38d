"""When a search has nothing left to gain: by hand, by simulation, and as a launch stops and goes on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inside import context_of, job_for
from optuna.storages import RDBStorage
from searches import searching
from sklearn.metrics import roc_auc_score

from search.training.jobs import EpochReport
from search.trials.closing import _closing
from search.trials.flat import FEWEST, flat, still_to_gain
from search.trials.launches import Presence
from search.trials.study_search import StudySearch
from search.workers.worker import Worker
from studies.ledger.ledger import Ledger
from studies.records import VALUE_ERROR
from studies.statistics.objectives import objective_error


@pytest.fixture
def presence(storage: RDBStorage) -> Presence:
    return Presence(Ledger(storage.engine), "idc")


def run(search: StudySearch, values: Sequence[float], error: float | None) -> int:
    """Trains one trial for each value, as long as any is handed out; how many were."""
    for number, value in enumerate(values):
        job = search.next_job()
        if job is None:
            return number
        for epoch in (1, 2, 3):
            attributes = {} if error is None or epoch < 3 else {VALUE_ERROR: error}
            search.report(job, EpochReport(epoch, {"auc": value}, 0.1, attributes))
    return len(values)


VALUES = [0.90, 0.94, *np.random.default_rng(0).normal(0.93, 0.002, 58).tolist()]


def test_a_search_ends_with_its_reason_and_goes_on_without_the_flag(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path, wanted=60, flat=flat)
    done = run(search, VALUES, 0.01)
    assert FEWEST <= done < 30
    assert search.counts().finished == search.counts().wanted == search.wanted == done
    assert not search.anything_to_do()
    assert search.stopped.startswith(f"flat after {done} complete trials: {60 - done} more like the last 20 would gain")
    assert "(95% sure), less than the standard error of that over the validation patients, 0.0100" in search.stopped
    assert search.stopped in _closing(search)
    assert search.study.user_attrs["settings"]["stopped"] == search.stopped
    again = searching(storage, presence, tmp_path, wanted=60, flat=flat)
    assert again.next_job() is None, "the same command ends for the same reason"
    assert again.stopped == search.stopped
    without = searching(storage, presence, tmp_path, wanted=60)
    assert run(without, VALUES[done : done + 3], None) == 3
    assert without.counts().finished == done + 3
    assert without.stopped == ""


def test_it_goes_on_while_patients_can_tell_what_is_left_to_gain_or_nothing_tells_how_sure_values_are(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    spread = np.random.default_rng(0).normal(0.9, 0.02, 24).tolist()
    assert run(searching(storage, presence, tmp_path, wanted=200, flat=flat), spread, 1e-4) == 24
    unsure = searching(storage, presence, tmp_path, wanted=24, flat=flat, name="other")
    assert run(unsure, [0.94, *[0.9] * 23], None) == 24


def test_what_is_left_to_gain_is_what_the_best_of_so_many_trials_reaches_in_19_of_20_searches() -> None:
    rng = np.random.default_rng(1)
    last = rng.normal(0.93, 0.01, 20)
    mean, spread = float(np.mean(last)), float(np.std(last, ddof=1))
    highest = rng.normal(mean, spread, (4000, 12)).max(axis=1)
    best = float(last.max())
    assert np.mean(highest - best <= still_to_gain(last.tolist(), best, 12)) == pytest.approx(0.95, abs=0.015)
    assert still_to_gain([0.9] * 20, 0.95, 100) == 0.0
    assert still_to_gain(last.tolist(), best, 100) > still_to_gain(last.tolist(), best, 10)


def test_a_worker_tells_how_sure_the_last_value_is_and_trains_as_it_would(tmp_path: Path) -> None:
    context = context_of(tmp_path / "data")
    telling, silent = Worker(replace(context, errors=True)), Worker(context)
    telling._patients = np.array([f"p{k % 9}" for k in range(len(telling._labels))])
    reports = [
        (worker.begin(job_for(tmp_path / str(k))), worker.advance()) for k, worker in enumerate((telling, silent))
    ]
    (first, last), (_, other) = reports
    assert VALUE_ERROR not in first.attributes
    assert VALUE_ERROR not in other.attributes
    assert 0 < last.attributes[VALUE_ERROR] < 0.5
    assert (last.scores, last.train_loss) == (other.scores, other.train_loss)


def test_validation_patients_that_are_too_few_to_tell_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Worker(replace(context_of(tmp_path / "data"), errors=True))
    monkeypatch.setattr(telling, "_patients", np.array(["one"] * len(telling._labels)))
    telling.begin(job_for(tmp_path))
    last = telling.advance()
    assert last.attributes[VALUE_ERROR] is None
    assert last.warnings == (
        "--stop-when-flat: nothing tells how sure a value is, by so few validation patients: it goes on",
    )


def test_the_error_is_that_of_other_patients() -> None:
    rng = np.random.default_rng(2)
    found, seen = [], []
    for _ in range(60):
        place = np.repeat(np.arange(40), 12)
        labels = rng.integers(0, 2, len(place))
        logits = 1.5 * labels + rng.normal(0, 0.8, 40)[place] + rng.normal(0, 1, len(place))
        seen.append(roc_auc_score(labels, logits))
        found.append(objective_error("auc", labels, logits, place.astype(str)))
    assert np.mean(found) == pytest.approx(np.std(seen), rel=0.25)
    assert objective_error("auc", labels[:24], logits[:24], place[:24].astype(str)) is None  # two patients
