"""The numbers of a launch that Prometheus reads.

Whoever answers it is another thread, and never asks the database: the main thread looks at the studies every few
seconds and leaves what it found. So a scrape holds up nothing, and is answered while the database is away.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sqlalchemy.engine import Engine

from search.command.scraped import Family, Sample, served
from search.trials.closing import standing
from search.trials.study_search import StudySearch
from studies.storage.patience import waited
from studies.storage.results import own_trials

LOOK_SECONDS = 2.0
STATES = ("WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL")


class Metrics:
    """Of one launch; without a port nobody looks."""

    def __init__(
        self,
        port: int | None,
        searches: Sequence[StudySearch],
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``searches`` are its studies, ``engine`` is their database."""
        self._port, self._searches, self._engine, self._clock = port, searches, engine, clock
        self._looked = -LOOK_SECONDS
        self._of_studies: tuple[Family, ...] = ()
        self._staff = (0, 0)

    def served(self) -> AbstractContextManager[None]:
        """Within the block, they are there to be read.

        Raises:
            UsageError: see ``search.command.scraped.served``.
        """
        return served(self._port, self.text)

    def staffed(self, placed: int, waiting: int) -> None:
        """Takes note of how many jobs have a worker, and how many wait for one."""
        self._staff = placed, waiting

    def look(self) -> None:
        """Looks at the studies, where the last look was some seconds ago; to be called often, in the main thread."""
        if self._port is not None and self._clock() - self._looked >= LOOK_SECONDS:
            self._looked = self._clock()
            self._of_studies = of_studies(self._searches)

    def text(self) -> str:
        """All numbers, as Prometheus reads them."""
        (placed, waiting), (times, seconds) = self._staff, waited(self._engine)
        others = (
            ("workers_placed", "gauge", "Trials of this launch that have a worker.", placed),
            ("workers_waiting", "gauge", "Trials of this launch that wait for a worker.", waiting),
            ("database_waits_total", "counter", "Times that the database was away.", times),
            ("database_wait_seconds_total", "counter", "Seconds that the database was away.", seconds),
        )
        of_launch = (
            Family(f"histotune_{name}", kind, about, (Sample(value, {}),)) for name, kind, about, value in others
        )
        return "".join(map(str, (*self._of_studies, *of_launch)))


def of_studies(searches: Sequence[StudySearch]) -> tuple[Family, ...]:
    """What their database says, whoever of several launches wrote it."""
    states, wanted, best, seconds = [], [], [], []
    for search in searches:
        study, now = {"study": search.study.study_name}, standing(search)
        states += [Sample(now.states.get(state, 0), {**study, "state": state}) for state in STATES]
        wanted.append(Sample(now.wanted, study))
        best += [Sample(now.best[0], study)] if now.best else []
        seconds += [Sample(spent, {**study, "device": kind}) for kind, spent in device_seconds(search).items()]
    return (
        Family("histotune_trials", "gauge", "Trials of a study by state.", tuple(states)),
        Family("histotune_trials_wanted", "gauge", "Finished trials that a study holds in the end.", tuple(wanted)),
        Family("histotune_best_value", "gauge", "Objective of the best COMPLETE trial of a study.", tuple(best)),
        Family(
            "histotune_device_seconds_total",
            "counter",
            "Seconds that ended trials of a study trained and were evaluated, by device.",
            tuple(seconds),
        ),
    )


def device_seconds(search: StudySearch) -> dict[str, float]:
    """Seconds of training and evaluation of the trials that have ended, by the device that they were on last."""
    spent: dict[str, float] = defaultdict(float)
    for trial in own_trials(search.study.get_trials(deepcopy=False)):
        if "seconds" in trial.user_attrs:
            spent[str(trial.user_attrs.get("device", "unknown"))] += trial.user_attrs["seconds"]
    return dict(spent)
