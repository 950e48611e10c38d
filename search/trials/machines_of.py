"""The machines of a launch: asked of the Ray that it joins, which a signal or the time limit may end."""

import time
from functools import partial

from rich.console import Console

from search.command.settings import LaunchSettings
from search.command.signals import Signals
from search.command.terminal import say
from search.trials.side_by_side import TimeLimitReached
from search.workers.cluster import RaySession, check_both
from search.workers.machines import Machines, of_nodes, this_machine


def machines_of(
    settings: LaunchSettings, ray: RaySession | None, signals: Signals, console: Console, until: float | None
) -> Machines:
    """Those that will train: of a Ray that is joined they are asked, wherever this command runs.

    Raises:
        Interrupted: a signal came.
        TimeLimitReached: it is ``until``.
    """
    if ray is None or settings.worker.ray_address is None:
        return this_machine()

    def check() -> None:
        check_both(signals, ray)
        if until is not None and time.monotonic() > until:
            raise TimeLimitReached

    ray.ready()
    with signals.deferred():
        machines = of_nodes(partial(say, console), check)
    ray.rest()  # what follows is none of its work: weights may have to be fetched
    return machines
