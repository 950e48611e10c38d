"""Every number of the report, computed once: ``ReportData`` in, ``Findings`` out.

``report.json`` is a ``Findings`` written down, and the report shows nothing that is not in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studies.final_models import CandidateResult, FinalModel, Fit, Gain
from studies.findings.closer import Closer, look_closer
from studies.findings.deployed import Deployed, deployed
from studies.findings.ensemble import CONTROL, ENSEMBLE, EnsembleFindings, find_ensemble
from studies.findings.gain import gained
from studies.findings.neighbours import NEIGHBOURS, NeighboursFindings, find_neighbours
from studies.findings.retrained import OvertuningRow, as_shown, by_part, of_validation, out_of_fold, overtuning
from studies.findings.searches import SearchFindings, find_search
from studies.findings.slides import SlideNumbers, numbers_of, of_test_split
from studies.findings.verdict import Verdict, judge
from studies.findings.weaknesses import Weakness, about_baselines, about_changes, about_estimands, weaknesses
from studies.records import AnalysisPlan, Predictions, ReportData
from studies.statistics import curves
from studies.statistics.calibration import ReliabilityBin, calibration_line, reliability
from studies.statistics.comparison import Agreement, Comparison, Contestant, agreement, compare_all
from studies.statistics.estimands import Estimands, estimands
from studies.statistics.metrics import (
    PLANNED,
    Confusion,
    Estimate,
    Sampled,
    auc,
    confusion,
    estimate,
    measure,
    probability_errors,
)
from studies.statistics.resampling import Floats, Ints, Resampling, resample
from studies.statistics.subgroups import PatientRow, Subgroup, by_patient, subgroups


@dataclass(frozen=True)
class ScoreFindings:
    """One score on the test split: a model's, its default configuration's, or a baseline's.

    Attributes:
        test: metric -> value with its 95 % interval over patients; keys as in ``statistics.METRICS``.
        confusion: counts at the threshold.
        threshold: at or above it a patch is called IDC.
        share_called: share of test patches that are called IDC.
    """

    test: dict[str, Estimate]
    confusion: Confusion
    threshold: float
    share_called: float


@dataclass(frozen=True)
class CalibrationFindings:
    """Quality of the probabilities, before or after the division by the temperature."""

    metrics: dict[str, Estimate]
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class CurveFindings:
    """Curves with pointwise 95 % bands over patients.

    Attributes:
        operating_point: (false-positive rate, sensitivity) at the frozen threshold; None with one class only.
    """

    roc: curves.Curve
    precision_recall: curves.Curve
    sweep: curves.Sweep
    net_benefit: curves.Curve
    operating_point: tuple[float, float] | None


@dataclass(frozen=True)
class ModelFindings(ScoreFindings):
    """One model's final score on the test split, and how it came about.

    Attributes:
        threshold_interval: 95 % interval of the threshold over patients; None where it is not known.
        out_of_fold: AUC, average precision, balanced accuracy at the frozen threshold and Brier score of the
            development rows' out-of-fold predictions, the basis of every choice.
        out_of_fold_by_part: the same AUC of training and of validation patients apart, by whom the search chose; empty
            where patients are unknown.
        of_validation: share of these rows that are of validation patients; None where patients are unknown.
        gain: over the default configuration, out of fold; None where it is not known. gained: in a sentence.
        gained_code: of that sentence's kind; "" where there is none.
        member_test_auc: AUC on the test split of each member alone.
        member_spread: their standard deviation, the spread that training alone makes; None below two members.
        overtuning: one row a candidate configuration.
        calibration_before, calibration_after: of the mean of the members, on the test split.
    """

    temperature: float
    threshold_interval: tuple[float, float] | None
    threshold_rule: str
    weights: str
    chosen: str
    candidates: tuple[CandidateResult, ...]
    out_of_fold: dict[str, float | None]
    out_of_fold_by_part: dict[str, float | None]
    of_validation: float | None
    gain: Gain | None
    gained: str
    gained_code: str
    member_test_auc: tuple[float, ...]
    member_spread: float | None
    overtuning: tuple[OvertuningRow, ...]
    calibration_before: CalibrationFindings
    calibration_after: CalibrationFindings
    curves: CurveFindings


@dataclass(frozen=True)
class TestSplit:
    """What the test split holds.

    Attributes:
        patients: 0 where ids are unknown.
        effective_patients: patients of equal weight that would tell as much about the rarer class.
        intervals: whether there are patients enough for any interval.
        one_class_patients: patients whose test patches are all IDC or all not; they have no AUC of their own.
        band_draws, undefined_draws: draws of patients behind the bands, 0 where there are none, and how many of these
            left out all patients of one class, so that no curve is defined on them.
    """

    patches: int
    idc: int
    prevalence: float
    patients: int
    effective_patients: float
    one_class_patients: int
    patient_ids: bool
    intervals: bool
    near_white: int
    band_draws: int
    undefined_draws: int


@dataclass(frozen=True)
class Findings:
    """Every number of the report.

    Attributes:
        models: chosen configuration of each model, by model name.
        defaults: default configuration, for models where another was chosen.
        baselines: by name.
        comparisons: every pair of models.
        margin: difference of AUC that was planned to be of no consequence; None without such a plan.
        ensemble: None where the plan has none.
        neighbours: likewise.
        deployed: what each finalist and the ensemble costs, beside how good it is.
        estimands: by model, over patches and over patients; empty where patients are unknown.
        agreement_by_class: for each pair "a / b", agreement on patches without (0) and with IDC (1).
        slides: of test patients, where the places of their patches are known.
        off_grid: test patients whose patches have places, but lie on no grid, and so on no slide.
        frozen_first: whether the plan was frozen before the first opening of these test patches.
        closer: explorations that no plan names.
        unplanned: statistics shown here that the frozen plan does not name.
    """

    schema: str
    study: str
    verdict: Verdict
    weaknesses: tuple[Weakness, ...]
    openings: int
    frozen_first: bool
    test_split: TestSplit
    models: dict[str, ModelFindings]
    defaults: dict[str, ScoreFindings]
    baselines: dict[str, ScoreFindings]
    comparisons: tuple[Comparison, ...]
    margin: float | None
    ensemble: EnsembleFindings | None
    neighbours: NeighboursFindings | None
    deployed: tuple[Deployed, ...]
    estimands: dict[str, Estimands]
    agreement_by_class: dict[str, dict[str, Agreement]]
    subgroups: tuple[Subgroup, ...]
    patients: tuple[PatientRow, ...]
    slides: tuple[SlideNumbers, ...]
    off_grid: tuple[str, ...]
    searches: dict[str, SearchFindings]
    closer: Closer
    unplanned: tuple[str, ...]


SCHEMA = "histotune-report/2"


def find(data: ReportData) -> Findings:
    """All numbers of the report; the same data and plan give the same numbers."""
    test, plan = data.test, data.plan
    resampling = resample(test.patients, test.labels, plan.draws, plan.statistics_seed)
    names = tuple(model.model for model in plan.models)
    logits = _tempered(test, plan)
    sampled = {entry: measure(test.labels, logits[entry], test.thresholds[entry], resampling) for entry in logits}
    scores = {entry: _score(test, entry, logits[entry], sampled[entry], resampling) for entry in logits}
    models = {model.model: _model(data, model, scores, resampling) for model in plan.models}
    entered = {
        name: _contestant(test, name, logits[name], sampled[name])
        for name in (*names, ENSEMBLE, CONTROL, NEIGHBOURS)
        if name in sampled
    }
    measured = {name: scores[name].test for name in entered}
    contestants = [entered[name] for name in names]
    comparisons = compare_all(test.labels, contestants, resampling)
    aucs = {entry: value for entry, score in scores.items() if (value := score.test["auc"].value) is not None}
    judged = {name: (logits[name], test.thresholds[name]) for name in names}
    over_patients = estimands(test.labels, judged, sampled, resampling)
    closer = look_closer(data, resampling)
    doubts = (
        *weaknesses(data, resampling),
        *about_baselines(aucs, names, plan.baselines),
        *about_estimands(over_patients),
        *about_changes(closer.robustness),
    )
    slides, off_grid = of_test_split(data)
    return Findings(
        schema=SCHEMA,
        study=data.name,
        verdict=judge(comparisons, [(name, scores[name].test["auc"]) for name in names], doubts, plan.margin),
        weaknesses=doubts,
        openings=len(data.openings),
        frozen_first=bool(data.openings) and data.frozen_first,
        test_split=_test_split(test, resampling),
        models=models,
        defaults={name: scores[f"{name}:default"] for name in names if f"{name}:default" in scores},
        baselines={name: scores[name] for name in plan.baselines if name in scores},
        comparisons=comparisons,
        margin=plan.margin,
        ensemble=find_ensemble(data, entered, measured, doubts, resampling),
        neighbours=find_neighbours(data, entered, measured, doubts, resampling),
        deployed=deployed(data),
        estimands=over_patients,
        agreement_by_class=_agreement_by_class(test.labels, contestants),
        subgroups=subgroups(test, names, plan.statistics_seed),
        patients=by_patient(test, names),
        slides=tuple(map(numbers_of, slides)),
        off_grid=off_grid,
        searches={study.name: find_search(study) for study in data.studies},
        closer=closer,
        unplanned=tuple(name for name in PLANNED if name not in plan.statistics),
    )


def _tempered(test: Predictions, plan: AnalysisPlan) -> dict[str, Floats]:
    """Entry -> (N,) logits of its probabilities: divided by its temperature, or as they are of a baseline."""
    control = None if plan.ensemble is None else plan.ensemble.control
    combined = {ENSEMBLE: plan.ensemble, CONTROL: control, NEIGHBOURS: plan.neighbours}
    of_control = {} if control is None else {part.entry: part.temperature for part in control.parts}
    temperatures = (
        {name: one.fit.temperature for name, one in combined.items() if one is not None}
        | of_control
        | {
            model.entry(candidate.label): model.fit_of(candidate.label).temperature
            for model in plan.models
            for candidate in model.candidates
        }
    )
    return {entry: logits / temperatures.get(entry, 1.0) for entry, logits in test.logits.items()}


def _score(
    test: Predictions, entry: str, logits: Floats, sampled: Mapping[str, Sampled], resampling: Resampling
) -> ScoreFindings:
    probabilities, threshold = test.probabilities[entry], test.thresholds[entry]
    found = {name: estimate(each, resampling) for name, each in sampled.items()}
    line = calibration_line(test.labels, logits, resampling)
    found["calibration_intercept"], found["calibration_slope"] = line
    return ScoreFindings(
        test=found,
        confusion=confusion(test.labels, probabilities, threshold),
        threshold=threshold,
        share_called=float(np.mean(probabilities >= threshold)),
    )


def _model(
    data: ReportData, model: FinalModel, scores: Mapping[str, ScoreFindings], resampling: Resampling
) -> ModelFindings:
    test, name = data.test, model.model
    score = scores[name]
    gained_code, gained_words = gained(model.gain, model.chosen)
    members = tuple(auc(test.labels, column) for column in test.members[name].T) if name in test.members else ()
    return ModelFindings(
        test=score.test,
        confusion=score.confusion,
        threshold=score.threshold,
        share_called=score.share_called,
        temperature=model.temperature,
        threshold_interval=_interval(model.fit_of(model.chosen)),
        threshold_rule=model.threshold_rule,
        weights=model.weights,
        chosen=model.chosen,
        candidates=as_shown(data, model),
        out_of_fold=out_of_fold(data.out_of_fold.get(name), name, model.threshold),
        out_of_fold_by_part=by_part(data, name, name),
        of_validation=of_validation(data, name),
        gain=model.gain,
        gained=gained_words,
        gained_code=gained_code,
        member_test_auc=members,
        member_spread=float(np.std(members, ddof=1)) if len(members) > 1 else None,
        overtuning=tuple(
            overtuning(data, model, candidate, _auc_of(scores, model.entry(candidate.label)))
            for candidate in model.candidates
        ),
        calibration_before=_calibration(test.labels, test.logits[name], resampling),
        calibration_after=_calibration(test.labels, test.logits[name] / model.temperature, resampling),
        curves=_curves(test, name, resampling),
    )


def _auc_of(scores: Mapping[str, ScoreFindings], entry: str) -> Estimate | None:
    return scores[entry].test["auc"] if entry in scores else None


def _interval(fit: Fit) -> tuple[float, float] | None:
    return None if fit.low is None or fit.high is None else (fit.low, fit.high)


def _calibration(labels: Ints, logits: Floats, resampling: Resampling) -> CalibrationFindings:
    sampled = probability_errors(labels, logits, resampling)
    metrics = {name: estimate(each, resampling) for name, each in sampled.items()}
    line = calibration_line(labels, logits, resampling)
    metrics["calibration_intercept"], metrics["calibration_slope"] = line
    return CalibrationFindings(metrics, reliability(labels, logits, resampling))


def _curves(test: Predictions, name: str, resampling: Resampling) -> CurveFindings:
    labels, logits, probabilities = test.labels, test.logits[name], test.probabilities[name]
    point = curves.operating_point(labels, probabilities, test.thresholds[name])
    return CurveFindings(
        roc=curves.roc(labels, logits, resampling),
        precision_recall=curves.precision_recall(labels, logits, resampling),
        sweep=curves.sweep(labels, probabilities, resampling),
        net_benefit=curves.net_benefit(labels, probabilities, resampling),
        operating_point=point if np.all(np.isfinite(point)) else None,
    )


def _contestant(test: Predictions, name: str, logits: Floats, sampled: Mapping[str, Sampled]) -> Contestant:
    right = (test.probabilities[name] >= test.thresholds[name]) == (test.labels == 1)
    return Contestant(name, logits, right, sampled)


def _agreement_by_class(labels: Ints, contestants: list[Contestant]) -> dict[str, dict[str, Agreement]]:
    found = {}
    for k, first in enumerate(contestants):
        for second in contestants[k + 1 :]:
            found[f"{first.name} / {second.name}"] = {
                str(label): agreement(first.right[labels == label], second.right[labels == label]) for label in (0, 1)
            }
    return found


def _test_split(test: Predictions, resampling: Resampling) -> TestSplit:
    _, place, counts = np.unique(test.patients, return_inverse=True, return_counts=True)
    idc = np.bincount(place, test.labels)
    bands = curves.has_bands(test.labels, resampling)
    return TestSplit(
        patches=len(test.labels),
        idc=int(test.labels.sum()),
        prevalence=float(test.labels.mean()),
        patients=len(counts) if resampling.known else 0,
        effective_patients=resampling.effective,
        one_class_patients=int(np.sum((idc == 0) | (idc == counts))) if resampling.known else 0,
        patient_ids=resampling.known,
        intervals=resampling.enough,
        near_white=int(test.near_white.sum()),
        band_draws=min(resampling.draws, curves.DRAWS) if bands else 0,
        undefined_draws=curves.undefined_draws(test.labels, resampling) if bands else 0,
    )
