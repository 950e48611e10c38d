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

from data_utils.split.draw import folds
from data_utils.split.prepare import Prepared, load_development
from search.command.settings import CheckSettings
from search.command.terminal import say
from search.comparison import Comparison
from search.errors import UsageError
from search.final.candidates import candidates
from search.final.member_files import member_folder, member_job, stored_member
from search.final.plan import last_plan, studies_of
from search.final.searched import context_of
from search.training.device import choose_device
from search.training.jobs import Job
from search.workers.worker import Worker
from studies.measure import measure_of
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
    prepared = comparison.prepared(
        settings.common.data or studies[0].settings.get("source"), comparison.locked_division()
    )
    members = [_stored(comparison, study, prepared) for study in studies]
    console, found = Console(), []
    for repeated in _repeat(settings, comparison, prepared, studies, [job for job in members if job is not None]):
        say(console, str(repeated))
        found.append(repeated)
    without = [study.model for study, job in zip(studies, members, strict=True) if job is None]
    for line in _left_out(comparison, studies, without, finalized=plan is not None):
        say(console, line)
    wrong = sum(not one.agrees for one in found)
    say(console, f"{len(found)} networks trained again, {wrong or 'none'} of them with another result")
    return 1 if wrong or (without and plan is not None) else 0


def _left_out(
    comparison: Comparison, studies: Sequence[StudySummary], without: Sequence[str], *, finalized: bool
) -> Iterator[str]:
    """What was not trained again, a line each; ``without`` names the models that have no member."""
    for study in studies:
        if not _trained(study):
            yield f"no trial of {study.name} was trained yet, or with its seed stored: none was trained again"
    if without and finalized:
        yield (
            f"no member of {' and '.join(without)} is whole any more, though a plan was frozen with them: put "
            f"{comparison.folder}/MODEL/members back from a backup"
        )
    elif without:
        yield (
            f"no member of {' and '.join(without)} is trained yet: python -m search.finalize --study {comparison.name} "
            "does that"
        )


def _repeat(
    settings: CheckSettings,
    comparison: Comparison,
    prepared: Prepared,
    studies: Sequence[StudySummary],
    members: Sequence[Job],
) -> Iterator[Repeated]:
    """The trials that were asked for, and the members."""
    context = context_of(
        comparison, prepared, studies, device=choose_device(settings.device), threads=1, weights=settings.vgg16_weights
    )
    comparison.transformed(prepared, context.preprocess)
    with tempfile.TemporaryDirectory(prefix="histotune-check-") as scratch:
        worker = Worker(context)
        for study in studies:
            for trial in _chosen(study, settings.repeat):
                yield _repeat_trial(worker, study, trial, Path(scratch))
        if members:
            drawn = Path(scratch) / "folds.npy"  # as finalize drew them, whose own file goes with the prepared patches
            np.save(drawn, folds(prepared.lock, load_development(prepared.development)), allow_pickle=False)
            worker = Worker(replace(context, folds=drawn, objective="auc"))
            for job in members:
                yield _repeat_member(worker, job, Path(scratch))


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
        measure=measure_of(study.definition),
    )
    found = [scores[objective] for scores in _trained_again(worker, job)]
    apart = np.abs(np.array(found) - np.array([value for _, value in trial.curve]))
    return Repeated(f"trial {trial.number} of {study.name}", job.last_epoch, float(apart.max()), APART)


def _stored(comparison: Comparison, study: StudySummary, prepared: Prepared) -> Job | None:
    """What trained the first whole member of the best configuration that has one; None where none has."""
    count, digest = prepared.folds, prepared.lock.digest
    return next(
        (
            member_job(candidate, fold, folds=count, folder=comparison.folder, lock_digest=digest)
            for candidate in candidates(study, _FINALISTS)
            for fold in range(count)
            if stored_member(member_folder(comparison.folder, candidate), fold) is not None
        ),
        None,
    )


def _repeat_member(worker: Worker, kept: Job, scratch: Path) -> Repeated:
    again = replace(kept, checkpoint=scratch / f"{kept.model}-member", out=scratch / f"{kept.model}-out")
    for _ in _trained_again(worker, again):
        pass
    assert kept.out is not None
    assert again.out is not None
    name = f"member_{kept.fold}"
    one, other = (sha256((out / f"{name}.safetensors").read_bytes()).digest() for out in (kept.out, again.out))
    before, after = (read_npz(out / f"{name}.npz")["logits"] for out in (kept.out, again.out))
    same = one == other and np.array_equal(before, after)
    apart = 0.0 if same else max(float(np.abs(before - after).max()), 1e-12)
    return Repeated(f"member of {kept.label}", kept.last_epoch, apart, LOGITS_APART)


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
