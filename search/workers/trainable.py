"""One warm worker as Ray Tune sees it: a job in, an epoch a step, nothing kept but the process.

``setup`` stays light and torch is imported in the first step: a worker that takes long to start is cancelled by Tune
when a warm one frees first, and its slot would stay empty for good (FACTS.md).
"""

from typing import TYPE_CHECKING, Any

from ray import tune

if TYPE_CHECKING:
    from search.workers.worker import Worker


class TrialWorker(tune.Trainable):
    """Runs jobs one after the other in one process."""

    _worker: "Worker | None" = None

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
            from search.workers.worker import Worker

            self._worker = Worker(self._config["context"])
        if not self._begun:
            self._begun = True
            return {"report": self._worker.begin(self._config["job"])}
        return {"report": self._worker.advance()}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a job writes its own checkpoint, which also serves a driver that died."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see save_checkpoint."""
