"""From studies to a report: candidates -> members -> final models -> frozen plan -> one opening -> report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from data_utils.colour.augment import VIEWS
from data_utils.colour.preprocessing import Preprocessing
from data_utils.split.draw import folds
from data_utils.split.prepare import DevelopmentSet, Prepared, load_development
from search.command.environment import environment
from search.command.last_words import LastWords
from search.command.settings import FinalizeSettings
from search.command.settings_file import write_settings
from search.command.signals import Signals
from search.command.terminal import LOGGER, Standing, Terminal, log_to, say
from search.comparison import (
    ENVIRONMENT_FILE,
    FINALIZE_FILE,
    LOGS,
    Comparison,
    data_source,
    load_models,
    weights_option,
)
from search.errors import UsageError
from search.final.baselines import BASELINES
from search.final.contents import write_comparison_report
from search.final.examples import save_development_examples
from search.final.members import StoredModel
from search.final.opening import Entrant, check_decided, check_reopening, open_test, publish, withdraw
from search.final.plan import (
    FOLD_SIZES,
    RECORDS,
    TRAINED_AGAIN,
    TRIALS,
    decides_the_same,
    digest_of,
    fold_sizes,
    frozen,
    last_plan,
    records_of,
    studies_of,
    trained_otherwise,
    trials_of,
)
from search.final.retraining import Candidate, Members, Retrained, candidates, conclude, member_folder
from search.final.scored import patients_of, scored_out_of_fold
from search.final.searched import check_source, context_of, describe_weights
from search.training.device import choose_device
from search.training.jobs import FeatureStore, WorkerContext
from search.trials.launches import Presence, scratch
from search.trials.marks import check_folder
from search.workers.bridge import run_work
from search.workers.cluster import Crew, RaySession, plan_crew, settled
from search.workers.trainable import TrialWorker
from studies.files import naming, write_whole
from studies.final_models import FinalModel
from studies.findings.predictions import save_predictions
from studies.records import AnalysisPlan, StudySummary, to_json
from studies.statistics.calibration import sigmoid
from studies.statistics.metrics import PLANNED, PRIMARY
from studies.storage.patience import interrupt
from studies.storage.results import best_trial, by_hand

STATISTICS_SEED = 0


@dataclass(frozen=True, eq=False)
class _Final:
    """One finalization: what every step of it needs."""

    settings: FinalizeSettings
    comparison: Comparison
    prepared: Prepared
    preprocessing: Preprocessing
    studies: tuple[StudySummary, ...]
    wanted: dict[str, list[Candidate]]  # model -> its candidates
    crew: Crew
    signals: Signals
    last_words: LastWords
    console: Console

    @property
    def precision(self) -> str:
        """In which all studies of the comparison were trained."""
        return str(self.studies[0].definition["precision"])


def finalize(settings: FinalizeSettings, signals: Signals) -> int:
    """Runs all steps; the exit code.

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
        return _finalize(_begin(settings, comparison, signals, last_words))


def _finalize(final: _Final) -> int:
    settings, signals = final.settings, final.signals
    check_reopening(final.comparison, settings.reopen, _planned(final))
    withdraw(final.comparison)
    write_settings(final.comparison.folder / FINALIZE_FILE, _used(final), signals.go_on)
    development = load_development(final.prepared.development)
    fold = folds(final.prepared.lock, development)
    before = last_plan(final.comparison)
    retrained = [
        replace(one, final=frozen(one.final, None if before is None else before[0]))
        for one in _retrain(final, development, fold)
    ]
    decided = _decide(final, [model.final for model in retrained], int(fold.max()) + 1)
    check_decided(final.comparison, decided, settings.reopen)  # before anything that a report reads is written over
    _keep_development(final, development, retrained)
    plan, plan_digest = _plan(final, development, decided, fold)
    entrants = [entrant for model in retrained for entrant in _entrants(final, model.final, plan_digest)]
    opened = open_test(
        final.comparison,
        final.prepared,
        plan,
        plan_digest,
        entrants,
        reopen=settings.reopen,
        device=final.crew.device,
        progress=lambda done, of: LOGGER.info("test predictions: %d of %d members", done, of),
    )
    publish(final.prepared, [entrant for entrant in entrants if entrant.entry == entrant.stored.model])
    read = "were read under it" if opened else "had been read under it before; nothing was read again"
    say(final.console, f"plan {plan_digest[:12]}: {final.prepared.test_patches} test patches {read}")
    report, notes = write_comparison_report(final.comparison)
    for line in (*notes, f"report: {report}"):
        say(final.console, line)
    return 0


def _begin(settings: FinalizeSettings, comparison: Comparison, signals: Signals, last_words: LastWords) -> _Final:
    known = None if settings.reopen is not None else last_plan(comparison)
    studies = studies_of(comparison, None if known is None else known[0])
    if not studies:
        raise UsageError(
            f"no study that the plan of {comparison.name} was frozen on is in the database any more: put a backup of "
            "it back, or begin a new comparison: python -m search.launch --study NEW"
        )
    for study in studies:
        check_source(study)
        best_trial(study)  # raises where none is COMPLETE
        if by_hand(study.trials):
            say(Console(), f"{study.name}: {by_hand(study.trials)}")
    terms, source = comparison.terms(), _source(settings, studies)
    assert terms is not None, "there are studies"
    with naming(comparison.folder / "data"):
        prepared = comparison.prepared(source, comparison.locked_division(), rehash=True)
    device = choose_device(settings.worker.device)
    return _Final(
        settings=settings,
        comparison=comparison,
        prepared=prepared,
        preprocessing=comparison.transformed(prepared, terms.preprocess),
        studies=studies,
        wanted={study.model: candidates(study, settings.finalists) for study in studies},
        crew=plan_crew(settings.worker, device, torch.cuda.device_count()),
        signals=signals,
        last_words=last_words,
        console=Console(),
    )


def _source(settings: FinalizeSettings, studies: Sequence[StudySummary]) -> str | None:
    """The patches: those that were searched on, where no others are named."""
    return settings.common.data or studies[0].settings.get("source")


def _used(final: _Final) -> FinalizeSettings:
    """The settings with what was left open as it is settled by now."""
    settings, studies = final.settings, final.studies
    data = data_source(_source(settings, studies))
    weights = settings.vgg16_weights or next(
        filter(None, (study.settings.get("vgg16_weights") for study in studies)), None
    )
    return replace(
        settings,
        vgg16_weights=weights_option(load_models(tuple(study.model for study in studies)), weights),
        common=replace(settings.common, data=data, study=final.comparison.name),
        worker=settled(settings.worker, final.crew),
    )


def _planned(final: _Final) -> str:
    """A digest of all that can be known of a plan before its members are trained."""
    parts = (
        final.prepared.fingerprint,
        final.prepared.lock.digest,
        final.settings.draws,
        [(model, [candidate.key for candidate in wanted]) for model, wanted in final.wanted.items()],
        *([] if final.settings.margin is None else [("margin", final.settings.margin)]),  # else as before there was any
    )
    return sha256(repr(parts).encode()).hexdigest()


def _retrain(final: _Final, development: DevelopmentSet, fold: npt.NDArray[np.int64]) -> list[Retrained]:
    """Trains the members that are missing, then concludes for each model; ``fold`` is (N,) that of each patch."""
    count = int(fold.max()) + 1
    fold_file = final.comparison.folder / "data" / "folds.npy"
    with naming(fold_file):
        np.save(fold_file, fold, allow_pickle=False)
    searched = context_of(
        final.comparison,
        final.prepared,
        final.studies,
        device=final.crew.device,
        threads=final.crew.threads,
        weights=final.settings.vgg16_weights,
    )
    features = FeatureStore.below(final.settings.common.runs, final.settings.worker.feature_cache_gb)
    context = replace(searched, objective="auc", folds=fold_file.resolve(), features=features)
    _train_members(final, context, count)
    assert development.labels is not None
    patients = patients_of(development)
    return [
        conclude(
            wanted,
            final.comparison.folder,
            folds=count,
            labels=development.labels,
            patients=patients,
            weights=describe_weights(model, context.weights[model]),
        )
        for model, wanted in final.wanted.items()
    ]


def _train_members(final: _Final, context: WorkerContext, count: int) -> None:
    ray = RaySession(final.settings.worker, final.last_words)

    def check() -> None:
        final.signals.check()
        ray.check()

    members = Members(
        [candidate for wanted in final.wanted.values() for candidate in wanted],
        folds=count,
        folder=final.comparison.folder,
        lock_digest=final.prepared.lock.digest,
        check=check,
    )
    terminal = Terminal(
        title=f"{final.comparison.name}: retraining, {final.crew}",
        objective="auc",
        standings=lambda: {"members": Standing({"COMPLETE": members.done}, members.all, None)},
        console=final.console,
    )
    members.watcher = terminal
    _tell_members(final, members, terminal.title)
    if members.done == members.all:
        return
    with (
        terminal.shown(),
        ray,
        scratch() as folder,
    ):
        ray.ready()
        with final.signals.deferred():
            run_work(
                members,
                context,
                trainable=TrialWorker,
                workers=final.crew.workers,
                resources=final.crew.resources,
                scratch=Path(folder),
                tell=terminal.warn,
            )


def _tell_members(final: _Final, members: Members, title: str) -> None:
    if final.prepared.few_folds:
        say(final.console, final.prepared.few_folds)
    say(final.console, f"{title}, {final.precision}; {members.done} of {members.all} members are trained")
    lost = members.all - members.done
    if lost and final.settings.reopen is None and last_plan(final.comparison) is not None:
        folder = final.comparison.folder
        say(
            final.console,
            f"{lost} members that the plan was frozen with are lost, and trained again; where they come out otherwise, "
            f"as on another machine, that is no result: better to put {folder}/MODEL/members back from a backup",
        )


def _plan(
    final: _Final, development: DevelopmentSet, decided: AnalysisPlan, fold: npt.NDArray[np.int64]
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
    if before is not None and (others := trained_otherwise(before[0], decided)):
        about[TRAINED_AGAIN] = others
    plan = replace(decided, settings={**decided.settings, **about})
    return plan, digest_of(plan)


def _takes_more(final: _Final, before: AnalysisPlan) -> bool:
    """Whether a reopening is to take trials that the plan before did not know."""
    return final.settings.reopen is not None and before.settings.get(TRIALS, {}) != trials_of(final.studies)


def _write_environment(final: _Final) -> None:
    content = {**environment(), "command": final.signals.go_on}
    write_whole(final.comparison.folder / ENVIRONMENT_FILE, to_json(content))


def _decide(final: _Final, models: Sequence[FinalModel], count: int) -> AnalysisPlan:
    """All that shapes the numbers of the report."""
    settings: dict[str, Any] = {
        "planned": _planned(final),
        "folds": count,
        "views": VIEWS,
        "score": "mean logit over views and members, divided by the temperature",
        "precision": final.precision,
        "objective": {study.model: study.definition["objective"] for study in final.studies},
        "choice": "out-of-fold AUC among the candidates",
    }
    if final.preprocessing.kind != "none":  # only then: plans from before there was any keep their digest
        settings["preprocessing"] = final.preprocessing.words
    return AnalysisPlan(
        study=final.comparison.name,
        fingerprint=final.prepared.fingerprint,
        lock_digest=final.prepared.lock.digest,
        models=tuple(models),
        baselines=BASELINES,
        primary=PRIMARY,
        statistics=PLANNED,
        draws=final.settings.draws,
        statistics_seed=STATISTICS_SEED,
        settings=settings,
        margin=final.settings.margin,
    )


def _entrants(final: _Final, model: FinalModel, plan_digest: str) -> list[Entrant]:
    """The chosen configuration, and the default one where another was chosen."""
    folder = final.comparison.folder / model.model
    chosen = Entrant(model.model, _stored(final, model, model.chosen, plan_digest), folder)
    labels = [candidate.label for candidate in model.candidates]
    if model.chosen == "default" or "default" not in labels:
        return [chosen]
    default = Entrant(model.entry("default"), _stored(final, model, "default", plan_digest), folder)
    return [chosen, default]


def _stored(final: _Final, model: FinalModel, label: str, plan_digest: str) -> StoredModel:
    candidate = next(candidate for candidate in final.wanted[model.model] if candidate.label == label)
    result, fit = model.candidate(label), model.fit_of(label)
    place = member_folder(Path(), candidate).relative_to(model.model)
    return StoredModel(
        study=final.comparison.name,
        model=model.model,
        params=candidate.params,
        members=tuple((str(place / f"member_{member.fold}.safetensors"), member.sha256) for member in result.members),
        temperature=fit.temperature,
        threshold=fit.threshold,
        precision=final.precision,
        weights=model.weights,
        plan_digest=plan_digest,
        preprocessing=final.preprocessing,
    )


def _keep_development(final: _Final, development: DevelopmentSet, retrained: Sequence[Retrained]) -> None:
    """Stores what a report shows of development patches: out-of-fold predictions and pictures."""
    for model in retrained:
        predictions = scored_out_of_fold(development, model)
        save_predictions(predictions, final.comparison.folder / model.final.model / "out_of_fold")
    chosen = {
        model.final.model: sigmoid(model.logits[model.final.chosen], model.final.temperature) for model in retrained
    }
    save_development_examples(development, chosen, final.comparison.folder / "examples", final.prepared.lock.seed)
