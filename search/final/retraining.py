"""Retrains configurations over the folds of the development patients, in the same workers as the search.

A member learns on all folds but one and never looks at its own held-out patients, not even to choose an epoch. Its
configuration was chosen by some of them all the same, on the validation split. A member whose files are whole is never
trained again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.errors import SearchFailed
from search.final.candidates import DEFAULT, Candidate, in_turn
from search.final.member_files import Floats, Ints, member_folder, member_job, out_of_fold, store_member, stored_member
from search.final.race import Race, Rows
from search.training.jobs import EpochReport, Job, forget_checkpoint
from search.trials.side_by_side import Watcher
from studies.final_models import CandidateResult, Dropped, FinalModel, Fit, Gain, MemberResult
from studies.records import HostLent
from studies.statistics.calibration import fit_temperature, sigmoid
from studies.statistics.metrics import auc, balanced_accuracy
from studies.statistics.nested import nested_gain
from studies.statistics.thresholds import choose_threshold


@dataclass(frozen=True, eq=False)
class Retrained:
    """A model's final configuration and the out-of-fold scores behind the choice.

    Attributes:
        logits: label of each candidate that was not dropped -> (N,) out-of-fold mean logit over the 8 views, one for
            each development row.
    """

    final: FinalModel
    logits: dict[str, Floats]


class Members:
    """Hands out the members that are still missing; the ``Work`` of the bridge."""

    def __init__(
        self,
        wanted: Sequence[Candidate],
        *,
        folds: int,
        folder: Path,
        lock_digest: str,
        check: Callable[[], None],
        races: Sequence[Race] = (),
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Looks up which members are there.

        Args:
            wanted: the candidates of all models.
            folds: of the development rows.
            folder: of the comparison.
            lock_digest: of its split.
            check: raises where a signal has come.
            races: of the models whose candidates may be dropped.
            told: is told of each that is.
        """
        self._folder = folder
        self.watcher: Watcher | None = None
        self._check = check
        self._races = races
        self._told = told
        jobs = [
            member_job(candidate, fold, folds=folds, folder=folder, lock_digest=lock_digest)
            for candidate, fold in in_turn(wanted, folds, racing=bool(races))
        ]
        self._waiting = deque(job for job in jobs if not _is_stored(job))
        self._running: dict[str, Job] = {}
        self._dropped: set[Path | None] = set()  # folders of members
        self.done = len(jobs) - len(self._waiting)
        self._advance()

    @property
    def all(self) -> int:
        """Members that there will be, as far as is known by now."""
        return self.done + len(self._waiting) + len(self._running)

    def next_job(self) -> Job | None:
        """The next member."""
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        self._running[job.label] = job
        if self.watcher is not None:
            self.watcher.begun(job)
        return job

    def report(self, job: Job, report: EpochReport) -> bool:
        """Takes an epoch; stores the member's record with its last one, after the worker has stored its files."""
        if job.out in self._dropped:
            self._end(job, report, "DROPPED")
            return True
        if report.failure is not None:
            raise SearchFailed(f"{job.label} could not be retrained: {report.failure}")
        if report.epoch < job.last_epoch:
            if self.watcher is not None:
                self.watcher.epoch(job, report, "RUNNING")
            return False
        store_member(job, report)
        self.done += 1
        self._end(job, report, "COMPLETE")
        self._advance()
        return True

    def _end(self, job: Job, report: EpochReport, state: str) -> None:
        forget_checkpoint(job.checkpoint)
        del self._running[job.label]
        if self.watcher is not None:
            self.watcher.epoch(job, report, state)

    def _advance(self) -> None:
        """Hands out no more members of candidates that what is stored drops; those that run end with their epoch."""
        for race in self._races:
            for candidate in race.advance():
                self._dropped.add(member_folder(self._folder, candidate).resolve())
                self._told(in_words(candidate, race.dropped[candidate.label]))
        for job in self._waiting:
            if job.out in self._dropped:
                forget_checkpoint(job.checkpoint)  # of one that was cut off
        self._waiting = deque(job for job in self._waiting if job.out not in self._dropped)

    def worker_lost(self, job: Job, report: EpochReport) -> None:
        """A final model lacks no member: the retraining ends."""
        if job.out not in self._dropped:
            raise SearchFailed(f"{job.label} could not be retrained: {report.failure}")
        self._end(job, report, "DROPPED")

    def give_back(self, job: Job, why: str) -> None:
        """It is handed out again."""
        del self._running[job.label]
        if job.out not in self._dropped:
            self._waiting.append(job)
        if self.watcher is not None:
            self.watcher.epoch(job, EpochReport(0, {}, float("nan"), failure=why), "WAITING")

    def hosts(self, lent: Sequence[HostLent]) -> None:
        """Nothing: nobody looks at a retraining from elsewhere."""

    def tick(self) -> None:
        """Ends the run on a signal."""
        self._check()


def _is_stored(job: Job) -> bool:
    assert job.out is not None
    assert job.fold is not None
    return stored_member(job.out, job.fold) is not None


def in_words(candidate: Candidate, dropped: Dropped) -> str:
    """That a candidate was dropped, and why."""
    return (
        f"{candidate.model} {candidate.label} (trial {candidate.trial}) is dropped after {dropped.folds} folds: its "
        f"AUC is {dropped.behind:.4f} below that of {dropped.leader}, standard error {dropped.standard_error:.4f}"
    )


def conclude(wanted: Sequence[Candidate], folder: Path, *, rows: Rows, race: Race | None, weights: str) -> Retrained:
    """Fits temperature and threshold to each configuration's scores, and chooses the final one by out-of-fold AUC.

    Args:
        wanted: the candidates of one model, every member of which is stored but those of dropped ones.
        folder: of the comparison.
        rows: the development rows.
        race: of these candidates; None where there was none.
        weights: where the pretrained layers come from, in words.
    """
    dropped = _dropped(race)
    results = [retrained_result(candidate, folder, rows, dropped.get(candidate.label)) for candidate in wanted]
    logits = {
        candidate.label: out_of_fold(member_folder(folder, candidate), rows.fold, rows.folds)
        for candidate in wanted
        if candidate.label not in dropped
    }
    left = [result for result in results if result.label in logits]
    chosen = max(left, key=lambda result: (result.out_of_fold_auc, result.label == DEFAULT))
    assert chosen.fit is not None
    final = FinalModel(
        model=wanted[0].model,
        candidates=tuple(results),
        chosen=chosen.label,
        temperature=chosen.fit.temperature,
        threshold=chosen.fit.threshold,
        threshold_rule=chosen.fit.rule,
        weights=weights,
        gain=_gain(rows, logits),
    )
    return Retrained(final, logits)


def _dropped(race: Race | None) -> dict[str, Dropped]:
    if race is None:
        return {}
    race.advance()
    return race.dropped


def _gain(rows: Rows, logits: dict[str, Floats]) -> Gain | None:
    if DEFAULT not in logits:
        return None
    return nested_gain(rows.labels, rows.patients, rows.fold, logits, DEFAULT)


def retrained_result(candidate: Candidate, folder: Path, rows: Rows, dropped: Dropped | None = None) -> CandidateResult:
    """What its stored members say, by the rows of those folds that it was retrained over."""
    folds = rows.folds if dropped is None else dropped.folds
    place, seen = member_folder(folder, candidate), rows.fold < folds
    labels, logits = rows.labels[seen], out_of_fold(place, rows.fold, folds)[seen]
    fit = fitted(logits, labels, rows.patients[seen])
    return CandidateResult(
        label=candidate.label,
        trial=candidate.trial,
        params=candidate.params,
        search_value=candidate.search_value,
        epochs=candidate.last_epoch,
        members=tuple(_record(place, fold) for fold in range(folds)),
        out_of_fold_auc=auc(labels, logits),
        out_of_fold_balanced_accuracy=balanced_accuracy(labels, sigmoid(logits, fit.temperature), fit.threshold),
        fit=fit,
        dropped=dropped,
    )


def _record(place: Path, fold: int) -> MemberResult:
    found = stored_member(place, fold)
    assert found is not None, "all members are trained"
    return found


def fitted(logits: Floats, labels: Ints, patients: npt.NDArray[np.str_]) -> Fit:
    """Temperature and threshold for out-of-fold scores, (N,) each."""
    temperature = fit_temperature(logits, labels)
    found = choose_threshold(sigmoid(logits, temperature), labels, patients)
    assert found.chosen.value is not None
    return Fit(temperature, found.chosen.value, found.chosen.low, found.chosen.high, found.rule)
