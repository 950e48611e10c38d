"""What the functions of ``search.api`` return: plain records, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from studies.exploration.finding import Finding


@dataclass(frozen=True)
class Exploration:
    """What ``explore`` leaves.

    Attributes:
        study: name of the comparison.
        page: exploration.html.
        document: exploration.json, with every number of the page.
        findings: in the order of the page.
    """

    study: str
    page: Path
    document: Path
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Best:
    """The best trial of a study.

    Attributes:
        trial: its number.
        value: of the objective, on the validation patients; the largest of many, so better than a test will be.
        parameters: of its configuration, by name.
    """

    trial: int
    value: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """How the study of one model stands.

    Attributes:
        name: the comparison's, a dash, the model's.
        model: that is searched.
        objective: score that is maximised.
        trials: how many by state: COMPLETE, PRUNED, FAIL, RUNNING, WAITING.
        finished: COMPLETE, PRUNED and FAIL together.
        wanted: finished trials in the end, by the last launch; None where none has said it.
        best: None where no trial is COMPLETE.
        failures: how many trials failed, by their reason.
        seconds: of all workers together: used, waiting, saved_by_pruning, saved_by_cache.
        lessons: what the search teaches for the next one.
    """

    name: str
    model: str
    objective: str
    trials: Mapping[str, int]
    finished: int
    wanted: int | None
    best: Best | None
    failures: Mapping[str, int]
    seconds: Mapping[str, float]
    lessons: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """What ``launch`` leaves.

    Attributes:
        study: name of the comparison.
        folder: of its results.
        studies: one a model, also of earlier launches.
    """

    study: str
    folder: Path
    studies: tuple[Study, ...]


@dataclass(frozen=True)
class Estimate:
    """A metric on the test patients.

    Attributes:
        value: None where it is not defined, as an AUC of one class.
        low, high: its 95 % interval over patients; None where there is none.
        reason: why there is none; "" where there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True)
class Model:
    """A final model on the test split.

    Attributes:
        name: of the model.
        folder: what ``predict`` and ``export`` take as ``model``.
        test: metric -> its estimate; the keys are those of report.json.
        threshold: probability from which on a patch is called IDC.
    """

    name: str
    folder: Path
    test: Mapping[str, Estimate]
    threshold: float


@dataclass(frozen=True)
class Report:
    """What ``finalize`` and ``report`` leave.

    Attributes:
        study: name of the comparison.
        folder: of its results; what ``predict`` takes as ``model`` where the ensemble is the final one.
        page: report.html.
        document: report.json, with every number of the page.
        headline: the verdict in a sentence.
        winner: the model that the verdict names; None where it finds no difference, or none that can be claimed.
        openings: how often these test patches were read.
        models: by name, each best configuration's.
        notes: what a reader has to know beside it.
    """

    study: str
    folder: Path
    page: Path
    document: Path
    headline: str
    winner: str | None
    openings: int
    models: Mapping[str, Model]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What ``predict`` says of N patches, in the order in which they were read.

    Attributes:
        columns: name -> (N,) as the table has it: ``probability`` float64 in [0, 1], ``predicted`` 0 or 1, ``distance``
            and others. What is not known is None among text, NaN among numbers.
        path: of the table; None where none was asked for.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    path: Path | None

    def __len__(self) -> int:
        """N."""
        return len(self.columns.get("probability", ()))


@dataclass(frozen=True)
class Export:
    """What ``export`` leaves.

    Attributes:
        file: the model.
        card: its model card.
        patches: development patches on which both were compared.
        logit, probability: the largest difference of each from PyTorch's.
    """

    file: Path
    card: Path
    patches: int
    logit: float
    probability: float
