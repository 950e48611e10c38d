"""Retrains configurations over the folds of the development patients, in the same workers as the search.

A member learns on all folds but one and never looks at its own held-out patients, not even to choose an epoch. Its
configuration was chosen by some of them all the same, on the validation split. A member whose files are whole is never
trained again.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models._spec import ParamValue
from search.errors import SearchFailed
from search.training.jobs import EpochReport, Job, forget_checkpoint
from search.training.seeds import derive_seed
from search.trials.side_by_side import Watcher
from studies.errors import RecordError
from studies.files import read_file, write_whole
from studies.final_models import CandidateResult, FinalModel, Fit, MemberResult
from studies.findings.costs import seconds_per_epoch
from studies.npz import read_npz
from studies.records import StudySummary, TrialResult, from_json, to_json
from studies.statistics.calibration import fit_temperature, sigmoid
from studies.statistics.metrics import auc, balanced_accuracy
from studies.statistics.thresholds import choose_threshold
from studies.storage.results import ranking

_LARGEST_RECORD = 2**20  # bytes of a member's record
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A configuration that is to be retrained.

    Attributes:
        label: "best", "finalist-2" ... or "default".
        trial: number in the study.
        search_value: objective in the search.
        epochs: length of the learning-rate schedule.
        last_epoch: the trial's best epoch, where its members end.
        key: a short name of its own, from all that shapes its members; also the name of their folder.
        seconds: that a member is expected to take, at the pace of the trial; None where that is not known.
    """

    model: str
    label: str
    trial: int
    params: dict[str, ParamValue]
    search_value: float
    epochs: int
    last_epoch: int
    key: str
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Retrained:
    """A model's final configuration and the out-of-fold scores behind the choice.

    Attributes:
        logits: candidate label -> (N,) out-of-fold mean logit over the 8 views, one for each development row.
    """

    final: FinalModel
    logits: dict[str, Floats]


def candidates(study: StudySummary, finalists: int) -> list[Candidate]:
    """The best configurations of a study and its default one, without doubles; best first.

    The default configuration is retrained even where its trial was pruned, then to the end of its schedule.
    """
    best = ranking(study.trials)[:finalists]
    default = next((trial for trial in study.trials if trial.number == study.default), None)
    chosen = [_candidate(study, trial, _label(trial, place, study)) for place, trial in enumerate(best)]
    trained = default is not None and default.state in ("COMPLETE", "PRUNED") and not default.by_hand
    if default is not None and trained and default not in best:
        chosen.append(_candidate(study, default, "default"))
    return chosen


def _label(trial: TrialResult, place: int, study: StudySummary) -> str:
    if trial.number == study.default:
        return "default"
    return "best" if place == 0 else f"finalist-{place + 1}"


def _candidate(study: StudySummary, trial: TrialResult, label: str) -> Candidate:
    epochs = int(study.definition["epochs"])
    last = int(trial.attributes["best_epoch"]) if trial.state == "COMPLETE" else epochs
    identity = (sorted(study.definition.items(), key=str), sorted(trial.params.items()), last)
    return Candidate(
        model=study.model,
        label=label,
        trial=trial.number,
        params=trial.params,
        search_value=float(trial.value or 0.0),
        epochs=epochs,
        last_epoch=last,
        key=sha256(repr(identity).encode()).hexdigest()[:12],
        seconds=None if (pace := seconds_per_epoch(trial)) is None else pace * last,
    )


def longest_first(wanted: Sequence[Candidate]) -> list[Candidate]:
    """In the order in which their members are handed out, so that no long one is left to a single worker at the end.

    One whose time is not known may be the longest. The folds of one candidate are alike, and learn on as many patches.
    """
    return sorted(wanted, key=lambda candidate: -math.inf if candidate.seconds is None else -candidate.seconds)


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
    ) -> None:
        """``folder`` is that of the comparison; ``check`` raises where a signal has come."""
        self._folds = folds
        self.watcher: Watcher | None = None
        self._check = check
        jobs = [
            member_job(candidate, fold, folds=folds, folder=folder, lock_digest=lock_digest)
            for candidate in longest_first(wanted)
            for fold in range(folds)
        ]
        self.all = len(jobs)
        self._waiting = deque(job for job in jobs if stored_member(job) is None)
        self.done = self.all - len(self._waiting)

    def next_job(self) -> Job | None:
        """The next member."""
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        if self.watcher is not None:
            self.watcher.begun(job)
        return job

    def report(self, job: Job, report: EpochReport) -> bool:
        """Takes an epoch; stores the member's record with its last one, after the worker has stored its files."""
        if report.failure is not None:
            raise SearchFailed(f"{job.label} could not be retrained: {report.failure}")
        ends = report.epoch >= job.last_epoch
        if ends:
            _store_member(job, report)
            forget_checkpoint(job.checkpoint)
            self.done += 1
        if self.watcher is not None:
            self.watcher.epoch(job, report, "COMPLETE" if ends else "RUNNING")
        return ends

    def worker_lost(self, job: Job, reason: str) -> None:
        """A final model lacks no member: the retraining ends."""
        raise SearchFailed(f"{job.label} could not be retrained: {reason}")

    def give_back(self, job: Job) -> None:
        """It is handed out again."""
        self._waiting.append(job)
        if self.watcher is not None:
            self.watcher.epoch(job, None, "WAITING")

    def tick(self) -> None:
        """Ends the run on a signal."""
        self._check()


def member_job(candidate: Candidate, fold: int, *, folds: int, folder: Path, lock_digest: str) -> Job:
    """What trains one member; ``folder`` is that of the comparison."""
    return Job(
        label=f"{candidate.model} {candidate.label}, fold {fold + 1} of {folds}",
        model=candidate.model,
        number=-1,
        params=candidate.params,
        seed=derive_seed(lock_digest, candidate.model, candidate.key, fold),
        epochs=candidate.epochs,
        last_epoch=candidate.last_epoch,
        checkpoint=(folder / candidate.model / "checkpoints" / f"{candidate.key}-{fold}").resolve(),
        fold=fold,
        out=member_folder(folder, candidate).resolve(),
    )


def member_folder(folder: Path, candidate: Candidate) -> Path:
    """Where the members of a candidate are."""
    return folder / candidate.model / "members" / candidate.key


def stored_member(job: Job) -> MemberResult | None:
    """The record of a member; None where it is not whole, yet or any more. The record is written last."""
    assert job.out is not None
    path = job.out / f"member_{job.fold}.json"
    if not all(os.path.lexists(path.with_suffix(kind)) for kind in (".json", ".npz", ".safetensors")):
        return None
    return from_json(MemberResult, read_file(path, _LARGEST_RECORD), str(path))


def _store_member(job: Job, report: EpochReport) -> None:
    assert job.out is not None
    assert job.fold is not None
    weights = (job.out / f"member_{job.fold}.safetensors").read_bytes()
    member = MemberResult(
        fold=job.fold,
        seed=job.seed,
        epochs=job.last_epoch,
        seconds=report.attributes["seconds"],
        out_of_fold_auc=report.scores.get("auc"),
        sha256=sha256(weights).hexdigest(),
    )
    write_whole(job.out / f"member_{job.fold}.json", to_json(member))


def conclude(
    wanted: Sequence[Candidate],
    folder: Path,
    *,
    folds: int,
    labels: npt.NDArray[np.int64],
    patients: npt.NDArray[np.str_],
    weights: str,
) -> Retrained:
    """Fits temperature and threshold to each configuration's scores, and chooses the final one by out-of-fold AUC.

    Args:
        wanted: the candidates of one model, every member of which is stored.
        folder: of the comparison.
        folds: of the development rows.
        labels: (N,) of the development rows.
        patients: (N,) of the development rows, "" where unknown.
        weights: where the pretrained layers come from, in words.
    """
    logits = {
        candidate.label: out_of_fold(member_folder(folder, candidate), folds, len(labels)) for candidate in wanted
    }
    results = [
        _result(candidate, member_folder(folder, candidate), folds, labels, patients, logits[candidate.label])
        for candidate in wanted
    ]
    chosen = max(results, key=lambda result: (result.out_of_fold_auc, result.label == "default"))
    assert chosen.fit is not None
    final = FinalModel(
        model=wanted[0].model,
        candidates=tuple(results),
        chosen=chosen.label,
        temperature=chosen.fit.temperature,
        threshold=chosen.fit.threshold,
        threshold_rule=chosen.fit.rule,
        weights=weights,
    )
    return Retrained(final, logits)


def out_of_fold(members: Path, folds: int, rows: int) -> Floats:
    """(rows,) mean logit over the 8 views, each from the member that never saw the row's patient."""
    logits = np.full(rows, np.nan)
    for fold in range(folds):
        _fill(logits, members / f"member_{fold}.npz")
    if np.isnan(logits).any():  # the folds cover every row
        raise RecordError(f"{members} does not hold a score of every patch; delete it and run the same command again")
    return logits


def _fill(logits: Floats, path: Path) -> None:
    stored = read_npz(path)
    try:
        logits[stored["rows"]] = stored["logits"].mean(axis=1)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise RecordError(f"{path} is not what a member predicted; delete it and run the same command again") from error


def _result(
    candidate: Candidate,
    members: Path,
    folds: int,
    labels: npt.NDArray[np.int64],
    patients: npt.NDArray[np.str_],
    logits: Floats,
) -> CandidateResult:
    records = [members / f"member_{fold}.json" for fold in range(folds)]
    fit = _fit(logits, labels, patients)
    return CandidateResult(
        label=candidate.label,
        trial=candidate.trial,
        params=candidate.params,
        search_value=candidate.search_value,
        epochs=candidate.last_epoch,
        members=tuple(from_json(MemberResult, read_file(record, _LARGEST_RECORD), str(record)) for record in records),
        out_of_fold_auc=auc(labels, logits),
        out_of_fold_balanced_accuracy=balanced_accuracy(labels, sigmoid(logits, fit.temperature), fit.threshold),
        fit=fit,
    )


def _fit(logits: Floats, labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_]) -> Fit:
    temperature = fit_temperature(logits, labels)
    found = choose_threshold(sigmoid(logits, temperature), labels, patients)
    assert found.chosen.value is not None
    return Fit(temperature, found.chosen.value, found.chosen.low, found.chosen.high, found.rule)
