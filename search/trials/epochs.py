"""How long trials train: as ``--epochs`` says, as their study began, or as their model's file says."""

from collections.abc import Mapping

from models._spec import Model
from search.command.settings import LaunchSettings
from search.comparison import Comparison, load_models


def epochs_of(settings: LaunchSettings, comparison: Comparison | None, model: Model) -> int:
    """Of a full trial of a model; ``comparison`` is None where nothing has begun."""
    return settings.epochs or (model.epochs if comparison is None else comparison.epochs(model))


def epochs_by_model(settings: LaunchSettings, comparison: Comparison | None) -> dict[str, int]:
    """The same of each model that is searched, by name."""
    return {model.name: epochs_of(settings, comparison, model) for model in load_models(settings.models)}


def the_same(epochs: Mapping[str, int]) -> int | None:
    """Those of all models; None where they differ."""
    counts = set(epochs.values())
    return counts.pop() if len(counts) == 1 else None


def told_apart(epochs: Mapping[str, int]) -> tuple[str, ...]:
    """In words, where one number cannot say them."""
    words = ", ".join(f"{count} of {name}" for name, count in epochs.items())
    return () if the_same(epochs) else (f"epochs, which no one number says: {words}",)
