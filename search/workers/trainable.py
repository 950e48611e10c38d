"""One warm worker as Ray Tune sees it: a job in, an epoch a step, nothing kept but the process.

``setup`` stays light and torch is imported in the first step: a worker that takes long to start is cancelled by Tune
when a warm one frees first, and its slot would stay empty for good (FACTS.md).
"""

import os
from typing import TYPE_CHECKING, Any

from ray import tune

if TYPE_CHECKING:
    from search.training.jobs import EpochReport
    from search.workers.courier import CarriedWorker
    from search.workers.worker import Worker


def _not_built(problem: Exception) -> "EpochReport":
    from search.training.jobs import EpochReport

    reason = f"no worker can be set up on {os.uname().nodename}: {type(problem).__name__}: {problem}"
    return EpochReport(0, {}, float("nan"), {"worker": f"{os.uname().nodename}:{os.getpid()}"}, reason)


class TrialWorker(tune.Trainable):
    """Runs jobs one after the other in one process."""

    _worker: "Worker | CarriedWorker | None" = None

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the first job."""
        self._config = config
        self._begun = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes another job; the process, its patches and its libraries stay."""
        self._config = new_config
        self._begun = False
        return True

    def step(self) -> dict[str, Any]:
        """One epoch of the job."""
        if self._worker is None:
            try:
                from search.workers.courier import worker_of

                self._worker = worker_of(self._config["context"])
            except Exception as problem:  # noqa: BLE001 - Tune would tell of it as of a death
                return {"report": _not_built(problem)}
        if not self._begun:
            self._begun = True
            return {"report": self._worker.begin(self._config["job"])}
        return {"report": self._worker.advance()}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a job writes its own checkpoint, which also serves a driver that died."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see save_checkpoint."""
