"""One launch: opens what it needs, starts Ray beside the seconds that torch takes to import, and runs the trials."""

import time
from contextlib import nullcontext
from functools import partial

from data_utils.split.prepare import Prepared
from search.command.last_words import LastWords
from search.command.settings import LaunchSettings
from search.command.signals import Signals
from search.command.terminal import LOGGER, log_to
from search.comparison import LOGS, Comparison, Division
from search.trials.launches import Presence
from search.trials.looks import take_over
from search.trials.marks import check_folder
from search.trials.other_splits import check_warm_start
from search.trials.refusals import check_asked
from search.workers.cluster import RaySession
from studies.files import naming
from studies.storage.patience import interrupt


def search(settings: LaunchSettings, signals: Signals) -> int:
    """Runs the search of one launch; the exit code.

    Raises:
        DataError, ModelError, StudyError, SearchError: see where each is raised.
        Interrupted: a signal came; everything is in order by then.
    """
    until = None if settings.timeout is None else time.monotonic() + settings.timeout
    check_asked(settings)
    comparison = Comparison.open(settings.common, begin=True, patience=settings.storage_timeout)
    interrupt(comparison.storage.engine, signals.check)
    check_folder(comparison)
    log = log_to(comparison.folder / LOGS, "launch", settings.common.log_level)
    LOGGER.info("%s", signals.go_on)
    with (
        LastWords(signals.go_on, log) as last_words,
        Presence(comparison.ledger, comparison.name) as presence,  # search.clean keeps away from what is read now
    ):
        with naming(comparison.folder / "data"):
            prepared = comparison.prepared(
                settings.common.data, Division.asked(settings), check=partial(_before_lock, comparison, settings)
            )
        missing = any(comparison.finished(model) < settings.trials for model in settings.models)
        with RaySession(settings.worker, last_words) if missing else nullcontext() as ray:
            from search.trials.course import run_trials

            return run_trials(settings, signals, comparison, prepared, presence, ray, log, until)


def _before_lock(comparison: Comparison, settings: LaunchSettings, prepared: Prepared) -> None:
    """Refuses a warm start that tells of test patches; a look at them is recorded before their lock, or never."""
    check_warm_start(comparison, settings.warm_start, prepared)
    if comparison.stored_lock() is None:
        take_over(comparison, prepared)
