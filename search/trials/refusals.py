"""What a launch refuses before it has written anything: a mistyped name or file locks no split and begins no study."""

import os
from pathlib import Path

from data_utils.readers.patches import check_there
from models._foreign import is_foreign
from search.command.scraped import check_port
from search.command.settings import CommonSettings, LaunchSettings
from search.command.writable import why_not_writable
from search.comparison import LOCK_FILE, Comparison, Division, data_source
from search.errors import UsageError
from search.workers.place import check_ray
from studies.storage.database_url import read_url
from studies.storage.studies import check_names, is_there


def check_asked(settings: LaunchSettings) -> None:
    """Refuses arguments that cannot be right, whatever is found in the patches.

    Raises:
        DataError: there are no patches, or the lists of patients cannot be read.
        DefinitionMismatchError: another program has a study of the same name.
        ModelError: a model of another package is not found.
        UsageError: nothing can be written where it was asked for; see ``check_port``, ``check_ray``,
            ``searched_models``, ``read_configurations`` and ``older_study``.
    """
    check_data(settings.common)
    _check_folders(settings.common)
    check_port(settings.metrics_port)
    check_names(settings.common.storage, [f"{settings.common.study}-{model}" for model in settings.models])
    try:
        check_ray(settings.worker)
    except UsageError:
        if _lacks_trials(settings):  # else none is needed
            raise
    Division.asked(settings)
    if settings.space or settings.enqueue is not None or any(map(is_foreign, settings.models)):
        from search.trials.enqueue import read_configurations
        from search.trials.space import searched_models

        models = searched_models(settings.models, settings.space)  # with torch, which others import beside Ray's start
        for model in models:
            if settings.enqueue is not None:
                read_configurations(settings.enqueue, model)
    if settings.warm_start is not None:
        _check_older(settings, settings.warm_start)


def check_data(common: CommonSettings) -> None:
    """Refuses a name's first patches where there are none; later ones have its folder and its lock to be held against.

    Raises:
        DataError: see ``check_there``.
    """
    if not os.path.lexists(common.runs / common.study / LOCK_FILE):
        check_there(data_source(common.data))


def _check_folders(common: CommonSettings) -> None:
    """Refuses a place for results, or for their database, in which nothing can be written."""
    database = read_url(common.storage)
    file = database.database if database.get_backend_name() == "sqlite" else None
    places = {"--runs": common.runs / common.study, "--storage": Path(file).parent if file else common.runs}
    for flag, folder in places.items():
        if problem := why_not_writable(folder):
            raise UsageError(f"{flag}: {problem}; name another folder, or have it made writable")


def _lacks_trials(settings: LaunchSettings) -> bool:
    """Whether the launch will train anything at all."""
    comparison = begun(settings.common)
    if comparison is None:
        return True
    try:
        return any(comparison.finished(model) < settings.trials for model in settings.models)
    finally:
        comparison.storage.engine.dispose()


def begun(common: CommonSettings) -> Comparison | None:
    """The comparison as its database has it; None where there is no database, and none is made for looking."""
    return Comparison.open(common) if is_there(common.storage) else None


def _check_older(settings: LaunchSettings, name: str) -> None:
    comparison = begun(settings.common)
    if comparison is None:
        raise UsageError(f"--warm-start {name}: there is no database yet in which it could be")
    from search.trials.warm_start import older_study

    try:
        for model in settings.models:
            older_study(comparison, name, model)
    finally:
        comparison.storage.engine.dispose()
