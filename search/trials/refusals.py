"""What a launch refuses before it has written anything: a mistyped name or file locks no split and begins no study."""

import os

from data_utils.readers.patches import check_there
from search.command.settings import CommonSettings, LaunchSettings
from search.comparison import LOCK_FILE, Comparison, Division, data_source
from search.errors import UsageError
from studies.storage.studies import is_there


def check_asked(settings: LaunchSettings) -> None:
    """Refuses arguments that cannot be right, whatever is found in the patches.

    Raises:
        DataError: there are no patches, or the lists of patients cannot be read.
        UsageError: see ``searched_models``, ``read_configurations`` and ``older_study``.
    """
    check_data(settings.common)
    Division.asked(settings)
    if settings.held or settings.enqueue is not None:
        from search.trials.enqueue import read_configurations
        from search.trials.fixed import searched_models

        models = searched_models(settings.models, settings.held)  # with torch, which others import beside Ray's start
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


def begun(common: CommonSettings) -> Comparison | None:
    """The comparison as its database has it; None where there is no database, and none is made for looking."""
    return Comparison.open(common) if is_there(common.storage) else None


def _check_older(settings: LaunchSettings, name: str) -> None:
    comparison = begun(settings.common)
    if comparison is None:
        raise UsageError(f"--warm-start {name}: there is no database yet in which it could be")
    from search.trials.enqueue import older_study

    try:
        for model in settings.models:
            older_study(comparison, name, model)
    finally:
        comparison.storage.engine.dispose()
