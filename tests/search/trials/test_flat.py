"""When a search has nothing left to gain: by hand, by simulation, and as a launch stops and goes on."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from inside import context_of, job_for
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, create_trial
from searches import searching
from sklearn.metrics import roc_auc_score

from data_utils.split.lock import SplitLock
from search.training.jobs import EpochReport
from search.trials.closing import _closing
from search.trials.flat import ALIKE, FEWEST, TELLING, flat, still_to_gain, told_apart, unit_of, untold
from search.trials.launches import Presence
from search.trials.study_search import StudySearch
from search.workers.worker import Worker
from studies.ledger.ledger import Ledger
from studies.records import BEST_EPOCH, BY_PATIENT
from studies.statistics.comparison import paired_difference
from studies.statistics.metrics import ranking
from studies.statistics.objectives import MOST, moved_by
from studies.statistics.resampling import resample


@pytest.fixture
def presence(storage: RDBStorage) -> Presence:
    return Presence(Ledger(storage.engine), "idc")


PATIENTS = 35
STUDY = "idc-cnn"
BY_PATIENTS = partial(flat, STUDY, "patients")


def run(search: StudySearch, values: Sequence[float], error: float | None, shared: float = 0.02) -> int:
    """Trains one trial for each value, as long as any is handed out; how many were.

    Args:
        search: of the study.
        values: in the end.
        error: standard error over patients of the difference of two of them; None where trials do not tell it.
        shared: that of each by itself, by what is hard for all.
    """
    rng = np.random.default_rng(3)
    hard = rng.normal(0, shared / np.sqrt(PATIENTS), PATIENTS)
    for number, value in enumerate(values):
        job = search.next_job()
        if job is None:
            return number
        for epoch in (1, 2, 3):
            own = rng.normal(0, (error or 0.0) / np.sqrt(2 * PATIENTS), PATIENTS)
            attributes = {} if error is None or epoch < 3 else {BY_PATIENT: (hard + own).round(6).tolist()}
            search.report(job, EpochReport(epoch, {"auc": value}, 0.1, attributes))
    return len(values)


VALUES = [0.90, 0.94, *np.random.default_rng(0).normal(0.93, 0.002, 58).tolist()]


def test_a_search_ends_with_its_reason_and_goes_on_without_the_flag(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path, wanted=60, flat=BY_PATIENTS)
    done = run(search, VALUES, 0.01)
    assert FEWEST <= done < 30
    assert search.counts().finished == search.counts().wanted == search.wanted == done
    assert not search.anything_to_do()
    assert search.stopped.startswith(f"flat after {done} complete trials: {60 - done} more like the last 20 would gain")
    assert "(95% sure), less than the standard error of the difference of two such trials over" in search.stopped
    assert told_apart(search.study.trials) == pytest.approx(0.01, rel=0.1)
    assert search.stopped in _closing(search)
    assert search.study.user_attrs["settings"]["stopped"] == search.stopped
    again = searching(storage, presence, tmp_path, wanted=60, flat=BY_PATIENTS)
    assert again.next_job() is None, "the same command ends for the same reason"
    assert again.stopped == search.stopped
    without = searching(storage, presence, tmp_path, wanted=60)
    assert run(without, VALUES[done : done + 3], None) == 3
    assert without.counts().finished == done + 3
    assert without.stopped == ""


def test_once_it_has_ended_what_is_in_hand_is_trained_and_its_reason_stays(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    """A trial whose worker died waited for good, as one more was judged to gain nothing; and that became the reason."""
    search = searching(storage, presence, tmp_path, wanted=60, flat=BY_PATIENTS)
    first = search.next_job()
    assert first is not None
    run(search, VALUES, 0.01)
    reason = search.stopped
    assert reason
    search.release()
    again = search.next_job()
    assert again is not None
    assert again.number == first.number
    assert search.next_job() is None
    assert search.stopped == search.study.user_attrs["settings"]["stopped"] == reason


def test_it_goes_on_while_patients_can_tell_what_is_left_to_gain_or_nothing_tells_how_sure_values_are(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    spread = np.random.default_rng(0).normal(0.9, 0.02, 24).tolist()
    assert run(searching(storage, presence, tmp_path, wanted=200, flat=BY_PATIENTS), spread, 1e-4) == 24
    unsure = searching(
        storage, presence, tmp_path, wanted=24, flat=partial(flat, "other-cnn", "patients"), name="other"
    )
    assert run(unsure, [0.94, *[0.9] * 23], None) == 24


def test_it_is_the_difference_of_two_trials_that_patients_tell_and_not_the_value_of_one(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    """As in real searches: .005 to gain, of which 35 patients tell .004 apart, each value being sure to .018."""
    spread = np.random.default_rng(0).normal(0.93, 0.005, 30).tolist()
    assert run(searching(storage, presence, tmp_path, wanted=100, flat=BY_PATIENTS), spread, 0.003, shared=0.018) == 30


def test_of_a_study_whose_trials_do_not_tell_it_that_is_said(
    storage: RDBStorage, presence: Presence, tmp_path: Path
) -> None:
    search = searching(storage, presence, tmp_path, wanted=60)
    assert untold(STUDY, "patients", search.study.trials) == ""
    run(search, VALUES[:3], None)
    assert untold(STUDY, "patches", search.study.trials) == (
        "study idc-cnn: complete trials of before --stop-when-flat, or of an earlier version (3), do not tell which "
        "differences their patches see: the flag ends nothing before 17 more are complete"
    )
    run(search, VALUES[3:22], None)
    assert untold(STUDY, "patients", search.study.trials) == (
        "study idc-cnn: complete trials of before --stop-when-flat, or of an earlier version (22), do not tell which "
        "differences their patients see: the flag ends nothing before 5 more are complete"
    )
    on = searching(storage, presence, tmp_path, wanted=60, flat=BY_PATIENTS)
    assert run(on, VALUES[22:], 0.01) == TELLING
    assert on.stopped.startswith(f"flat after {22 + TELLING} complete trials: ")
    assert untold(STUDY, "patients", on.study.trials) == ""


def trained(value: float, moved: Sequence[float]) -> FrozenTrial:
    """A complete trial of a launch."""
    return create_trial(value=value, user_attrs={BEST_EPOCH: 3, BY_PATIENT: list(moved)})


def moving(error: float, seed: int = 5) -> Callable[[], list[float]]:
    """How much patients move one trial after the other, the difference of two of them being sure to ``error``."""
    rng = np.random.default_rng(seed)
    return lambda: rng.normal(0, error / np.sqrt(2 * PATIENTS), PATIENTS).round(6).tolist()


def test_a_trial_that_was_told_by_hand_ends_no_search() -> None:
    moved = moving(0.004)
    trials = [trained(value, moved()) for value in np.random.default_rng(0).normal(0.9, 0.01, 25)]
    by_hand = create_trial(value=0.999, user_attrs={BY_PATIENT: moved()})
    assert BY_PATIENTS(trials, 60) is None
    assert BY_PATIENTS([*trials[:-1], by_hand, trials[-1]], 60) is None
    assert BY_PATIENTS([*[by_hand] * 20, *trials[:-6]], 60) is None


@pytest.mark.parametrize("value", [1.0, 0.95])
def test_a_search_whose_trials_are_all_alike_has_nothing_to_gain(value: float) -> None:
    assert BY_PATIENTS([trained(value, [0.0] * PATIENTS)] * 40, 60) == (
        f"flat after 40 complete trials: 60 more like the last 20 would gain no more than 0.0000 over {value:.4f} "
        "(95% sure); without --stop-when-flat it goes on"
    )


def test_nothing_is_to_be_gained_over_a_perfect_score() -> None:
    values = np.clip(np.random.default_rng(0).normal(0.99, 0.006, 40), 0, 1)
    moved = moving(0.004)
    why = BY_PATIENTS([trained(value, moved()) for value in [1.0, *values]], 60)
    assert why is not None
    assert "would gain no more than 0.0000 over 1.0000 (95% sure), less than the standard error" in why
    assert still_to_gain(values.tolist(), 0.998, 10**6) == pytest.approx(0.002)


def test_of_unknown_patients_it_is_patches_that_tell(tmp_path: Path) -> None:
    moved = moving(0.004)
    why = flat(STUDY, "patches", [trained(0.9, moved()) for _ in range(20)], 60)
    assert why is not None
    assert "of the difference of two such trials over the validation patches, 0.0" in why
    lock = SplitLock("s", "f" * 64, (70, 15, 15), 0, "duplicate group", {})
    assert (unit_of(lock), unit_of(replace(lock, by="patient"))) == ("patches", "patients")


def test_near_copies_and_one_unlike_the_others_do_not_decide_what_patients_tell_apart() -> None:
    rng = np.random.default_rng(6)
    ordinary = [rng.normal(0, 0.004 / np.sqrt(2 * PATIENTS), PATIENTS) for _ in range(ALIKE - 3)]
    unlike, worse = (rng.normal(0, 0.2, (count, PATIENTS)) for count in (1, 20))
    best = [*ordinary, ordinary[0], ordinary[0], *unlike]
    trials = [
        create_trial(value=0.95 if n < ALIKE else 0.8, user_attrs={BY_PATIENT: moved.tolist()})
        for n, moved in enumerate([*best, *worse])
    ]
    assert told_apart(trials) == pytest.approx(0.004, rel=0.25)
    assert told_apart(trials[: TELLING - 1]) is None
    of_another_split = create_trial(value=0.99, user_attrs={BY_PATIENT: [0.1]})
    assert told_apart([of_another_split, *trials]) == told_apart(trials)


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
    assert BY_PATIENT not in first.attributes
    assert BY_PATIENT not in other.attributes
    assert len(last.attributes[BY_PATIENT]) == len(set(telling._patients[telling._part == "validation"]))
    assert 0 < np.linalg.norm(last.attributes[BY_PATIENT]) < 0.5
    assert (last.scores, last.train_loss) == (other.scores, other.train_loss)


def test_what_moves_the_last_value_is_told_of_the_same_evaluation_and_its_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, evaluated = Worker(replace(context_of(tmp_path / "data"), errors=True)), []

    def slowly(*_: object) -> list[float]:
        time.sleep(0.5)
        return []

    evaluate = worker._evaluate
    monkeypatch.setattr(worker, "_evaluate", lambda *args, **also: evaluated.append(1) or evaluate(*args, **also))
    monkeypatch.setattr("studies.statistics.objectives.moved_by", slowly)
    first, last = worker.begin(job_for(tmp_path / "job")), worker.advance()
    assert len(evaluated) == 2, "one for each epoch"
    assert last.attributes["cost"]["evaluation"] - first.attributes["cost"]["evaluation"] >= 0.5


def test_validation_patients_that_are_too_few_to_tell_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Worker(replace(context_of(tmp_path / "data"), errors=True))
    monkeypatch.setattr(telling, "_patients", np.array(["one"] * len(telling._labels)))
    telling.begin(job_for(tmp_path))
    last = telling.advance()
    assert last.attributes[BY_PATIENT] is None
    assert last.warnings == (
        "--stop-when-flat: nothing tells which values differ, by so few validation patients: it goes on",
    )


def scored(rng: np.random.Generator, patients: int, each: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients, labels, and logits of two models that find the same patients hard: (N,), (N,), (2, N)."""
    place = np.repeat(np.arange(patients), each)
    labels = rng.integers(0, 2, len(place))
    hard = (1.5 * labels + rng.normal(0, 0.8, patients)[place] + rng.normal(0, 1, len(place)))[None]
    return place.astype(str), labels, hard + 0.4 * rng.normal(0, 1, (2, patients))[:, place]


def test_the_errors_are_those_of_other_patients() -> None:
    rng = np.random.default_rng(2)
    alone, apart, values = [], [], []
    for _ in range(60):
        patients, labels, logits = scored(rng, 40)
        values.append([roc_auc_score(labels, one) for one in logits])
        first, second = (moved_by("auc", labels, one, patients) for one in logits)
        assert first is not None
        assert second is not None
        alone.append(np.linalg.norm(first))
        apart.append(math.dist(first, second))
    assert np.mean(alone) == pytest.approx(np.std(values), rel=0.25)
    assert np.mean(apart) == pytest.approx(np.std(np.diff(values)), rel=0.25)
    assert np.mean(apart) < np.mean(alone)
    assert moved_by("auc", labels[:24], logits[0, :24], patients[:24]) is None  # two patients


def test_the_error_of_a_difference_is_that_of_a_comparison() -> None:
    patients, labels, logits = scored(np.random.default_rng(4), 35)
    moved = [moved_by("auc", labels, one, patients) or [] for one in logits]
    assert max(map(len, map(str, moved[0]))) <= len("-0.001234")
    resampling = resample(patients, labels, draws=0, seed=0)
    first, second = (ranking(labels, one, resampling)["auc"] for one in logits)
    found = paired_difference("difference", first, second, resampling)
    assert math.dist(*moved) == pytest.approx(found.standard_error, abs=1e-5)


def test_many_patients_and_a_perfect_score_are_told_as_well() -> None:
    patients, labels, logits = scored(np.random.default_rng(5), 260, each=4)
    first, second = (moved_by("auc", labels, one, patients) or [] for one in logits)
    assert len(first) == MOST
    resampling = resample(patients, labels, draws=0, seed=0)
    of_each, of_other = (ranking(labels, one, resampling)["auc"] for one in logits)
    found = paired_difference("difference", of_each, of_other, resampling)
    assert math.dist(first, second) == pytest.approx(found.standard_error, rel=0.15)
    assert moved_by("auc", labels[:160], labels[:160].astype(float), patients[:160]) == [0.0] * 40
