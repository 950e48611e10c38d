"""What one worker does with a job: configuration -> network -> epochs -> reports. Knows neither Optuna nor Ray.

A worker holds development patches only. After each epoch it writes a checkpoint with every report so far, so that
the job can go on in another process, and a report that was lost on its way to the database is told again.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save
from torch import nn

from data_utils.colour.augment import VIEWS
from data_utils.colour.derived import load_derived
from data_utils.readers.array_file import map_array
from data_utils.split.prepare import load_development
from models._registry import load_model
from models._spec import Model, ModelConfig
from search.training.device import Compute, is_out_of_memory, peak_memory, reset_peak_memory, set_up
from search.training.device_patches import DevicePatches
from search.training.features import Features
from search.training.jobs import EpochReport, FeatureStore, Job, WorkerContext
from search.training.loop import (
    EpochScores,
    OutOfMemoryError,
    Rows,
    Training,
    TrainingDivergedError,
    count_parameters,
    evaluate,
    train,
)
from search.training.scores import validation_scores
from search.training.speed import TooSlowError, check_speed
from search.workers.checkpoints import Checkpoint
from search.workers.deadline import Deadline, OutOfTimeError
from search.workers.fitness import Fitness
from search.workers.spent import Spent
from studies.errors import NotWrittenError
from studies.files import write_whole
from studies.records import BY_PATIENT

Logits = npt.NDArray[np.float64]


class Worker:
    """One process: patches and libraries are loaded once, jobs come and go."""

    def __init__(self, context: WorkerContext, leave: Callable[[Path], None] | None = None) -> None:
        """Reads the development patches and puts them on the device; ``leave`` as ``Deadline`` takes it."""
        set_up(context.device, context.threads)
        sys.path.extend(folder for folder in context.packages if folder not in sys.path)
        development = load_development(context.development)
        self._context = context
        self._leave = leave
        self._part = development.part
        self._seen: tuple[str, ...] = (development.digest,)  # what tells the pixels of this process from others
        pixels = development.pixels
        if context.preprocessed is not None:
            pixels, fitted = load_derived(context.preprocessed, development)
            self._seen += (fitted.digest,)
        self._side, self._patients = pixels.shape[1], development.patients
        assert development.labels is not None  # development patches are labelled
        self._labels = development.labels
        self._folds = None if context.folds is None else np.array(map_array(context.folds))
        self._patches = DevicePatches.load(pixels, self._labels, context.device)
        self._features_here = None if context.features is None else context.features.here()
        self._fitness = Fitness(context.device)
        self._warnings: list[str] = []  # not told yet
        self._warned: set[str] = set()
        self._spent = self._before = Spent()
        self._run: Iterator[EpochReport] = iter(())
        self._deadline = Deadline(Path(), None)

    def begin(self, job: Job) -> EpochReport:
        """Starts a job, from its checkpoint where it has one; its first report."""
        self._run = iter(())  # lets go of the last job's network
        self._fitness.check()
        reset_peak_memory(self._context.device)
        self._deadline = Deadline(job.checkpoint, self._context.trial_timeout, self._leave)
        self._run = self._epochs(job)
        return self.advance()

    def advance(self) -> EpochReport:
        """The job's next report; what goes wrong is a report as well, only a process's death is not."""
        report = self._next_report()
        self._fitness.failed = report.failure is not None and not (report.keeps_value or report.no_room)
        warnings, self._warnings = tuple(self._warnings), []
        return replace(report, warnings=warnings) if warnings else report

    def _next_report(self) -> EpochReport:
        try:
            with self._deadline.watched():
                return next(self._run)
        except TooSlowError as slow:
            return EpochReport(0, {}, float("nan"), self._costs(), str(slow), no_room=True)
        except Exception as problem:  # noqa: BLE001 - a trial that fails must not take the worker with it
            reason = f"{type(problem).__name__}: {problem}"
            keeps = self._spent.training > 0 and isinstance(problem, OutOfTimeError | TrainingDivergedError)
            no_room = isinstance(problem, OutOfMemoryError) or is_out_of_memory(problem)
            return EpochReport(0, {}, float("nan"), self._costs(), reason, keeps, self._before.seconds, (), no_room)

    def _warn(self, warning: str) -> None:
        """Tells the driver once, with the next report."""
        if warning not in self._warned:
            self._warned.add(warning)
            self._warnings.append(warning)

    def _epochs(self, job: Job) -> Iterator[EpochReport]:
        self._spent = self._before = Spent()
        kept = Checkpoint.read(job)
        told = kept.told if kept else []
        self._spent = self._before = Spent(**told[-1].attributes["cost"]) if told else Spent()
        # The last one that the database has is told again: its driver may have died before it acted on it.
        yield from [self._told_again(report) for report in told if report.epoch >= job.reported]
        self._deadline.check()  # where a process was ended over it before
        model = load_model(job.model)
        config = model.configuration(job.params)
        layout = kept.layout if kept else self._context.layouts[model.name]
        learn, score = self._rows(job)
        training = self._training(job, model, config, learn, layout)
        if kept:
            training.load_state_dict(kept.training)
        else:
            check_speed(training.network, self._side, training.compute, self._context.most_milliseconds)
        with self._features(model, config, training) as features:
            self._deadline.begin(self._before.seconds, len(told))
            if told:
                self._deadline.check()
            for epoch in train(training):
                began = time.perf_counter()
                scores, moved = self._scores(job, training, score, last=epoch.epoch == job.last_epoch)
                saved = 0.0 if features is None else features.take_seconds_saved()
                self._spent = self._spent.plus(epoch.seconds, time.perf_counter() - began, saved)
                report = self._report(training, epoch, scores, moved)
                told.append(report)
                if epoch.epoch < job.last_epoch:
                    self._keep(Checkpoint(layout, told, training.state_dict()), job)
                self._deadline.epoch(epoch.seconds + time.perf_counter() - began)
                yield report
                self._deadline.check()

    def _keep(self, checkpoint: Checkpoint, job: Job) -> None:
        try:
            checkpoint.write(job)
        except NotWrittenError as error:
            self._warn(
                f"no checkpoint can be written in {job.checkpoint.parent} ({error.__cause__}): training goes on, but "
                "what is cut off now goes on from an earlier epoch"
            )

    def _told_again(self, report: EpochReport) -> EpochReport:
        return replace(report, seconds_before=self._before.seconds)

    def _rows(self, job: Job) -> tuple[Rows, Rows]:
        """Rows to learn on and rows to be scored on."""
        held_out = self._part == "validation" if job.fold is None else self._folds == job.fold
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _training(self, job: Job, model: Model, config: ModelConfig, rows: Rows, layout: str) -> Training:
        return Training.begin(
            model,
            config,
            self._context.weights.get(job.model),
            self._patches,
            rows,
            epochs=job.epochs,
            seed=job.seed,
            compute=Compute(self._context.device, self._context.precision, layout),
            window=job.measure.window if job.fold is None else 0.0,
        )

    @contextmanager
    def _features(self, model: Model, config: ModelConfig, training: Training) -> Iterator[Features | None]:
        """Kept outputs of the network's frozen prefix, in the training's hands; None where there are none to keep."""
        name, store = self._context.kept_prefix(model, config), self._features_here
        if name is None or store is None:
            yield None
            return
        prefix = training.network.get_submodule("prefix")
        features = self._open_features(store, (*self._seen, model.name, name), prefix, training.compute)
        training.features = features
        try:
            yield features
        finally:
            if features is not None:
                features.close()

    def _open_features(
        self, store: FeatureStore, key: tuple[str, ...], prefix: nn.Module, compute: Compute
    ) -> Features | None:
        try:
            features = Features.open(store, key, prefix, self._patches, compute)
            why = "they take more than --feature-cache-gb or half of the free disk"
        except OSError as error:
            features, why = None, str(error.strerror or error)
        if features is None:
            self._warn(f"outputs of frozen layers cannot be kept in {store.folder} ({why}): they are computed anew")
        return features

    def _scores(
        self, job: Job, training: Training, rows: Rows, *, last: bool
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Of a trial's epoch, with what moves the last one where that is asked for; of a member in the end."""
        if job.fold is not None:
            return self._leave_member(job, training, rows) if last and job.out is not None else {}, {}
        logits = self._evaluate(training, rows, views=range(job.measure.views)).mean(axis=1)
        scores = validation_scores(self._labels[rows], logits)
        return scores, {BY_PATIENT: self._by_patient(rows, logits)} if last and self._context.errors else {}

    def _by_patient(self, rows: Rows, logits: Logits) -> list[float] | None:
        """How much each validation patient moves the objective; None where they are too few."""
        from studies.statistics.objectives import moved_by  # takes a second to import, and is seldom wanted

        patients = np.full(len(rows), "") if self._patients is None else self._patients[rows]
        moved = moved_by(self._context.objective, self._labels[rows], logits, patients)
        if moved is None:
            self._warn("--stop-when-flat: nothing tells which values differ, by so few validation patients: it goes on")
        return moved

    def _evaluate(self, training: Training, rows: Rows, views: Sequence[int]) -> Logits:
        return evaluate(
            training.measured, training.patches, rows, training.compute, views=views, features=training.features
        )

    def _leave_member(self, job: Job, training: Training, rows: Rows) -> dict[str, float]:
        """Writes a member's weights and its predictions of the patients that it never saw."""
        logits = self._evaluate(training, rows, views=range(VIEWS))
        assert job.out is not None
        tensors = {name: tensor.contiguous().cpu() for name, tensor in training.measured.state_dict().items()}
        write_whole(job.out / f"member_{job.fold}.safetensors", save(tensors))
        predictions = io.BytesIO()
        np.savez(predictions, rows=rows, logits=logits)
        write_whole(job.out / f"member_{job.fold}.npz", predictions.getvalue())
        return validation_scores(self._labels[rows], logits.mean(axis=1))

    def _report(
        self, training: Training, epoch: EpochScores, scores: dict[str, float], moved: dict[str, Any]
    ) -> EpochReport:
        attributes = {
            **self._costs(),
            "parameters": count_parameters(training.network),
            "peak_memory": peak_memory(self._context.device),
            "layout": training.compute.layout,
            **moved,
        }
        if training.parts > 1:
            attributes["batch_parts"] = training.parts
        value = scores.get(self._context.objective)
        failure = "its score is not a number" if value is not None and not np.isfinite(value) else None
        keeps = failure is not None and epoch.epoch > 1
        return EpochReport(epoch.epoch, scores, epoch.train_loss, attributes, failure, keeps, self._before.seconds)

    def _costs(self) -> dict[str, Any]:
        return {
            "device": self._context.device,
            "worker": f"{os.uname().nodename}:{os.getpid()}",
            "seconds": round(self._spent.seconds, 3),
            "cost": asdict(self._spent),
        }
