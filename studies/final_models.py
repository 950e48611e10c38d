"""Retrained configurations as frozen dataclasses: what a plan says of each model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemberResult:
    """One retrained network: all development patients but one fold."""

    fold: int
    seed: int
    epochs: int
    seconds: float
    out_of_fold_auc: float | None  # on its held-out patients
    sha256: str  # of its weights file


@dataclass(frozen=True)
class Fit:
    """What turns the scores of a configuration into probabilities and calls, fitted to them out of fold.

    Attributes:
        temperature, threshold, rule: as of ``FinalModel``.
        low, high: 95 % interval of the threshold over patients; None where they are too few.
    """

    temperature: float
    threshold: float
    low: float | None
    high: float | None
    rule: str


@dataclass(frozen=True)
class Dropped:
    """Why a configuration was not retrained over all folds.

    Attributes:
        folds: after how many it was dropped.
        leader: label of the best configuration of them.
        behind: AUC of the leader minus its own, out of fold on these folds.
        standard_error: of that difference, over patients.
    """

    folds: int
    leader: str
    behind: float
    standard_error: float


@dataclass(frozen=True)
class Gain:
    """What a choice has gained, such as that of a configuration over the default one: AUC within folds, and their mean.

    Nested: for each fold the choice is the best one by all other folds, so that none is scored by the patients that it
    was made by.

    Attributes:
        chosen: label of the configuration, for each fold; or what is averaged, in words.
        value: mean over the folds of its AUC minus that of what it is compared with.
        low, high: 95 % interval over patients; None where there is none.
        reason: why there is no interval; "" where there is one.
        patients: of all folds; 0 where they are unknown.
        patches: likewise.
    """

    chosen: tuple[str, ...]
    value: float
    low: float | None
    high: float | None
    reason: str
    patients: int
    patches: int


@dataclass(frozen=True)
class CandidateResult:
    """One configuration, retrained over all folds, or over the first few where it was dropped.

    Attributes:
        label: "best", "default", "finalist-2" ...
        trial: number in the study.
        search_value: objective in the search (validation split, best epoch).
        out_of_fold_auc: of all out-of-fold predictions together (mean logit over the 8 views).
        fit: its own; None in plans from before each configuration had one, where all share that of the chosen one.
        dropped: where it was; its scores are then those of fewer patients than the others'.
    """

    label: str
    trial: int
    params: dict[str, bool | int | float | str]
    search_value: float
    epochs: int
    members: tuple[MemberResult, ...]
    out_of_fold_auc: float
    out_of_fold_balanced_accuracy: float
    fit: Fit | None = None
    dropped: Dropped | None = None


@dataclass(frozen=True)
class FinalModel:
    """What is put to the test for one model: its candidates, and the one that was chosen out of fold.

    Attributes:
        chosen: label of the chosen candidate.
        temperature: the mean logit is divided by it; fitted out of fold.
        threshold: on the probability after temperature; at or above it a patch is called IDC.
        threshold_rule: why it is that number, in words.
        gain: of the search over the default configuration; None where that was not retrained, and in plans from before.
    """

    model: str
    candidates: tuple[CandidateResult, ...]
    chosen: str
    temperature: float
    threshold: float
    threshold_rule: str
    weights: str  # "random", or where the pretrained layers come from, with their sha256
    gain: Gain | None = None

    def candidate(self, label: str) -> CandidateResult:
        """The candidate of this label."""
        return next(one for one in self.candidates if one.label == label)

    def entry(self, label: str) -> str:
        """What predictions call a candidate: the model where it is the chosen one, else "model:label"."""
        return self.model if label == self.chosen else f"{self.model}:{label}"

    def fit_of(self, label: str) -> Fit:
        """What the scores of a candidate are judged with: its own fit, where it has one."""
        return self.candidate(label).fit or Fit(self.temperature, self.threshold, None, None, self.threshold_rule)


@dataclass(frozen=True)
class Part:
    """A configuration that an ensemble averages.

    Attributes:
        times: how often; its weight is that over the sum of all.
        temperature: its own, by which its mean logit is divided first, so that all are on one scale.
    """

    model: str
    label: str
    times: int
    temperature: float


@dataclass(frozen=True)
class ControlPart:
    """A default configuration with other seeds, in the place of a part of the ensemble.

    Attributes:
        times: as often as that part; 0 in the place of what only ensembles of single folds average.
    """

    model: str
    times: int
    retrained: CandidateResult

    @property
    def entry(self) -> str:
        """What predictions call it."""
        return f"{self.model}:{self.retrained.label}"

    @property
    def temperature(self) -> float:
        """Its own."""
        assert self.retrained.fit is not None
        return self.retrained.fit.temperature


@dataclass(frozen=True)
class Control:
    """What the ensemble would be without a search.

    Attributes:
        parts: in the place of those of the ensemble; their mean is put to the test.
        fit: temperature and threshold of the mean, fitted out of fold.
        gain: of the ensemble over it, out of fold: each fold's ensemble is selected by the other folds, and held
            against a control of its own that averages as many networks of the same models, as often.
        others: further ones for these, where a fold's ensemble averages more or other models than the whole one.
        averaged: for each fold what its own control averages, in words; () in plans from before there were such, where
            the parts were the control of all folds.
    """

    parts: tuple[ControlPart, ...]
    fit: Fit
    gain: Gain
    others: tuple[ControlPart, ...] = ()
    averaged: tuple[str, ...] = ()

    @property
    def trained(self) -> tuple[ControlPart, ...]:
        """All that were trained for it."""
        return (*self.parts, *self.others)


@dataclass(frozen=True)
class Ensemble:
    """Retrained configurations of all models whose scores are averaged: put to the test beside single models.

    Attributes:
        rule: by which they were selected, in words.
        fit: temperature and threshold of the mean, fitted out of fold.
        single: the model that is the better one out of fold, with which it is compared; where a prediction may take so
            long, of those whose chosen configuration does not take longer.
        gain: over that model's chosen configuration; each fold's ensemble is chosen by the other folds.
        control: None where none was asked for, and in plans from before there was any.
        alone_within: whether the chosen configurations of all models take longer than that, so that it is the only one
            that may be final; never in plans from before single models were held to it.
    """

    parts: tuple[Part, ...]
    rule: str
    fit: Fit
    single: str
    gain: Gain
    control: Control | None = None
    alone_within: bool = False

    @property
    def chosen(self) -> bool:
        """Whether it is the final model of the comparison: by its nested gain over a single one, or as none may be."""
        return self.gain.value > 0 or self.alone_within


@dataclass(frozen=True)
class Neighbours:
    """A score that looks at the patches around one as well, put to the test beside the score that it is made of.

    It is a logistic model on three numbers of a patch: its own logit, the mean of its up to 8 neighbours' logits, and
    how many there are; logits are divided by ``temperature`` first.

    Attributes:
        of: entry of the score that it is made of: the ensemble where that was chosen, else the better single model.
        temperature: of that score.
        own, around, count: weights of the three.
        intercept: what is added.
        usual: neighbours of a development patch, in the mean.
        fit: temperature and threshold of the sum, fitted to out-of-fold scores.
        gain: over the score that it is made of; each fold by weights that were fitted to the others.
        step: of the development patches' grid, in the unit of their coordinates; None of earlier versions.
    """

    of: str
    temperature: float
    own: float
    around: float
    count: float
    intercept: float
    usual: float
    fit: Fit
    gain: Gain
    step: int | None = None
