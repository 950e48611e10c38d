"""What the figures of a search ask of its trials."""

from studies.figures.style import slug
from studies.records import StudySummary, TrialResult

Drawn = list[float | None]
"""Coordinates of several lines in one trace; None ends a line."""


def key_of(study: StudySummary, what: str) -> str:
    """Key of a figure of this study."""
    return f"{what}-{slug(study.model)}"


def objective_of(study: StudySummary) -> str:
    """Name of the objective, for axes and tables."""
    name = str(study.definition.get("objective", "auc"))
    return "Validation AUC" if name == "auc" else f"Validation {name.replace('_', ' ')}"


def with_value(study: StudySummary, state: str | None = None) -> list[TrialResult]:
    """Trials with a value, of one state or of all."""
    return [trial for trial in study.trials if trial.value is not None and state in (None, trial.state)]
