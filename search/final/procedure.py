"""From studies to a report: candidates -> members -> final models -> frozen plan -> one opening -> report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_utils.colour.augment import VIEWS
from data_utils.split.draw import folds
from data_utils.split.prepare import DevelopmentSet, load_development
from models._weights import Weights
from search.command.environment import environment
from search.command.last_words import LastWords
from search.command.settings import FinalizeSettings
from search.command.settings_file import write_settings
from search.command.signals import Signals
from search.command.terminal import LOGGER, log_to, say
from search.comparison import (
    ENVIRONMENT_FILE,
    FINALIZE_FILE,
    LOGS,
    OUT_OF_FOLD,
    Comparison,
)
from search.errors import UsageError
from search.final.baselines import planned_baselines
from search.final.beginning import Final, begin, planned, used
from search.final.contents import write_comparison_report
from search.final.control import (
    chosen_in_folds,
    conclude_control,
    control_candidates,
    control_parts,
    frozen_control,
    further_candidates,
)
from search.final.ensemble import Taken, above_limit, assemble, taken_by, why_no_ensemble, within_time
from search.final.entrants import entrants_of
from search.final.examples import save_development_examples
from search.final.likeness import measures
from search.final.neighbours import surround, why_none
from search.final.opening import check_decided, check_reopening, open_test, publish, withdraw
from search.final.plan import (
    ABOVE_LIMIT,
    FOLD_SIZES,
    MOST_TIME,
    RACE,
    RECORDS,
    TRAINED_AGAIN,
    TRIALS,
    decides_the_same,
    digest_of,
    fold_sizes,
    frozen,
    last_plan,
    records_of,
    trained_otherwise,
    trials_of,
)
from search.final.race import RULE, Race, Rows
from search.final.retraining import Retrained, conclude
from search.final.scored import ensemble_out_of_fold, patients_of, scored_out_of_fold
from search.final.searched import context_of, describe_weights
from search.final.speeds import keep_speeds, speeds_of
from search.final.training import train_members
from search.training.jobs import FeatureStore, WorkerContext
from search.trials.launches import Presence
from search.trials.marks import check_folder
from studies.files import naming, write_whole
from studies.final_models import Ensemble, FinalModel
from studies.findings.measured import save_measures
from studies.findings.neighbours import NEIGHBOURS
from studies.findings.predictions import save_predictions
from studies.records import AnalysisPlan, to_json
from studies.speeds import Speeds
from studies.statistics.calibration import sigmoid
from studies.statistics.ensembles import unbounded
from studies.statistics.metrics import PLANNED, PRIMARY
from studies.storage.patience import interrupt

STATISTICS_SEED = 0
Written = tuple[Path, tuple[str, ...]]


def finalize(settings: FinalizeSettings, signals: Signals) -> Written:
    """Runs all steps.

    Returns:
        The report, and what its reader has to know beside it, a line each.

    Raises:
        DataError, ModelError, StudyError, SearchError: see where each is raised.
        Interrupted: a signal came; what was finished is kept.
    """
    comparison = Comparison.open(settings.common, patience=settings.storage_timeout)
    if not comparison.models():  # before its folder is made for the log
        raise UsageError(f"no study of {comparison.name} is in the database: begin with python -m search.launch")
    interrupt(comparison.storage.engine, signals.check)
    check_folder(comparison)  # before the patches are read; check_reopening asks the rest
    log = log_to(comparison.folder / LOGS, "finalize", settings.common.log_level)
    LOGGER.info("%s", signals.go_on)
    with (
        LastWords(signals.go_on, log) as last_words,
        Presence(comparison.ledger, comparison.name),  # as long as it works, search.clean keeps away
        comparison.finalized_alone(),
    ):
        return _finalize(begin(settings, comparison, signals, last_words))


def _finalize(final: Final) -> Written:
    settings, signals = final.settings, final.signals
    check_reopening(final.comparison, settings.reopen, planned(final))
    withdraw(final.comparison)
    write_settings(final.comparison.folder / FINALIZE_FILE, used(final), signals.go_on)
    development = load_development(final.prepared.development)
    fold = folds(final.prepared.lock, development)
    before = last_plan(final.comparison)
    assert development.labels is not None
    rows = Rows(development.labels, patients_of(development), fold)
    context = _context(final, rows)
    retrained = [
        replace(one, final=frozen(one.final, None if before is None else before[0]))
        for one in _retrain(final, context, rows)
    ]
    known = None if before is None else before[0]
    speeds = _speeds(final, retrained, known)
    ensemble = _ensemble(final, context, retrained, rows, speeds, known)
    weights = next(filter(None, context.weights.values()), None)  # of the one model that has any
    decided = _decide(final, retrained, rows, development, ensemble, weights, known)
    check_decided(final.comparison, decided, settings.reopen)  # before anything that a report reads is written over
    _keep_development(final, development, retrained, ensemble)
    above = _above_limit(final, retrained, ensemble, taken_by(speeds, rows.folds))
    plan, plan_digest = _plan(final, development, decided, fold, above)
    entrants = entrants_of(final, plan, plan_digest)
    opened = open_test(
        final.comparison,
        final.prepared,
        plan,
        plan_digest,
        entrants,
        reopen=settings.reopen,
        device=final.crew.device,
        weights=weights,
        progress=lambda done, of: LOGGER.info("test predictions: %d of %d members", done, of),
    )
    publish(final.comparison.folder, final.prepared, plan, entrants, final.crew.device)
    read = "were read under it" if opened else "had been read under it before; nothing was read again"
    say(final.console, f"plan {plan_digest[:12]}: {final.prepared.test_patches} test patches {read}")
    keep_speeds(final.comparison.folder, speeds)
    report, notes = write_comparison_report(final.comparison)
    for line in (*notes, f"report: {report}"):
        say(final.console, line)
    return report, notes


def _context(final: Final, rows: Rows) -> WorkerContext:
    """What workers are given to train members."""
    fold_file = final.comparison.folder / "data" / "folds.npy"
    with naming(fold_file):
        np.save(fold_file, rows.fold, allow_pickle=False)
    searched = context_of(
        final.comparison,
        final.prepared,
        final.studies,
        device=final.crew.device,
        threads=final.crew.threads,
        weights=final.settings.vgg16_weights,
    )
    features = FeatureStore.below(final.settings.common.runs, final.settings.worker.feature_cache_gb)
    return replace(searched, objective="auc", folds=fold_file.resolve(), features=features)


def _retrain(final: Final, context: WorkerContext, rows: Rows) -> list[Retrained]:
    """Trains the members that are missing, then concludes for each model."""
    folder = final.comparison.folder
    races = {model: Race(wanted, folder, rows) for model, wanted in final.wanted.items()} if final.races else {}
    candidates = [candidate for wanted in final.wanted.values() for candidate in wanted]
    train_members(final, context, rows.folds, candidates, list(races.values()))
    return [
        conclude(
            wanted, folder, rows=rows, race=races.get(model), weights=describe_weights(model, context.weights[model])
        )
        for model, wanted in final.wanted.items()
    ]


def _plan(
    final: Final, development: DevelopmentSet, decided: AnalysisPlan, fold: npt.NDArray[np.int64], above: str
) -> tuple[AnalysisPlan, str]:
    """The plan and its digest: that of the last opening, where nothing else is decided now."""
    before = last_plan(final.comparison)
    made_in = final.comparison.folder / ENVIRONMENT_FILE
    if before is not None and decides_the_same(before[0], decided) and not _takes_more(final, before[0]):
        if not made_in.exists():  # without it no report could be written
            _write_environment(final)
        return before
    _write_environment(final)
    records = records_of(final.comparison.folder, [model.model for model in decided.models])
    about = {TRIALS: trials_of(final.studies), RECORDS: records, FOLD_SIZES: fold_sizes(development, fold)}
    if decided.neighbours is None and (reason := why_none(development)):
        about[NEIGHBOURS] = reason
    if before is not None and (others := trained_otherwise(before[0], decided)):
        about[TRAINED_AGAIN] = others
    if above:
        about[ABOVE_LIMIT] = above
    plan = replace(decided, settings={**decided.settings, **about})
    return plan, digest_of(plan)


def _takes_more(final: Final, before: AnalysisPlan) -> bool:
    """Whether a reopening is to take trials that the plan before did not know."""
    return final.settings.reopen is not None and before.settings.get(TRIALS, {}) != trials_of(final.studies)


def _write_environment(final: Final) -> None:
    content = {**environment(), "command": final.signals.go_on}
    write_whole(final.comparison.folder / ENVIRONMENT_FILE, to_json(content))


def _speeds(final: Final, retrained: Sequence[Retrained], before: AnalysisPlan | None) -> Speeds:
    return speeds_of(
        final.comparison.folder,
        final.wanted,
        side=final.prepared.lock.side,
        device=final.crew.device,
        precision=final.precision,
        shares={one.final.model: not one.final.weights.startswith("none") for one in retrained},
        reported=before is not None,
    )


def _ensemble(
    final: Final,
    context: WorkerContext,
    retrained: Sequence[Retrained],
    rows: Rows,
    speeds: Speeds,
    before: AnalysisPlan | None,
) -> Ensemble | None:
    """Of the same models that of the plan before; with its control where that is asked for."""
    most = final.settings.max_ms_per_patch
    within = unbounded if most is None else within_time(speeds, rows.folds, most)
    known = before is not None and _averages_of(before) == (tuple(one.final for one in retrained), most)
    ensemble = before.ensemble if before is not None and known else assemble(retrained, rows, within)
    if ensemble is None:
        if final.settings.control or most is not None:
            why = why_no_ensemble(retrained, rows, taken_by(speeds, rows.folds), most)
            say(final.console, f"there is no ensemble and no control, as {why}")
        return None
    if not known:
        ensemble = replace(ensemble, rule=ensemble.rule + _in_time(most))
    if not final.settings.control:
        return replace(ensemble, control=None)
    folder, candidates = final.comparison.folder, control_candidates(ensemble, final.wanted)
    if ensemble.control is not None:
        train_members(final, context, rows.folds, candidates)
        if frozen_control(ensemble, control_parts(ensemble, candidates, folder, rows)):
            return ensemble
    chosen = chosen_in_folds(retrained, rows, within)
    candidates += further_candidates(ensemble, chosen, final.wanted)
    train_members(final, context, rows.folds, candidates)
    control = conclude_control(ensemble, candidates, chosen, folder, rows=rows, retrained=retrained)
    return replace(ensemble, control=control)


def _above_limit(final: Final, retrained: Sequence[Retrained], ensemble: Ensemble | None, taken: Taken) -> str:
    """What ``above_limit`` says, which is told."""
    most = final.settings.max_ms_per_patch
    above = "" if most is None else above_limit(retrained, ensemble, taken, most)
    if above:
        say(final.console, above)
    return above


def _in_time(most: float | None) -> str:
    return "" if most is None else f", within {most:g} ms a patch"


def _averages_of(plan: AnalysisPlan) -> tuple[tuple[FinalModel, ...], float | None]:
    """What decides which ensemble a plan has."""
    return plan.models, plan.settings.get(MOST_TIME)


def _decide(
    final: Final,
    retrained: Sequence[Retrained],
    rows: Rows,
    development: DevelopmentSet,
    ensemble: Ensemble | None,
    weights: Weights | None,
    before: AnalysisPlan | None,
) -> AnalysisPlan:
    """All that shapes the numbers of the report; of the same models, what is beside them is as planned before."""
    models = tuple(one.final for one in retrained)
    most = final.settings.max_ms_per_patch
    if before is not None and _averages_of(before) == (models, most):
        neighbours, baselines = before.neighbours, before.baselines
    else:
        neighbours, baselines = surround(retrained, rows, development, ensemble), planned_baselines(weights)
    settings: dict[str, Any] = {
        "planned": planned(final),
        "folds": rows.folds,
        "views": VIEWS,
        "score": "mean logit over views and members, divided by the temperature",
        "precision": final.precision,
        "objective": {study.model: study.definition["objective"] for study in final.studies},
        "choice": "out-of-fold AUC among the candidates",
    }
    # What follows is named where it is there alone: plans from before there was any keep their digest.
    if final.preprocessing.kind != "none":
        settings["preprocessing"] = final.preprocessing.words
    if final.races:
        settings[RACE] = RULE
    if most is not None:
        settings[MOST_TIME] = most
    return AnalysisPlan(
        study=final.comparison.name,
        fingerprint=final.prepared.fingerprint,
        lock_digest=final.prepared.lock.digest,
        models=models,
        baselines=baselines,
        primary=PRIMARY,
        statistics=PLANNED,
        draws=final.settings.draws,
        statistics_seed=STATISTICS_SEED,
        settings=settings,
        margin=final.settings.margin,
        ensemble=ensemble,
        neighbours=neighbours,
    )


def _keep_development(
    final: Final, development: DevelopmentSet, retrained: Sequence[Retrained], ensemble: Ensemble | None
) -> None:
    """Stores what is said of development patches: out-of-fold predictions, also of an ensemble, and pictures."""
    for model in retrained:
        predictions = scored_out_of_fold(development, model)
        save_predictions(predictions, final.comparison.folder / model.final.model / OUT_OF_FOLD)
    if ensemble is not None and ensemble.chosen:
        save_predictions(ensemble_out_of_fold(development, retrained, ensemble), final.comparison.folder / OUT_OF_FOLD)
    save_measures(measures(development.pixels), final.comparison.folder)
    chosen = {
        model.final.model: sigmoid(model.logits[model.final.chosen], model.final.temperature) for model in retrained
    }
    save_development_examples(development, chosen, final.comparison.folder / "examples", final.prepared.lock.seed)
