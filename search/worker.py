"""What one worker does with a job: configuration -> network -> epochs -> reports. Knows neither Optuna nor Ray.

A worker holds development patches only. After each epoch it writes a checkpoint with every report so far, so that
the job can go on in another process, and a report that was lost on its way to the database is told again.
"""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.trial import FixedTrial
from safetensors.torch import save_file
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from data_utils.prepare import load_development
from models._registry import load_model
from models._spec import Model, ModelConfig
from search._device import Compute, peak_memory, reset_peak_memory
from search.jobs import EpochReport, Job, WorkerContext
from search.training import (
    VIEWS,
    DevicePatches,
    EpochScores,
    Training,
    count_parameters,
    evaluate,
    probe_layout,
    train,
)

GRACE_SECONDS = 5.0
"""After its time limit, a job that has not ended by itself is ended with its process."""


class Worker:
    """One process: patches and libraries are loaded once, jobs come and go."""

    def __init__(self, context: WorkerContext) -> None:
        """Reads the development patches and puts them on the device."""
        if context.device == "cpu":
            torch.set_num_threads(context.threads)
        development = load_development(context.development)
        self._context = context
        self._part = development.part
        assert development.labels is not None  # development patches are labelled
        self._labels = development.labels
        self._folds = None if context.folds is None else np.load(context.folds, allow_pickle=False)
        self._patches = DevicePatches.load(development.pixels, self._labels, context.device)
        self._layouts: dict[str, str] = {}
        self._run: Iterator[EpochReport] = iter(())

    def begin(self, job: Job) -> EpochReport:
        """Starts a job, from its checkpoint where it has one; its first report."""
        self._run = self._reports(job)
        return self.advance()

    def advance(self) -> EpochReport:
        """The job's next report; what goes wrong is a report as well, only a process's death is not."""
        try:
            return next(self._run)
        except Exception as problem:  # noqa: BLE001 - a trial that fails must not take the worker with it
            return EpochReport(0, {}, float("nan"), self._where(), failure=f"{type(problem).__name__}: {problem}")

    def _reports(self, job: Job) -> Iterator[EpochReport]:
        reset_peak_memory(self._context.device)
        deadline = _Deadline(job.checkpoint, self._context.trial_timeout)
        try:
            yield from self._epochs(job, deadline)
        finally:
            deadline.cancel()

    def _epochs(self, job: Job, deadline: "_Deadline") -> Iterator[EpochReport]:
        deadline.check()
        model = load_model(job.model)
        config = model.suggest(FixedTrial(job.params))
        kept = _Checkpoint.read(job)
        layout = kept.layout if kept else self._layout(model, config)
        compute = Compute(self._context.device, self._context.precision, layout)
        learn, score = self._rows(job)
        training = Training.begin(
            model,
            config,
            self._context.weights.get(job.model),
            self._patches,
            learn,
            epochs=job.epochs,
            seed=job.seed,
            compute=compute,
        )
        told = kept.resume(training) if kept else []
        # The last one that the database has is told again: its driver may have died before it acted on it.
        yield from [report for report in told if report.epoch >= job.reported]
        seconds = told[-1].attributes["seconds"] if told else 0.0
        for epoch in train(training):
            began = time.perf_counter()
            scores = {} if job.fold is not None else self._scores(training, score, compute)
            if epoch.epoch == job.last_epoch and job.out is not None:
                scores = self._leave_member(job, training, score, compute)
            seconds += epoch.seconds + time.perf_counter() - began
            report = self._report(training, epoch, scores, seconds, layout)
            told.append(report)
            _Checkpoint(job, layout, told).write(training)
            deadline.check()
            yield report

    def _rows(self, job: Job) -> tuple[Any, Any]:
        """Rows to learn on and rows to be scored on."""
        held_out = self._part == "validation" if job.fold is None else self._folds == job.fold
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _layout(self, model: Model, config: ModelConfig) -> str:
        if model.name not in self._layouts:
            compute = Compute(self._context.device, self._context.precision)
            self._layouts[model.name] = probe_layout(model, config, self._context.weights.get(model.name), compute)
        return self._layouts[model.name]

    def _scores(self, training: Training, rows: Any, compute: Compute) -> dict[str, float]:
        logits = evaluate(training.network, training.patches, rows, compute)[:, 0]
        return validation_scores(self._labels[rows], logits)

    def _leave_member(self, job: Job, training: Training, rows: Any, compute: Compute) -> dict[str, float]:
        """Writes a member's weights and its predictions of the patients that it never saw."""
        logits = evaluate(training.network, training.patches, rows, compute, views=range(VIEWS))
        assert job.out is not None
        job.out.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.contiguous().cpu() for name, tensor in training.network.state_dict().items()}
        draft = job.out / f"member_{job.fold}.part"
        save_file(tensors, draft)
        draft.replace(job.out / f"member_{job.fold}.safetensors")
        predictions = job.out / f"member_{job.fold}.npz"
        np.savez(predictions.with_suffix(".part.npz"), rows=rows, logits=logits)
        predictions.with_suffix(".part.npz").replace(predictions)
        return validation_scores(self._labels[rows], logits.mean(axis=1))

    def _report(
        self, training: Training, epoch: EpochScores, scores: dict[str, float], seconds: float, layout: str
    ) -> EpochReport:
        attributes = {
            **self._where(),
            "seconds": round(seconds, 3),
            "parameters": count_parameters(training.network),
            "peak_memory": peak_memory(self._context.device),
            "layout": layout,
        }
        value = scores.get(self._context.objective)
        failure = "its score is not a number" if value is not None and not np.isfinite(value) else None
        return EpochReport(epoch.epoch, scores, epoch.train_loss, attributes, failure)

    def _where(self) -> dict[str, Any]:
        return {"device": self._context.device, "worker": f"{os.uname().nodename}:{os.getpid()}"}


def validation_scores(labels: Any, logits: Any) -> dict[str, float]:
    """The scores that a search can maximise, each in [0, 1]; balanced accuracy at probability 0.5."""
    return {
        "auc": float(roc_auc_score(labels, logits)),
        "average_precision": float(average_precision_score(labels, logits)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, logits > 0)),
    }


@dataclass(frozen=True)
class _Checkpoint:
    """What lets a job go on: the network's state in one file, and every report in it."""

    job: Job
    layout: str
    told: list[EpochReport]

    @staticmethod
    def read(job: Job) -> "_Checkpoint | None":
        """The job's checkpoint; None where there is none, or one of another configuration."""
        path = _path(job)
        if not path.exists():
            return None
        kept = torch.load(path, map_location="cpu", weights_only=True)
        if kept["identity"] != _identity(job):
            return None
        return _Checkpoint(job, kept["layout"], [EpochReport(**report) for report in kept["told"]])

    def resume(self, training: Training) -> list[EpochReport]:
        """Puts the training where the checkpoint left it; the reports so far."""
        kept = torch.load(_path(self.job), map_location=training.compute.device, weights_only=True)
        training.load_state_dict(kept["training"])
        return self.told

    def write(self, training: Training) -> None:
        """Replaces the job's checkpoint, whole or not at all."""
        self.job.checkpoint.mkdir(parents=True, exist_ok=True)
        draft = _path(self.job).with_suffix(".part")
        told = [asdict(report) for report in self.told]
        identity = _identity(self.job)
        torch.save(
            {"identity": identity, "layout": self.layout, "told": told, "training": training.state_dict()}, draft
        )
        draft.replace(_path(self.job))


def _path(job: Job) -> Path:
    return job.checkpoint / "last.pt"


def _identity(job: Job) -> str:
    return repr((job.model, sorted(job.params.items()), job.seed, job.epochs, job.fold))


class _Deadline:
    """A limit on the time that a job may take.

    Between epochs the job is told. A job that does not come back is ended with its process, and leaves a note so that
    it is not started again.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        self._note = folder / "timed_out"
        self._seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds
        self._timer = None if seconds is None else threading.Timer(seconds + GRACE_SECONDS, self._end_process)
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def check(self) -> None:
        """Raises TimeoutError once the time is over."""
        if self._note.exists() or (self._until is not None and time.monotonic() > self._until):
            raise TimeoutError(f"it took longer than --trial-timeout {self._seconds:g} s")

    def cancel(self) -> None:
        """The job has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _end_process(self) -> None:
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.touch()
        os._exit(1)
