"""The trials of one launch: what workers are given, the studies, and running until every study holds its trials."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import optuna
from rich.console import Console

from data_utils.split.lock import SplitLock
from data_utils.split.prepare import Prepared, prepare
from models._foreign import import_folders
from models._registry import load_model
from models._spec import Model
from search.command.environment import environment
from search.command.settings import LaunchSettings
from search.command.settings_file import write_settings
from search.command.signals import Signals
from search.command.terminal import LOGGER, Terminal, say, screen
from search.comparison import (
    LOCK_FILE,
    Comparison,
    Division,
    data_source,
    define,
    load_models,
    weights_of,
    weights_option,
)
from search.training.device import layout_on
from search.training.jobs import FeatureStore, WorkerContext
from search.training.preprocess import place_of
from search.trials.closing import standing, tell_end
from search.trials.enqueue import enqueue_first
from search.trials.epochs import epochs_by_model, epochs_of, the_same, told_apart
from search.trials.flat import flat, unit_of, untold
from search.trials.introduction import introduction
from search.trials.launches import Presence, scratch
from search.trials.limits import above
from search.trials.machines_of import machines_of
from search.trials.marks import check_folder, check_new
from search.trials.metrics import Metrics
from search.trials.other_splits import check_warm_start
from search.trials.refusals import begun, check_asked
from search.trials.side_by_side import Searches, TimeLimitReached
from search.trials.space import moved_defaults, searched_models, ways_on
from search.trials.study_search import StudySearch
from search.trials.terms import asked_terms
from search.trials.warm_start import older_study, start_from
from search.workers.bridge import run_work
from search.workers.cluster import Crew, RaySession, check_both, crew_on, pack, settled
from search.workers.machines import this_machine
from search.workers.room import live_nodes, slots
from search.workers.trainable import TrialWorker
from studies.files import naming
from studies.measure import measure_of
from studies.records import Terms
from studies.storage.definition import DEFINITION, StudyDefinition
from studies.storage.patience import interrupt
from studies.storage.space import SharedSpace
from studies.storage.studies import (
    check_resumed,
    create_or_resume,
    make_pruner,
    make_sampler,
    quiet_optuna,
)

SETTINGS_FILE = "launch.toml"
WAIT_SECONDS = 2.0
"""Between two looks at trials that another launch has in hand."""


def run_trials(
    settings: LaunchSettings,
    signals: Signals,
    comparison: Comparison,
    prepared: Prepared,
    presence: Presence,
    ray: RaySession | None,
    log: Path,
    until: float | None = None,
) -> int:
    """Runs the trials that are missing; the exit code.

    Args:
        settings: of the launch.
        signals: that may end it.
        comparison: whose studies.
        prepared: its data.
        presence: of this launch.
        ray: a Ray that is starting; None where no trial is missing.
        log: the log file, to be named.
        until: in monotonic seconds, the end of its time; None for no limit.

    Raises:
        SearchFailed: a study holds all its trials, and none is COMPLETE.
    """
    console = screen()
    try:
        machines = machines_of(settings, ray, signals, console, until)
    except TimeLimitReached:
        say(console, _time_is_over(signals))
        return 0
    crew = crew_on(machines, settings.worker, prepared.lock.side)
    asked = _context(settings, comparison, prepared, crew)
    context = _agreed(settings, comparison, prepared, asked, crew)
    _check_studies(settings, comparison, context, prepared)
    epochs = epochs_by_model(settings, comparison)
    used = replace(_used(settings, context, crew), epochs=the_same(epochs))
    write_settings(comparison.folder / SETTINGS_FILE, used, signals.go_on, told_apart(epochs))
    say(console, introduction(comparison, prepared, crew, context, log))
    if ray is not None and context.preprocessed is not None:
        say(console, f"pixels: {comparison.transformed(prepared, context.preprocess).words}")
    with quiet_optuna():
        searches = [
            _study_search(settings, comparison, context, prepared, presence, name, _remembered(used, signals))
            for name in settings.models
        ]
        context = replace(context, layouts=_layouts(settings, comparison, crew))  # as another launch may have begun one
        if ray is not None:
            interrupt(comparison.storage.engine, partial(check_both, signals, ray))
            metrics = Metrics(settings.metrics_port, searches, comparison.storage.engine)
            _run_to_the_end(settings, searches, context, crew, ray, console, signals, metrics, until)
    tell_end(console, settings.common, comparison, searches)
    return 0


def dry_run(settings: LaunchSettings) -> int:
    """Says what a search would take, refuses what it would refuse, and leaves nothing behind; the exit code."""
    from search.trials.dry_run import (
        describe_launch,  # with the statistics of finalize, which take half a second to import
    )

    check_asked(settings)
    comparison = begun(settings.common)
    if comparison is None:
        check_new(settings.common.runs / settings.common.study)
    else:
        check_folder(comparison)
    lock_file = settings.common.runs / settings.common.study / LOCK_FILE
    lock = SplitLock.read(lock_file) if comparison is None else comparison.stored_lock()
    with scratch() as folder, naming(Path(folder)):
        prepared = prepare(
            data_source(settings.common.data),
            Path(folder) / "data",
            name=settings.common.study,
            lock=lock,
            **vars(Division.asked(settings)),
        )
        crew = crew_on(this_machine(), settings.worker, prepared.lock.side)
        context = _context(settings, comparison, prepared, crew)
        if comparison is not None:
            check_warm_start(comparison, settings.warm_start, prepared)
            _check_studies(settings, comparison, context, prepared)
        describe_launch(settings, prepared, context, crew, epochs_by_model(settings, comparison), screen())
    return 0


def _check_studies(
    settings: LaunchSettings, comparison: Comparison, context: WorkerContext, prepared: Prepared
) -> None:
    """Refuses what a study was not begun with, before any is made: else the first of two would be, for good.

    Raises:
        DefinitionMismatchError: as ``create_or_resume``.
    """
    begun = comparison.models()  # each has its definition for good
    for model in searched_models(tuple(name for name in settings.models if name in begun), settings.space):
        check_resumed(comparison.load_study(model.name), _definition(settings, comparison, context, prepared, model))


def _time_is_over(signals: Signals) -> str:
    return f"time limit reached; go on with: {signals.go_on}"


def _context(settings: LaunchSettings, comparison: Comparison | None, prepared: Prepared, crew: Crew) -> WorkerContext:
    """What workers are given."""
    terms = asked_terms(settings, None if comparison is None else comparison.terms(), crew)
    models = searched_models(settings.models, settings.space)
    return WorkerContext(
        development=prepared.development.resolve(),
        device=crew.device,
        precision=terms.precision,
        threads=terms.threads,
        layouts=_layouts(settings, comparison, crew),
        objective=settings.objective,
        weights={model.name: weights_of(model, settings.vgg16_weights) for model in models},
        trial_timeout=settings.trial_timeout,
        features=FeatureStore.below(settings.common.runs, settings.worker.feature_cache_gb),
        preprocess=terms.preprocess,
        preprocessed=place_of(prepared, terms.preprocess),
        packages=import_folders(settings.models),
        most_milliseconds=settings.max_ms_per_patch,
        errors=settings.stop_when_flat,
    )


def _layouts(settings: LaunchSettings, comparison: Comparison | None, crew: Crew) -> dict[str, str]:
    """Of feature maps in memory, by model: as its study began, or as the device has them."""
    return {
        model.name: layout_on(crew.device, model) if comparison is None else comparison.layout(model, crew.device)
        for model in load_models(settings.models)
    }


def _agreed(
    settings: LaunchSettings, comparison: Comparison, prepared: Prepared, asked: WorkerContext, crew: Crew
) -> WorkerContext:
    """The same in the terms of the comparison: of launches that begin at once, the first decides them for all."""
    comparison.ledger.keep_terms(comparison.name, Terms(asked.precision, asked.preprocess, asked.threads))
    terms = asked_terms(settings, comparison.terms(), crew)
    return replace(asked, **asdict(terms), preprocessed=place_of(prepared, terms.preprocess))


def _used(settings: LaunchSettings, context: WorkerContext, crew: Crew) -> LaunchSettings:
    """The settings with what was left open as it is settled by now."""
    return replace(
        settings,
        precision=context.precision,
        preprocess=context.preprocess,
        vgg16_weights=weights_option(load_models(settings.models), settings.vgg16_weights),
        common=replace(settings.common, data=data_source(settings.common.data)),
        worker=settled(settings.worker, crew),
    )


def _study_search(
    settings: LaunchSettings,
    comparison: Comparison,
    context: WorkerContext,
    prepared: Prepared,
    presence: Presence,
    name: str,
    about: dict[str, object],
) -> StudySearch:
    """The study of one model: made or resumed, its first configurations enqueued; ``about`` it the report says."""
    (model,) = searched_models((name,), settings.space)
    if moved := moved_defaults(model, settings.space):
        say(screen(), moved)
    older = None if settings.warm_start is None else older_study(comparison, settings.warm_start, name)
    with comparison.ledger.lease(comparison.study_name(name), presence.launch):  # one of two launches makes it
        definition = _definition(settings, comparison, context, prepared, model)
        study = _open_study(settings, comparison, definition)
        enqueue_first(study, model, settings.enqueue)
        if older is not None and settings.warm_start is not None:
            same = comparison.same_division(settings.warm_start)
            say(screen(), start_from(study, model, older, same_patches=same))
        before = study.user_attrs.get("settings", {})
        most = max(settings.trials, before.get("most_trials", before.get("trials", 0)))  # of any launch
        ways = ways_on(model, settings.space)
        study.set_user_attr("settings", {**about, "epochs": definition.epochs, "most_trials": most, "ways_on": ways})
    judged = study.study_name, unit_of(prepared.lock)
    if settings.stop_when_flat and (why := untold(*judged, study.get_trials(deepcopy=False))):
        say(screen(), why)
    space = SharedSpace()
    return StudySearch(
        study,
        model,
        storage=comparison.storage,
        ledger=comparison.ledger,
        presence=presence,
        make_sampler=lambda seed: make_sampler(settings.sampler, seed, space, load_model(name).default),
        wanted=settings.trials,
        epochs=definition.epochs,
        objective=settings.objective,
        seed=settings.seed,
        checkpoints=(comparison.folder / name / "checkpoints").resolve(),
        measure=measure_of(study.user_attrs[DEFINITION]),
        too_large=above(model, settings.max_parameters),
        **({"flat": partial(flat, *judged)} if settings.stop_when_flat else {}),
    )


def _open_study(settings: LaunchSettings, comparison: Comparison, definition: StudyDefinition) -> optuna.Study:
    return create_or_resume(
        comparison.storage,
        comparison.study_name(definition.model),
        definition,
        sampler=make_sampler(settings.sampler, settings.seed),
        pruner=make_pruner(settings.pruner, definition.epochs),
    )


def _definition(
    settings: LaunchSettings, comparison: Comparison, context: WorkerContext, prepared: Prepared, model: Model
) -> StudyDefinition:
    """What a launch asks of a study; epochs and layout as it has begun, so that under its lease they are for good."""
    return define(
        model,
        context.weights[model.name],
        lock_digest=prepared.lock.digest,
        epochs=epochs_of(settings, comparison, model),
        objective=settings.objective,
        precision=context.precision,
        layout=comparison.layout(model, context.device),
        threads=context.threads,
        preprocess=context.preprocess,
        pruner=settings.pruner,
    )


def _remembered(settings: LaunchSettings, signals: Signals) -> dict[str, object]:
    """What a report says of the last launch, by its settings with nothing left open."""
    return {
        "workers": settings.worker.workers,
        "device": settings.worker.device,
        "timeout": settings.timeout,
        "trial_timeout": settings.trial_timeout,
        "max_parameters": settings.max_parameters,
        "max_ms_per_patch": settings.max_ms_per_patch,
        "stop_when_flat": settings.stop_when_flat or None,
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "seed": settings.seed,
        "trials": settings.trials,
        "command": signals.go_on,
        "split": list(settings.split),
        "split_seed": settings.split_seed,
        "split_file": settings.split_file,
        "exclude": list(settings.exclude) or None,
        "space": [str(one) for one in settings.space] or None,
        "source": settings.common.data,
        "vgg16_weights": settings.vgg16_weights,
        **environment(),
    }


def _run_to_the_end(
    settings: LaunchSettings,
    searches: Sequence[StudySearch],
    context: WorkerContext,
    crew: Crew,
    ray: RaySession,
    console: Console,
    signals: Signals,
    metrics: Metrics,
    until: float | None,
) -> None:
    terminal = Terminal(
        title=f"{settings.common.study}: {crew}",
        objective=settings.objective,
        standings=lambda: {search.study.study_name: standing(search) for search in searches},
        console=console,
    )

    def check() -> None:
        check_both(signals, ray)
        metrics.look()

    work = Searches(searches, until=until, watcher=terminal, check=check)
    try:
        if work.unfinished():
            with terminal.shown(), metrics.served():
                ray.ready()
                _run(work, context, settings, crew, signals, terminal.warn, metrics.staffed)
    except TimeLimitReached:
        say(console, _time_is_over(signals))
    finally:
        work.release()


def _run(
    work: Searches,
    context: WorkerContext,
    settings: LaunchSettings,
    crew: Crew,
    signals: Signals,
    tell: Callable[[str], None],
    staffed: Callable[[int, int], None],
) -> None:
    """Runs trials until none is left; waits for those that another launch has in hand, and takes over if it dies."""
    with signals.deferred(), scratch() as folder:
        for attempt in range(1_000_000):
            peak = work.peak_memory()
            work.only_measures = crew.packs and peak is None
            if crew.packs and peak is not None:
                crew = pack(crew, settings.worker, crew.machines.gpus, peak, crew.machines.memory)
                LOGGER.info("packed: %s, as trials took up to %.1f GB", crew, peak / 2**30)
            work.workers = crew.workers or slots(crew.resources, live_nodes())
            if work.anything_to_do():
                run_work(
                    work,
                    context,
                    trainable=TrialWorker,
                    workers=crew.workers,
                    resources=crew.resources,
                    scratch=Path(folder) / str(attempt),
                    tell=tell,
                    staffed=staffed,
                    results=None if crew.address is None else settings.common.runs / settings.common.study,
                )
            if not work.unfinished():
                return
            time.sleep(WAIT_SECONDS)
            work.tick()
