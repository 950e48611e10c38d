"""What outlives a run, as frozen dataclasses: the plan, the openings, and all that a report is made of.

Written by ``search``, read by ``studies``. Each is stored as JSON (``to_json``/``from_json``), arrays as ``.npz``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from studies.errors import RecordError
from studies.final_models import Ensemble, FinalModel, Neighbours
from studies.speeds import Speeds

_MOST_VALUES = 500_000  # of a record; that of the data names each development patient
_MOST_NESTED = 100_000  # of them lists and objects, each of which takes pydantic 350 bytes
Record = TypeVar("Record")
Floats = npt.NDArray[np.float64]
ParamValue = bool | int | float | str  # what a hyperparameter can be


def to_json(record: object) -> str:
    """Canonical JSON of a record: sorted keys, no spaces, so that equal records have equal digests."""
    plain = TypeAdapter(type(record)).dump_python(record, mode="json")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def from_json(kind: type[Record], text: str | bytes, where: str) -> Record:
    """The record in ``text``; ``where`` names its source in the message of a ``RecordError``."""
    try:
        return TypeAdapter(kind).validate_json(_bounded(text, f"{where} is not a readable {kind.__name__}"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = f"{where} is not a readable {kind.__name__}: {place}: {first['msg']}"
        raise RecordError(message) from error


def _bounded(text: str | bytes, what: str) -> bytes:
    """UTF-8 of at most so many values, counted before anything is built of them: two bytes can become hundreds."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    nested = content.count(b"[") + content.count(b"{")
    values = content.count(b",") + nested
    if values > _MOST_VALUES or nested > _MOST_NESTED:
        raise RecordError(
            f"{what}: it has about {values} values, expected at most {_MOST_VALUES}, {_MOST_NESTED} of them lists or "
            "objects; put the original back"
        )
    return content


def digest(record: object) -> str:
    """Sha256 of the canonical JSON."""
    return hashlib.sha256(to_json(record).encode()).hexdigest()


# --- data and split -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartSummary:
    """One part of the split ("train", "validation" or "test"): how much is in it. Never which."""

    part: str
    patients: int  # 0 where ids are unknown
    patches: int
    idc: int


@dataclass(frozen=True)
class DataSummary:
    """What was read, what was left out, and how it was split.

    Attributes:
        source: path or "synthetic:600", as the user typed it.
        synthetic: whether the patches are made up.
        fingerprint: sha256 over pixels, labels and patients of what was kept.
        found: patches and other files found, before anything was left out.
        exclusions: (reason, count), each counted once, under the first rule that met it.
        parts: train, validation and test.
        patient_ids: whether patients are known; without them overlap between parts cannot be excluded.
        patients: (patient, "train" or "validation", patches, idc) of development patients only.
        lock_digest: sha256 of the split lock.
        fractions, split_seed: train, validation, test in percent, and the seed of the draw.
        split_file: the published lists that the split was taken from, with their digest; "" where it was drawn.
        near_sealed: test patches that have a near copy among the development patches of another patient.
        notes: what the reader took for what, and what it converted: a sentence each.
        side: of every patch in pixels.
        easing: (reason, why) of each rule of cleaning that was on and makes the test easier.
    """

    source: str
    synthetic: bool
    fingerprint: str
    found: int
    exclusions: tuple[tuple[str, int], ...]
    parts: tuple[PartSummary, ...]
    patient_ids: bool
    patients: tuple[tuple[str, str, int, int], ...]
    lock_digest: str
    fractions: tuple[int, int, int]
    split_seed: int
    split_file: str = ""
    easing: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    near_sealed: int = 0
    side: int = 50


# --- studies and trials ---------------------------------------------------------------------------------------------


BEST_EPOCH = "best_epoch"
"""User attribute of every trial that a launch has brought to an end other than a failure; 0 where it has no value."""
BY_PATIENT = "by_patient"
"""User attribute of a trial: how much each validation patient moves its objective (``statistics.objectives``), where it
was asked for; None where they are too few."""
TRAINED_AS = "trained_as"
"""User attribute of the same trials: study and number. One that was copied has those of the trial it is a copy of."""


@dataclass(frozen=True)
class TrialResult:
    """One trial as the database has it.

    Attributes:
        number: its number in the study, from 0.
        state: "COMPLETE", "PRUNED", "FAIL", "RUNNING" or "WAITING".
        value: the objective at its best epoch; None where no epoch ended.
        params: by name.
        curve: objective after each epoch, as (epoch from 1, value).
        started, finished: UTC; None where unknown.
        attributes: user attributes (best_epoch, seconds, device, parameters, peak_memory, seed, worker, failure ...).
    """

    number: int
    state: str
    value: float | None
    params: dict[str, ParamValue]
    curve: tuple[tuple[int, float], ...]
    started: datetime | None
    finished: datetime | None
    attributes: dict[str, Any]

    @property
    def by_hand(self) -> bool:
        """Whether it was added to the study, or told its value, by somebody else than the launch that trains."""
        return self.state in ("COMPLETE", "PRUNED") and BEST_EPOCH not in self.attributes


@dataclass(frozen=True)
class StudySummary:
    """One Optuna study: one model's search."""

    name: str
    model: str
    definition: dict[str, Any]  # StudyDefinition as stored: objective, epochs, split digest, precision, ...
    space: dict[str, dict[str, Any]]  # parameter -> {"kind", "low", "high", "log"} or {"kind", "choices"}
    trials: tuple[TrialResult, ...]
    best: int | None  # number of the best trial, None where no trial is COMPLETE
    default: int | None  # number of the trial of the default configuration
    importance: dict[str, float] | None  # by parameter; None with too few complete trials
    settings: dict[str, Any] = field(default_factory=dict)  # sampler, pruner, seed, workers of the last launch
    taken_over: int = 0  # trials of an older study that the sampler learns of; they are not among these


# --- the plan and its openings --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnalysisPlan:
    """All that is decided before a test row is read; its digest is stored before the opening.

    Attributes:
        study: the name of the comparison.
        statistics: name of each statistic that will be computed, primary first.
        draws: of patients, behind the bands of curves; statistics_seed their seed.
        settings: folds, views, epochs, precision, versions and whatever else shapes the numbers.
        margin: difference of AUC that is taken to be of no consequence; None for no such claim.
        ensemble: None where one configuration or two folds are all there is, and in plans from before there was any.
        neighbours: None where few patches have any, and in plans from before there was any.
    """

    study: str
    fingerprint: str
    lock_digest: str
    models: tuple[FinalModel, ...]
    baselines: tuple[str, ...]
    primary: str
    statistics: tuple[str, ...]
    draws: int
    statistics_seed: int
    settings: dict[str, Any]
    margin: float | None = None
    ensemble: Ensemble | None = None
    neighbours: Neighbours | None = None


@dataclass(frozen=True)
class HostLent:
    """A host that a launch may place workers on.

    Attributes:
        host: its name.
        slots: workers that it holds.
        reason: why it gets no trials; None where it does.
    """

    host: str
    slots: int
    reason: str | None = None


@dataclass(frozen=True)
class Terms:
    """What all models of a comparison have in common, so that a difference between them is none of these.

    Attributes:
        precision: "fp32" or "bf16".
        preprocess: kind of preprocessing.
        threads: of each worker; 0 where it was not stored, in comparisons of earlier versions.
    """

    precision: str
    preprocess: str
    threads: int


@dataclass(frozen=True)
class Opening:
    """One reading of the sealed rows, recorded before it happened."""

    study: str
    plan_digest: str
    opened_at: datetime  # UTC
    finished_at: datetime | None
    reason: str  # "" for the first, the user's words for another
    by: str  # host and process, for the log
    patches: int


@dataclass(frozen=True)
class Look:
    """Sealed patches that were seen in another way than by an opening.

    Attributes:
        kind: "exploration" (before the split was drawn) or "prediction" (after the opening).
        words: how, as a part of a sentence.
        patches: how many of the sealed ones.
    """

    kind: str
    words: str
    patches: int
    by: str  # host and process, for the log
    looked_at: datetime  # UTC


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of every model on one set of patches (the test rows, or the development rows out of fold).

    Attributes:
        names, patients: (N,) str; patients "" where unknown.
        x, y: (N,) int64 position on the slide, -1 where unknown.
        labels: (N,) int64, 1 is IDC.
        logits: entry -> (N,) final score before temperature (mean logit over views and members). Entries are
            "cnn" (the chosen configuration), "cnn:default" (where another was chosen), "colour histogram", "majority".
        probabilities: entry -> (N,) after temperature.
        members: entry -> (N, M) logit of each member (mean over views), for models only.
        thresholds: entry -> threshold on the probability.
        brightness: (N,) mean of the pixels in [0, 255].
        haematoxylin, eosin: (N,) mean optical density after colour deconvolution.
        near_white: (N,) bool.
    """

    names: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    logits: dict[str, Floats]
    probabilities: dict[str, Floats]
    members: dict[str, Floats]
    thresholds: dict[str, float]
    brightness: Floats
    haematoxylin: Floats
    eosin: Floats
    near_white: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A patch that the report shows, as a file beside it.

    Attributes:
        kind: "development" (example of its class), "false positive", "false negative", "disagreement", "suspicious".
        entry: the model that it is about; "" for none.
        picture, heatmap: PNG files; the second of Grad-CAM over the patch, where there is one.
    """

    kind: str
    entry: str
    name: str
    patient: str
    label: int
    probability: float | None
    picture: Path
    heatmap: Path | None


@dataclass(frozen=True, eq=False)
class Disturbed:
    """Scores of some development patches, as they are and under small changes, by members that did not know them.

    Attributes:
        changes: K of them, in words.
        logits: (K + 1, n) before temperature; the first row without a change.
        labels, patients: (n,).
        seconds: that it took.
    """

    changes: tuple[str, ...]
    logits: Floats
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    seconds: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that the report is made of; gathered from the database and ``runs/NAME`` alone."""

    name: str
    data: DataSummary
    studies: tuple[StudySummary, ...]
    plan: AnalysisPlan
    plan_digest: str
    frozen_at: datetime
    frozen_first: bool  # whether the plan came before every opening, by their places in the chain of records
    openings: tuple[Opening, ...]  # every reading of these test patches, under any name, oldest first
    chain_head: str  # newest link of the chain of records (studies.ledger.chain)
    test: Predictions
    out_of_fold: dict[str, Predictions]  # model, or "ensemble" -> its development rows, entries as in test
    examples: tuple[Example, ...]
    environment: dict[str, str]  # versions, hardware, commit, commands
    broken: tuple[str, ...] = ()  # what was changed after it was recorded, in words
    elsewhere: tuple[tuple[str, bool], ...] = ()  # comparisons that hold these test patients, and if they chose by them
    looks: tuple[Look, ...] = ()  # at these test patches, other than openings
    tissue: dict[str, Path] = field(default_factory=dict)  # test patient -> picture of the slide, where one was kept
    speeds: Speeds | None = None  # of the finalists' networks; None where they were not measured
    measured: tuple[Floats, Floats] | None = None  # (N, 5) of development and of test patches: findings.measured
    disturbed: Mapping[str, Disturbed] = field(default_factory=dict)  # model -> scores under small changes
    later: tuple[str, ...] = ()  # what the studies hold that the plan did not know, in words
