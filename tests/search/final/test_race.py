"""Finalists that race: who is dropped, whatever the order in which members come in, and what is then on record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.final.candidates import Candidate
from search.final.member_files import Floats, member_folder
from search.final.race import Race, Rows, behind
from search.final.retraining import Members, conclude
from search.training.jobs import EpochReport, Job
from studies.final_models import MemberResult
from studies.records import to_json

LABELS = np.tile([0, 1, 1, 0, 0], 60)
PATIENTS = np.repeat(np.arange(60), 5).astype(str)
ROWS = Rows(LABELS, PATIENTS, np.repeat(np.arange(60) % 5, 5))
LABEL_OF = ("best", "finalist-2", "finalist-3", "default")


def candidate(label: str) -> Candidate:
    return Candidate("cnn", label, LABEL_OF.index(label), {"width": 3}, 0.9, 4, 2, label.ljust(12, "0"), 1.0)


WANTED = [candidate(label) for label in LABEL_OF]


@pytest.fixture(scope="module")
def scores() -> dict[str, Floats]:
    """The third finalist is worse from the first fold on, and no worse than the default one; the second is as good."""
    rng = np.random.default_rng(0)
    shared = 1.5 * (2 * LABELS - 1) + rng.normal(0, 1, len(LABELS))
    noise = {"best": 0.2, "finalist-2": 0.2, "finalist-3": 4.0, "default": 6.0}
    return {label: shared + rng.normal(0, level, len(LABELS)) for label, level in noise.items()}


def leave(folder: Path, label: str, fold: int, logits: Floats) -> None:
    """A member as it is left on disk."""
    place = member_folder(folder, candidate(label))
    place.mkdir(parents=True, exist_ok=True)
    rows = np.flatnonzero(ROWS.fold == fold)
    np.savez(place / f"member_{fold}.npz", rows=rows, logits=np.repeat(logits[rows, None], 8, axis=1))
    (place / f"member_{fold}.safetensors").write_bytes(label.encode())
    (place / f"member_{fold}.json").write_text(to_json(MemberResult(fold, fold, 2, 1.0, 0.9, f"{fold}" * 64)))


def test_one_that_is_clearly_worse_than_the_leader_is_dropped_and_the_default_one_never(
    scores: dict[str, Floats],
) -> None:
    first = ROWS.fold < 2
    found = behind(LABELS[first], PATIENTS[first], {label: each[first] for label, each in scores.items()}, 2)
    assert list(found) == ["finalist-3"]
    dropped = found["finalist-3"]
    assert (dropped.folds, dropped.behind > 2 * dropped.standard_error > 0) == (2, True)
    assert dropped.leader in ("best", "finalist-2")
    unknown = np.full(int(first.sum()), "")
    alone = behind(LABELS[first], unknown, {label: each[first] for label, each in scores.items()}, 2)
    assert list(alone) == ["finalist-3"], "patches stand for patients where these are unknown"


def test_few_patients_drop_nobody(scores: dict[str, Floats]) -> None:
    first = np.isin(PATIENTS, PATIENTS[:20])  # four patients
    assert behind(LABELS[first], PATIENTS[first], {label: each[first] for label, each in scores.items()}, 2) == {}


@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_which_members_come_in_changes_nothing(
    scores: dict[str, Floats], tmp_path: Path, seed: int
) -> None:
    race = Race(WANTED, tmp_path, ROWS)
    turns = [(label, fold) for label in LABEL_OF for fold in range(5)]
    first_two = {(label, fold) for label in LABEL_OF for fold in (0, 1)}
    for turn in np.random.default_rng(seed).permutation(len(turns)):
        label, fold = turns[turn]
        leave(tmp_path, label, fold, scores[label])
        first_two.discard((label, fold))
        race.advance()
        assert bool(race.dropped) == (not first_two), "as soon as, and not before, all have two folds"
    assert list(race.dropped) == ["finalist-3"]
    taken_up = Race(WANTED, tmp_path, ROWS)
    assert [one.label for one in taken_up.advance()] == ["finalist-3"]
    assert taken_up.dropped == race.dropped
    assert taken_up.advance() == []


class Driver:
    """Trains members as workers would, by leaving their files."""

    def __init__(self, folder: Path, scores: dict[str, Floats]) -> None:
        self.told: list[str] = []
        self.order: list[tuple[str, int | None]] = []
        self._folder, self._scores = folder, scores
        self.races = [Race(WANTED, folder, ROWS)]
        self.members = Members(
            WANTED,
            folds=5,
            folder=folder,
            lock_digest="a" * 64,
            check=lambda: None,
            races=self.races,
            told=self.told.append,
        )

    def next(self) -> Job | None:
        return self.members.next_job()

    def train(self, job: Job, epoch: int = 2) -> bool:
        """Whether the job ends with this epoch."""
        label = job.label.split()[1].rstrip(",")
        assert job.fold is not None
        if epoch == 2:
            leave(self._folder, label, job.fold, self._scores[label])
            self.order.append((label, job.fold))
        return self.members.report(job, EpochReport(epoch, {"auc": 0.9}, 0.5, {"seconds": 1.0}))


def test_members_of_one_that_is_dropped_are_not_trained_and_those_that_run_end(
    scores: dict[str, Floats], tmp_path: Path
) -> None:
    driver = Driver(tmp_path, scores)
    assert driver.members.all == 20
    for _ in range(7):
        job = driver.next()
        assert job is not None
        assert driver.train(job)
    last_of_two, default, *ahead = [driver.next() for _ in range(5)]  # five workers
    running = next(job for job in ahead if job is not None and "finalist-3" in job.label)
    assert last_of_two is not None
    assert default is not None
    assert default.label == "cnn default, fold 3 of 5", "of whatever is decided, this is needed"
    assert not driver.train(running, epoch=1)
    assert driver.told == []
    driver.train(last_of_two)
    assert len(driver.told) == 1
    assert driver.told[0].startswith("cnn finalist-3 (trial 2) is dropped after 2 folds: its AUC is 0.")
    assert driver.members.all == 18, "two of its members wait no longer, and one still runs"
    assert driver.train(running, epoch=1), "it ends at once"
    for job in [default, *ahead]:
        if job is not None and job is not running:
            driver.train(job)
    while (job := driver.next()) is not None:
        driver.train(job)
    assert driver.members.done == driver.members.all == 17
    assert ("finalist-3", 2) not in driver.order


def test_a_worker_that_dies_with_a_dropped_one_ends_nothing(scores: dict[str, Floats], tmp_path: Path) -> None:
    driver = Driver(tmp_path, scores)
    jobs = [driver.next() for _ in range(12)]
    ahead = [job for job in jobs if job is not None and job.fold == 2 and "finalist-3" in job.label]
    for job in jobs:
        if job is not None and job.fold in (0, 1):
            driver.train(job)
    (running,) = ahead
    driver.members.give_back(running, "its worker died")
    assert driver.members.all == 8 + 9, "it is not handed out again"
    lost = next(job for job in jobs if job is not None and job.fold == 2 and "best" in job.label)
    driver.members.give_back(lost, "its worker died")
    assert driver.members.all == 8 + 9


def test_what_was_dropped_stays_on_record_and_is_never_chosen(scores: dict[str, Floats], tmp_path: Path) -> None:
    for label in LABEL_OF:
        for fold in range(5):
            leave(tmp_path, label, fold, scores[label])
    found = conclude(WANTED, tmp_path, rows=ROWS, race=Race(WANTED, tmp_path, ROWS), weights="random")
    third = found.final.candidate("finalist-3")
    assert third.dropped is not None
    assert [member.fold for member in third.members] == [0, 1], "what was trained ahead is in no number"
    assert set(found.logits) == {"best", "finalist-2", "default"}
    assert found.final.chosen in ("best", "finalist-2")
    gain = found.final.gain
    assert gain is not None
    assert gain.patients == 60
    assert set(gain.chosen) <= {"best", "finalist-2"}
    assert gain.low is not None
    assert 0 < gain.low < gain.value
    again = conclude(WANTED, tmp_path, rows=ROWS, race=Race(WANTED[::-1], tmp_path, ROWS), weights="random")
    assert to_json(again.final) == to_json(found.final)
    alone = conclude(WANTED[:1], tmp_path, rows=ROWS, race=None, weights="random")
    assert alone.final.gain is None, "there is no default configuration to compare with"
    assert replace(alone.final, gain=None) == alone.final
