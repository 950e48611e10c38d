"""What one worker does with a job: configuration -> network -> epochs -> reports. Knows neither Optuna nor Ray.

A worker holds development patches only. After each epoch it writes a checkpoint with every report so far, so that
the job can go on in another process, and a report that was lost on its way to the database is told again.
"""

import gc
import io
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.trial import FixedTrial
from safetensors.torch import save
from torch import nn

from data_utils.colour.augment import VIEWS
from data_utils.colour.derived import load_derived
from data_utils.readers.array_file import map_array
from data_utils.split.prepare import load_development
from models._registry import load_model
from models._spec import Model, ModelConfig
from search.training.device import Compute, free_memory, held_memory, peak_memory, reset_peak_memory, set_up
from search.training.device_patches import DevicePatches
from search.training.features import Features
from search.training.jobs import IN_A_ROW, EpochReport, FeatureStore, Job, WorkerContext
from search.training.loop import EpochScores, Rows, Training, count_parameters, evaluate, probe_layout, train
from search.workers.checkpoints import Checkpoint
from studies.errors import NotWrittenError
from studies.files import write_whole

GRACE_SECONDS = 5.0
"""After its time limit, a job that has not ended by itself is ended with its process."""
LEAK_BYTES = 2**30
"""A process that holds so much more than after its first job is replaced before the next."""

LOGGER = logging.getLogger("histotune")
Logits = npt.NDArray[np.float64]


class Worker:
    """One process: patches and libraries are loaded once, jobs come and go."""

    def __init__(self, context: WorkerContext) -> None:
        """Reads the development patches and puts them on the device."""
        set_up(context.device, context.threads)
        development = load_development(context.development)
        self._context = context
        self._part = development.part
        self._seen: tuple[str, ...] = (development.digest,)  # what tells the pixels of this process from others
        pixels = development.pixels
        if context.preprocessed is not None:
            pixels, fitted = load_derived(context.preprocessed, development)
            self._seen += (fitted.digest,)
        assert development.labels is not None  # development patches are labelled
        self._labels = development.labels
        self._folds = None if context.folds is None else np.array(map_array(context.folds))
        self._patches = DevicePatches.load(pixels, self._labels, context.device)
        self._layouts: dict[str, str] = {}
        self._jobs = 0
        self._held = 0  # bytes after the first job
        self._failures = 0  # jobs in a row
        self._failed = False  # the last job
        self._warnings: list[str] = []  # not told yet
        self._warned: set[str] = set()
        self._spent = self._before = Spent()
        self._run: Iterator[EpochReport] = iter(())
        self._deadline = _Deadline(Path(), None)

    def begin(self, job: Job) -> EpochReport:
        """Starts a job, from its checkpoint where it has one; its first report."""
        self._end_if_failing()
        self._end_if_leaking()
        self._failed = False
        reset_peak_memory(self._context.device)
        self._deadline = _Deadline(job.checkpoint, self._context.trial_timeout)
        self._run = self._epochs(job)
        return self.advance()

    def advance(self) -> EpochReport:
        """The job's next report; what goes wrong is a report as well, only a process's death is not."""
        report = self._next_report()
        self._failed = report.failure is not None
        warnings, self._warnings = tuple(self._warnings), []
        return replace(report, warnings=warnings) if warnings else report

    def _next_report(self) -> EpochReport:
        try:
            with self._deadline.watched():
                return next(self._run)
        except Exception as problem:  # noqa: BLE001 - a trial that fails must not take the worker with it
            reason = f"{type(problem).__name__}: {problem}"
            return EpochReport(0, {}, float("nan"), self._costs(), reason, self._before.seconds)

    def _warn(self, warning: str) -> None:
        """Tells the driver once, with the next report."""
        if warning not in self._warned:
            self._warned.add(warning)
            self._warnings.append(warning)

    def _end_if_failing(self) -> None:
        """Ends this process where its last jobs all failed, as in a broken CUDA context; the job begins in another."""
        self._failures = self._failures + 1 if self._failed else 0
        if self._failures >= IN_A_ROW:
            LOGGER.warning("replaced: its last %d trials all failed", self._failures)
            os._exit(1)

    def _end_if_leaking(self) -> None:
        """Ends this process where earlier jobs left memory behind; the job begins in another one."""
        self._run = iter(())  # lets go of the last job's network
        free_memory(self._context.device)
        if self._jobs <= 1:
            gc.freeze()  # what libraries keep, also those that the first job imports: no later look goes through it
        held = held_memory(self._context.device)
        if self._jobs == 1:
            self._held = held
        elif self._jobs > 1 and held > self._held + LEAK_BYTES:
            LOGGER.warning("replaced: %.1f GB of earlier trials were left in memory", (held - self._held) / 2**30)
            os._exit(1)
        self._jobs += 1

    def _epochs(self, job: Job) -> Iterator[EpochReport]:
        self._spent = self._before = Spent()
        self._deadline.check()
        model = load_model(job.model)
        config = model.suggest(FixedTrial(job.params))
        kept = Checkpoint.read(job)
        layout = kept.layout if kept else self._layout(model, config)
        learn, score = self._rows(job)
        training = self._training(job, model, config, learn, layout)
        told = kept.told if kept else []
        if kept:
            training.load_state_dict(kept.training)
        self._spent = self._before = Spent(**told[-1].attributes["cost"]) if told else Spent()
        self._deadline.spent(self._before.seconds)
        # The last one that the database has is told again: its driver may have died before it acted on it.
        yield from [self._told_again(report) for report in told if report.epoch >= job.reported]
        self._deadline.check()
        with self._features(model, config, training) as features:
            for epoch in train(training):
                began = time.perf_counter()
                scores = {} if job.fold is not None else self._scores(training, score)
                if epoch.epoch == job.last_epoch and job.out is not None:
                    scores = self._leave_member(job, training, score)
                saved = 0.0 if features is None else features.take_seconds_saved()
                self._spent = self._spent.plus(epoch.seconds, time.perf_counter() - began, saved)
                report = self._report(training, epoch, scores)
                told.append(report)
                if epoch.epoch < job.last_epoch:
                    self._keep(Checkpoint(layout, told, training.state_dict()), job)
                self._deadline.check()
                yield report

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

    def _layout(self, model: Model, config: ModelConfig) -> str:
        if model.name not in self._layouts:
            compute = Compute(self._context.device, self._context.precision)
            self._layouts[model.name] = probe_layout(model, config, self._context.weights.get(model.name), compute)
        return self._layouts[model.name]

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
        )

    @contextmanager
    def _features(self, model: Model, config: ModelConfig, training: Training) -> Iterator[Features | None]:
        """Kept outputs of the network's frozen prefix, in the training's hands; None where there are none to keep."""
        name, store = model.prefix_name(config), self._context.features
        random = model.pretrained and self._context.weights.get(model.name) is None  # another prefix in each trial
        if name is None or store is None or random:
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

    def _scores(self, training: Training, rows: Rows) -> dict[str, float]:
        logits = self._evaluate(training, rows, views=(0,))
        return validation_scores(self._labels[rows], logits[:, 0])

    def _evaluate(self, training: Training, rows: Rows, views: Sequence[int]) -> Logits:
        return evaluate(
            training.network, training.patches, rows, training.compute, views=views, features=training.features
        )

    def _leave_member(self, job: Job, training: Training, rows: Rows) -> dict[str, float]:
        """Writes a member's weights and its predictions of the patients that it never saw."""
        logits = self._evaluate(training, rows, views=range(VIEWS))
        assert job.out is not None
        tensors = {name: tensor.contiguous().cpu() for name, tensor in training.network.state_dict().items()}
        write_whole(job.out / f"member_{job.fold}.safetensors", save(tensors))
        predictions = io.BytesIO()
        np.savez(predictions, rows=rows, logits=logits)
        write_whole(job.out / f"member_{job.fold}.npz", predictions.getvalue())
        return validation_scores(self._labels[rows], logits.mean(axis=1))

    def _report(self, training: Training, epoch: EpochScores, scores: dict[str, float]) -> EpochReport:
        attributes = {
            **self._costs(),
            "parameters": count_parameters(training.network),
            "peak_memory": peak_memory(self._context.device),
            "layout": training.compute.layout,
        }
        if training.parts > 1:
            attributes["batch_parts"] = training.parts
        value = scores.get(self._context.objective)
        failure = "its score is not a number" if value is not None and not np.isfinite(value) else None
        return EpochReport(epoch.epoch, scores, epoch.train_loss, attributes, failure, self._before.seconds)

    def _costs(self) -> dict[str, Any]:
        return {
            "device": self._context.device,
            "worker": f"{os.uname().nodename}:{os.getpid()}",
            "seconds": round(self._spent.seconds, 3),
            "cost": asdict(self._spent),
        }


@dataclass(frozen=True)
class Spent:
    """Seconds of a job so far, in all processes that had it.

    Attributes:
        training: in epochs.
        evaluation: on the validation patients, or of a member's held-out ones.
        saved: that kept outputs of frozen layers spared it.
    """

    training: float = 0.0
    evaluation: float = 0.0
    saved: float = 0.0

    @property
    def seconds(self) -> float:
        """Of training and evaluation."""
        return self.training + self.evaluation

    def plus(self, training: float, evaluation: float, saved: float) -> "Spent":
        """After another epoch."""
        sums = (self.training + training, self.evaluation + evaluation, self.saved + saved)
        return Spent(*(round(seconds, 3) for seconds in sums))


def validation_scores(labels: Any, logits: Any) -> dict[str, float]:
    """The scores that a search can maximise, each in [0, 1]; balanced accuracy at probability 0.5."""
    # Takes seconds to import: the first epoch does not wait for it.
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

    return {
        "auc": float(roc_auc_score(labels, logits)),
        "average_precision": float(average_precision_score(labels, logits)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, logits > 0)),
    }


class _Deadline:
    """A limit on the time that a job may take.

    Between epochs the job is told. A job that does not come back is ended with its process, and leaves a note so that
    it is not started again.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        self._note = folder / "timed_out"
        self._seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds

    def spent(self, seconds: float) -> None:
        """Counts what earlier processes spent on the job as well."""
        if self._until is not None:
            self._until -= seconds

    def check(self) -> None:
        """Raises TimeoutError once the time is over."""
        if self._until is not None and (self._ended_before() or time.monotonic() > self._until):
            raise TimeoutError(f"it took longer than --trial-timeout {self._seconds:g} s")

    def _ended_before(self) -> bool:
        """Whether a process was ended over this job under no shorter limit than today's."""
        with suppress(OSError, ValueError):
            return self._seconds is not None and float(self._note.read_text(encoding="ascii")) >= self._seconds
        return False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ends the process where the block does not end in time; nobody watches a worker that waits for work."""
        if self._until is None:
            yield
            return
        timer = threading.Timer(max(0.0, self._until - time.monotonic()) + GRACE_SECONDS, self._end_process)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_process(self) -> None:
        try:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_text(str(self._seconds), encoding="ascii")
        finally:  # also where the disk is full
            os._exit(1)
