"""What travels between the driver and its workers: a context once, a job down, a report an epoch up."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models._spec import Model, ModelConfig, ParamValue
from models._weights import Weights
from search.training.node import features_folder
from studies.measure import BEFORE, Measure

IN_A_ROW = 5
"""After so many failures in a row a worker is replaced; after as many again, or at a study's begin, the search ends."""


@dataclass(frozen=True)
class FeatureStore:
    """Where outputs of frozen layers are kept (``search.training.features``), and how much room they may take together.

    Attributes:
        folder: of the entries; made where there is none.
        limit: bytes.
    """

    folder: Path
    limit: int

    @classmethod
    def below(cls, runs: Path, gigabytes: float) -> "FeatureStore | None":
        """The store of all nodes, as the driver names it below ``runs``; None for no gigabytes."""
        if gigabytes <= 0:
            return None
        return cls((runs / "features").resolve(), int(gigabytes * 2**30))

    def here(self) -> "FeatureStore":
        """That of the node on which it is asked for."""
        return replace(self, folder=features_folder(self.folder))


@dataclass(frozen=True)
class Delivery:
    """How a node gets what its workers need, and gives back what they leave, that has not the folder of results.

    Attributes:
        post: name of the actor that has it.
        sign: a file in that folder.
        word: what stands in the file, and in no other.
    """

    post: str
    sign: Path
    word: str

    def is_here(self) -> bool:
        """Whether this process sees the same folder of results as the launch."""
        try:
            return self.sign.read_text() == self.word
        except OSError:
            return False


@dataclass(frozen=True)
class WorkerContext:
    """What every job of a launch shares. Holds no credentials and no path to the test rows.

    Attributes:
        development: folder of the development cache.
        device: "cpu" or "cuda".
        precision: "fp32" or "bf16".
        threads: CPU threads of one worker.
        layouts: of feature maps in memory, by model.
        objective: name of the score that the search maximises.
        weights: pretrained tensors by model; None for models without.
        trial_timeout: seconds that one job may take; None for no limit.
        folds: file with the fold of each development row, for members; None in a search.
        features: where outputs of frozen layers are kept, as each worker asks its own node; None to compute them anew.
        preprocess: kind of preprocessing of the comparison.
        preprocessed: folder of the development pixels as networks see them; None where they see them as they are.
        packages: folders in which packages of foreign models lie; a worker looks there last.
        most_milliseconds: that a network may take for a patch, or it is not trained; None for no limit.
        errors: whether it is told how much each validation patient moves the objective.
        delivery: to nodes without the folder of results; None where there is one machine.
    """

    development: Path
    device: str
    precision: str
    threads: int
    layouts: dict[str, str]
    objective: str
    weights: dict[str, Weights | None]
    trial_timeout: float | None = None
    folds: Path | None = None
    features: FeatureStore | None = None
    preprocess: str = "none"
    preprocessed: Path | None = None
    packages: tuple[str, ...] = ()
    most_milliseconds: float | None = None
    errors: bool = False
    delivery: Delivery | None = None

    def kept_prefix(self, model: Model, config: ModelConfig) -> str | None:
        """The frozen layers of a configuration whose outputs are kept for all who have them; None where none are."""
        random = model.pretrained and self.weights.get(model.name) is None  # others in each trial
        return None if self.features is None or random else model.prefix_name(config)


@dataclass(frozen=True)
class Job:
    """One network to train: a trial of a study, or a member of a final model.

    Attributes:
        label: for people, such as "cnn 12" or "vgg16 best, fold 3".
        number: of the trial in its study; -1 for a member.
        params: of the configuration, by name.
        seed: of everything random in it.
        epochs: length of the learning-rate schedule.
        last_epoch: the epoch after which it is finished.
        reported: last epoch that the database has already; 0 for none.
        checkpoint: folder of its own for what lets it go on elsewhere.
        fold: held-out fold of a member; None for a trial, which learns on "train" and is scored on "validation".
        out: folder where a member leaves its weights and out-of-fold predictions.
        measure: what of the network is scored.
    """

    label: str
    model: str
    number: int
    params: dict[str, ParamValue]
    seed: int
    epochs: int
    last_epoch: int
    checkpoint: Path
    reported: int = 0
    fold: int | None = None
    out: Path | None = None
    measure: Measure = BEFORE


@dataclass(frozen=True)
class EpochReport:
    """What a worker says after an epoch.

    Attributes:
        epoch: from 1; 0 where the job failed before its first.
        scores: on the validation patients, by name; empty for a member.
        train_loss: mean over the epoch.
        attributes: seconds, device, parameters, peak_memory, worker ... so far.
        seconds_before: of training and evaluation that the job had behind it when this process took it up.
        failure: why the job cannot go on; None where it can.
        keeps_value: whether the epochs before that count all the same: its time was over, or its loss is no number.
        warnings: what does not stop the job but a user should know, such as a disk without room for checkpoints.
        no_room: whether memory ran out or the network is slower than allowed: the sampler learns to keep from its like.
    """

    epoch: int
    scores: dict[str, float]
    train_loss: float
    attributes: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None
    keeps_value: bool = False
    seconds_before: float = 0.0
    warnings: tuple[str, ...] = ()
    no_room: bool = False


def forget_checkpoint(folder: Path) -> None:
    """Deletes what would let a job go on; nothing happens where there is none."""
    shutil.rmtree(folder, ignore_errors=True)
