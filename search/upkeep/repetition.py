"""Trains stored trials and a member once more, in this process, and compares what comes out with what is stored.

On the machine that trained them, with the same versions, they are the same to the last bit. Other hardware sums in
another order: there they may differ by a stated amount, and by no more.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from rich.console import Console

from data_utils.split.draw import MOST_FOLDS
from search.command.settings import CheckSettings
from search.command.terminal import say
from search.comparison import Comparison
from search.errors import UsageError
from search.final.plan import last_plan, studies_of
from search.final.retraining import Candidate, candidates, member_folder, member_job, stored_member
from search.final.searched import context_of
from search.training.device import choose_device
from search.training.jobs import Job
from search.workers.worker import Worker
from studies.npz import read_npz
from studies.records import StudySummary, TrialResult

APART = 0.02
"""How far the objective of an epoch may lie from the stored one on other hardware."""
LOGITS_APART = 0.2
"""The same of a member's logits."""
_TRAINED = ("COMPLETE", "PRUNED")
_FINALISTS = 100  # the most that a finalization retrains


@dataclass(frozen=True)
class Repeated:
    """One network that was trained again.

    Attributes:
        label: for people.
        epochs: that were trained.
        apart: largest difference from what is stored; 0 where all is the same to the last bit.
        allowed: the most that other hardware explains.
    """

    label: str
    epochs: int
    apart: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether it came out as it should."""
        return self.apart <= self.allowed  # not where it is NaN

    def __str__(self) -> str:
        if self.apart == 0:
            return f"{self.label}, {self.epochs} epochs: the same to the last bit"
        verdict = (
            "as other hardware or versions may" if self.agrees else f"more than the {self.allowed:g} that is allowed"
        )
        return f"{self.label}, {self.epochs} epochs: differs by up to {self.apart:.3g}, {verdict}"


def check(settings: CheckSettings) -> int:
    """Repeats trials of each study, and a member of each model where there are any; the exit code.

    Raises:
        UsageError: nothing is there that could be repeated.
    """
    comparison = Comparison.open(settings.common)
    plan = last_plan(comparison)
    studies = studies_of(comparison, None if plan is None else plan[0])
    if not any(_trained(study) for study in studies):
        raise UsageError(f"no trial of {comparison.name} was trained yet: begin with python -m search.launch")
    console, found = Console(), []
    for repeated in _repeat(settings, comparison, studies):
        say(console, str(repeated))
        found.append(repeated)
    wrong = sum(not one.agrees for one in found)
    say(console, f"{len(found)} networks trained again, {wrong or 'none'} of them with another result")
    return 1 if wrong else 0


def _repeat(settings: CheckSettings, comparison: Comparison, studies: Sequence[StudySummary]) -> Iterator[Repeated]:
    source = settings.common.data or studies[0].settings.get("source")
    prepared = comparison.prepared(source, comparison.locked_division())
    context = context_of(
        comparison, prepared, studies, device=choose_device(settings.device), threads=1, weights=settings.vgg16_weights
    )
    comparison.transformed(prepared, context.preprocess)
    with tempfile.TemporaryDirectory(prefix="histotune-check-") as scratch:
        worker = Worker(context)
        for study in studies:
            for trial in _chosen(study, settings.repeat):
                yield _repeat_trial(worker, study, trial, Path(scratch))
        folds = comparison.folder / "data" / "folds.npy"
        if folds.exists():
            worker = Worker(replace(context, folds=folds.resolve(), objective="auc"))
            for study in studies:
                yield from _repeat_member(worker, comparison, study, prepared.lock.digest, Path(scratch))


def _trained(study: StudySummary) -> list[TrialResult]:
    ours = [trial for trial in study.trials if trial.state in _TRAINED and not trial.by_hand]
    return [trial for trial in ours if trial.curve and "seed" in trial.attributes]


def _chosen(study: StudySummary, count: int) -> list[TrialResult]:
    """So many trials, from the first to the last."""
    trained = _trained(study)
    rows = np.unique(np.linspace(0, len(trained) - 1, min(count, len(trained))).round().astype(int))
    return [trained[row] for row in rows.tolist()]


def _repeat_trial(worker: Worker, study: StudySummary, trial: TrialResult, scratch: Path) -> Repeated:
    objective = str(study.definition["objective"])
    job = Job(
        label=f"{study.model} {trial.number}",
        model=study.model,
        number=trial.number,
        params=trial.params,
        seed=int(trial.attributes["seed"]),
        epochs=int(study.definition["epochs"]),
        last_epoch=len(trial.curve),
        checkpoint=scratch / f"{study.model}-{trial.number}",
    )
    found = [scores[objective] for scores in _trained_again(worker, job)]
    apart = np.abs(np.array(found) - np.array([value for _, value in trial.curve]))
    return Repeated(f"trial {trial.number} of {study.name}", job.last_epoch, float(apart.max()), APART)


def _repeat_member(
    worker: Worker, comparison: Comparison, study: StudySummary, lock_digest: str, scratch: Path
) -> Iterator[Repeated]:
    """The first member of the best configuration that has one."""
    for candidate in candidates(study, _FINALISTS):
        kept = member_job(candidate, 0, folds=MOST_FOLDS, folder=comparison.folder, lock_digest=lock_digest)
        if stored_member(kept) is not None:
            yield _compare_member(worker, candidate, kept, member_folder(comparison.folder, candidate), scratch)
            return


def _compare_member(worker: Worker, candidate: Candidate, kept: Job, stored: Path, scratch: Path) -> Repeated:
    again = replace(kept, checkpoint=scratch / f"{kept.model}-member", out=scratch / f"{kept.model}-out")
    for _ in _trained_again(worker, again):
        pass
    assert again.out is not None
    one, other = stored / "member_0.safetensors", again.out / "member_0.safetensors"
    same = sha256(one.read_bytes()).digest() == sha256(other.read_bytes()).digest()
    before, after = (read_npz(folder / "member_0.npz")["logits"] for folder in (stored, again.out))
    apart = 0.0 if same and np.array_equal(before, after) else max(float(np.abs(before - after).max()), 1e-12)
    return Repeated(f"member 1 of {candidate.model} {candidate.label}", kept.last_epoch, apart, LOGITS_APART)


def _trained_again(worker: Worker, job: Job) -> Iterator[dict[str, float]]:
    """The scores of each epoch.

    Raises:
        UsageError: it could not be trained.
    """
    report = worker.begin(job)
    while True:
        if report.failure is not None:
            raise UsageError(f"{job.label} could not be trained again: {report.failure}")
        yield report.scores
        if report.epoch >= job.last_epoch:
            return
        report = worker.advance()
