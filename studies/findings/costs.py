"""What a search has cost, and what pruning and kept features have spared it."""

from dataclasses import dataclass

from studies.records import StudySummary, TrialResult
from studies.storage.results import FINISHED


@dataclass(frozen=True)
class Cost:
    """Seconds of workers, summed over the trials of a study.

    Attributes:
        used: in training and evaluation, on whatever device the workers had.
        saved_by_pruning: that pruned trials would have taken for the rest of their epochs, at their own pace.
        saved_by_cache: that frozen layers would have taken, had their outputs not been kept.
        waiting: between being handed out and told, but neither in training nor in evaluation: starting, checkpoints,
            database, other trials of the same driver.
    """

    used: float
    saved_by_pruning: float
    saved_by_cache: float
    waiting: float


def cost_of(study: StudySummary) -> Cost:
    """What the trials of a study took, without those that run, or that were brought from elsewhere."""
    ended = [trial for trial in study.trials if trial.state in FINISHED and not trial.by_hand]
    trials = [trial for trial in ended if "seconds" in trial.attributes]
    epochs = int(study.definition["epochs"])
    return Cost(
        used=sum(float(trial.attributes["seconds"]) for trial in trials),
        saved_by_pruning=sum(_spared(trial, epochs) for trial in trials if trial.state == "PRUNED"),
        saved_by_cache=sum(_part(trial, "saved") for trial in trials),
        waiting=sum(_part(trial, "waiting") for trial in trials),
    )


def seconds_per_epoch(trial: TrialResult) -> float | None:
    """The pace of a trial on its worker; None where it was not told, or ended before its first epoch."""
    done = int(trial.attributes.get("epochs", 0))
    return float(trial.attributes["seconds"]) / done if done and "seconds" in trial.attributes else None


def _spared(trial: TrialResult, epochs: int) -> float:
    pace = seconds_per_epoch(trial)
    return 0.0 if pace is None else pace * (epochs - int(trial.attributes["epochs"]))


def _part(trial: TrialResult, name: str) -> float:
    return float(trial.attributes.get("cost", {}).get(name, 0.0))
