"""What an exploration shows, in numbers: ``Explored`` in, ``ExplorationNumbers`` out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studies.exploration.explored import FLAGS, MEASURES, Explored, Scored, Strings
from studies.statistics.metrics import Estimate, auc, estimate, ranking
from studies.statistics.resampling import Floats, Ints, Resampling, effective_number, resample

CLASSES: Mapping[str, int] = {"IDC": 1, "not IDC": 0}
DARK = 1
"""Level up to which a patch is black to every network: pixels in 0 to 1, rounded, hold nothing above it."""


@dataclass(frozen=True)
class Totals:
    """The shown patches.

    Attributes:
        patients: None where unknown, like all below.
        with_idc, with_others: patients with patches of each class.
        one_class: patients with patches of one class only.
        single: patients with one patch.
        half: the fewest patients that together hold more than half of the patches.
        fewest, median, most: patches of a patient.
        effective: patients of equal weight that tell as much (``resampling.effective_number``).
    """

    patches: int
    idc: int
    share: float
    patients: int | None
    with_idc: int | None
    with_others: int | None
    one_class: int | None
    single: int | None
    half: int | None
    fewest: int | None
    median: float | None
    most: int | None
    effective: float | None


@dataclass(frozen=True)
class Quantiles:
    """Of one measure over one class."""

    lowest: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float
    highest: float


@dataclass(frozen=True)
class MeasureNumbers:
    """One measure.

    Attributes:
        title: with its unit.
        mean: by class.
        quantiles: by class.
        auc: with which the measure alone ranks IDC above the rest; below 0.5 IDC has the lower values.
        between_classes, between_patients: share of its variance that class or patient explain, 0 to 1; patients None
            where they are unknown.
    """

    title: str
    mean: dict[str, float]
    quantiles: dict[str, Quantiles]
    auc: float
    between_classes: float
    between_patients: float | None


@dataclass(frozen=True)
class ChannelNumbers:
    """Whether channels are in the order, and levels in the range, that is expected.

    Attributes:
        judged: patches whose colour says something: neither near-white nor near-black.
        red_over_green, blue_over_red: share of these in which one mean level exceeds the other; 0 where there are none.
        dark: patches without a level above ``DARK``.
    """

    judged: int
    red_over_green: float
    blue_over_red: float
    dark: int


@dataclass(frozen=True)
class FlagNumbers:
    """Patches that a rule of quality meets, and their share of each class; patients that have any, None if unknown."""

    title: str
    patches: int
    share: dict[str, float]
    patients: int | None


@dataclass(frozen=True)
class RepetitionNumbers:
    """Groups of patches that repeat each other.

    Attributes:
        groups: with two members or more.
        members: patches in them.
        surplus: patches that are left over when one of each group stays.
        across: groups over more than one patient; None where patients are unknown.
        contradicting: groups with both labels.
    """

    groups: int
    members: int
    surplus: int
    across: int | None
    contradicting: int


@dataclass(frozen=True)
class ScoreNumbers:
    """How far a simple model gets: AUC over all folds with its interval over patients, and fold by fold."""

    name: str
    auc: Estimate
    folds: tuple[float | None, ...]


@dataclass(frozen=True)
class DoubtNumbers:
    """Labels in doubt: how many of which class, among how many modelled patches."""

    by: str
    modelled: int
    doubted: int
    idc: int
    not_idc: int


@dataclass(frozen=True)
class PatientNumbers:
    """One patient: patches, mean of each measure, and patches that each rule of quality meets."""

    patient: str
    patches: int
    idc: int
    means: dict[str, float]
    flagged: dict[str, int]


@dataclass(frozen=True)
class ExplorationNumbers:
    """Every number of the page."""

    totals: Totals
    measures: dict[str, MeasureNumbers]
    channels: ChannelNumbers
    flags: dict[str, FlagNumbers]
    repetitions: dict[str, RepetitionNumbers]
    scores: tuple[ScoreNumbers, ...]
    doubts: DoubtNumbers | None
    patients: tuple[PatientNumbers, ...]


def summarise(explored: Explored, seed: int = 0) -> ExplorationNumbers:
    """Every number of the page; ``seed`` is that of the draws of patients."""
    unit = np.unique(explored.patients, return_inverse=True)[1] if explored.patient_ids else None
    return ExplorationNumbers(
        totals=_totals(explored.labels, unit),
        measures={name: _measure(explored, name, unit) for name in MEASURES},
        channels=_channels(explored),
        flags={name: _flag(explored, name, unit) for name in FLAGS},
        repetitions=_repetitions(explored, unit),
        scores=_scores(explored, seed),
        doubts=_doubts(explored),
        patients=() if unit is None else _patients(explored, unit),
    )


def _totals(labels: Ints, unit: Ints | None) -> Totals:
    known = (len(labels), int(labels.sum()), float(labels.mean()))
    if unit is None:
        return Totals(*known, *(None for _ in range(10)))
    sizes, idc = np.bincount(unit), np.bincount(unit, weights=labels)
    held = np.cumsum(np.sort(sizes)[::-1])  # by the largest patient, the two largest ...
    return Totals(
        *known,
        patients=len(sizes),
        with_idc=int(np.sum(idc > 0)),
        with_others=int(np.sum(idc < sizes)),
        one_class=int(np.sum((idc == 0) | (idc == sizes))),
        single=int(np.sum(sizes == 1)),
        half=int(np.sum(held <= len(labels) / 2)) + 1,
        fewest=int(sizes.min()),
        median=float(np.median(sizes)),
        most=int(sizes.max()),
        effective=effective_number(unit, labels),
    )


def _measure(explored: Explored, name: str, unit: Ints | None) -> MeasureNumbers:
    values, labels = explored.measures[name], explored.labels
    by_class = {title: values[labels == label] for title, label in CLASSES.items()}
    return MeasureNumbers(
        title=MEASURES[name],
        mean={title: float(own.mean()) for title, own in by_class.items()},
        quantiles={title: _quantiles(own) for title, own in by_class.items()},
        auc=auc(labels, values),
        between_classes=share_between(values, labels),
        between_patients=None if unit is None else share_between(values, unit),
    )


def _quantiles(values: Floats) -> Quantiles:
    return Quantiles(*(float(one) for one in np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])))


def share_between(values: Floats, groups: Ints) -> float:
    """Share of the variance of (N,) values that lies between groups, 0 to 1.

    Epsilon squared (Kelley 1935): eta squared without what groups explain by chance, as small ones would explain much.
    """
    counts = np.bincount(groups)
    present = int(np.sum(counts > 0))
    total = float(np.sum((values - values.mean()) ** 2))
    if total == 0 or present in (1, len(values)):
        return 0.0
    means = np.bincount(groups, weights=values) / np.maximum(counts, 1)
    within = float(np.sum((values - means[groups]) ** 2))
    return max(0.0, 1 - within / (len(values) - present) * (len(values) - 1) / total)


def _channels(explored: Explored) -> ChannelNumbers:
    judged = ~explored.flags["near_white"] & ~explored.flags["near_black"]
    red, green, blue = (explored.measures[name][judged] for name in ("red", "green", "blue"))
    count = max(1, len(red))
    return ChannelNumbers(
        judged=len(red),
        red_over_green=float(np.sum(red > green) / count),
        blue_over_red=float(np.sum(blue > red) / count),
        dark=int(np.sum(explored.highest <= DARK)),
    )


def _flag(explored: Explored, name: str, unit: Ints | None) -> FlagNumbers:
    met, labels = explored.flags[name], explored.labels
    return FlagNumbers(
        title=FLAGS[name],
        patches=int(met.sum()),
        share={title: float(met[labels == label].mean()) for title, label in CLASSES.items()},
        patients=None if unit is None else len(np.unique(unit[met])),
    )


def _repetitions(explored: Explored, unit: Ints | None) -> dict[str, RepetitionNumbers]:
    """Under "exact" groups of equal pixels, under "near" groups of distinct pictures that are near each other."""
    first = np.unique(explored.exact, return_index=True)[1]
    everyone = np.arange(len(explored.labels))
    return {
        "exact": _groups(explored.exact, everyone, explored.labels, unit),
        "near": _groups(explored.near, first, explored.labels, unit),
    }


def _groups(groups: Ints, rows: Ints, labels: Ints, unit: Ints | None) -> RepetitionNumbers:
    """Of the groups of these rows."""
    own = np.unique(groups[rows], return_inverse=True)[1]
    sizes, idc = np.bincount(own), np.bincount(own, weights=labels[rows])
    several = sizes > 1
    across = None
    if unit is not None:
        pairs = np.unique(np.stack([own, unit[rows]], axis=1), axis=0)  # a group and a patient in it
        across = int(np.sum(np.bincount(pairs[:, 0]) > 1))
    return RepetitionNumbers(
        groups=int(several.sum()),
        members=int(sizes[several].sum()),
        surplus=int((sizes[several] - 1).sum()),
        across=across,
        contradicting=int(np.sum((idc > 0) & (idc < sizes))),
    )


def _scores(explored: Explored, seed: int) -> tuple[ScoreNumbers, ...]:
    if not explored.scored:
        return ()
    labels = explored.labels[explored.modelled]
    resampling = resample(explored.patients[explored.modelled], labels, draws=0, seed=seed)
    found = []
    for one in explored.scored:
        whole = _auc(labels, one.logits, resampling)
        folds = tuple(_fold_auc(labels, one, fold) for fold in range(int(one.fold.max()) + 1))
        found.append(ScoreNumbers(one.name, whole, folds))
    return tuple(found)


def tells_classes_apart(labels: Ints, patients: Strings, logits: Floats, seed: int = 0) -> bool:
    """Whether the interval of a model's AUC lies above 0.5: the doubt of one that guesses says nothing of a label.

    Args:
        labels: (M,) 0 or 1.
        patients: (M,) ids, "" where they are unknown.
        logits: (M,) of IDC, out of fold.
        seed: as in ``summarise``, so that the page shows the same interval.
    """
    found = _auc(labels, logits, resample(patients, labels, draws=0, seed=seed))
    least = found.value if found.low is None else found.low
    return least is not None and least > 0.5


def _auc(labels: Ints, logits: Floats, resampling: Resampling) -> Estimate:
    return estimate(ranking(labels, logits, resampling)["auc"], resampling)


def _fold_auc(labels: Ints, one: Scored, fold: int) -> float | None:
    inside = one.fold == fold
    value = auc(labels[inside], one.logits[inside])
    return value if np.isfinite(value) else None


def _doubts(explored: Explored) -> DoubtNumbers | None:
    if explored.doubts is None:
        return None
    doubted, labels = explored.doubts.doubted, explored.labels[explored.modelled]
    counts = np.bincount(labels[doubted], minlength=2)
    return DoubtNumbers(explored.doubts.by, len(labels), int(doubted.sum()), int(counts[1]), int(counts[0]))


def _patients(explored: Explored, unit: Ints) -> tuple[PatientNumbers, ...]:
    """Each patient, in the order of ids."""
    ids, sizes = np.unique(explored.patients), np.bincount(unit)
    idc = np.bincount(unit, weights=explored.labels).astype(int)
    means = {name: np.bincount(unit, weights=explored.measures[name]) / sizes for name in MEASURES}
    flagged = {name: np.bincount(unit, weights=explored.flags[name]).astype(int) for name in FLAGS}
    return tuple(
        PatientNumbers(
            patient=str(patient),
            patches=int(sizes[place]),
            idc=int(idc[place]),
            means={name: float(values[place]) for name, values in means.items()},
            flagged={name: int(counts[place]) for name, counts in flagged.items()},
        )
        for place, patient in enumerate(ids)
    )
