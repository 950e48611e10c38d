"""What a study was searched with, and the refusal to train its members on anything else."""

from models._registry import load_model, source_digest
from models._weights import Weights
from search.comparison import weights_of
from search.errors import UsageError
from studies.records import StudySummary


def check_source(study: StudySummary) -> None:
    """Refuses to train members of another model than the trials were of.

    Raises:
        UsageError: the model's file has changed since; studies of earlier versions do not tell.
    """
    known = study.definition.get("source")
    if known is not None and known != source_digest(study.model):
        raise UsageError(
            f"models/{study.model}.py has changed since study {study.name} was begun: its members would be of another "
            "model. Put the file back as it was, or search anew: python -m search.launch --study NEW"
        )


def weights_of_search(study: StudySummary, option: str | None) -> Weights | None:
    """The pretrained tensors that the study was searched with.

    Raises:
        UsageError: those found now are others.
    """
    named = option or study.settings.get("vgg16_weights")
    weights = weights_of(load_model(study.model), named)
    found = "random" if weights is None else weights.sha256
    if found != study.definition["weights"]:
        raise UsageError(
            f"study {study.name} was searched with the weights {study.definition['weights'][:12]}, found {found[:12]}: "
            "name the same ones with --vgg16-weights"
        )
    return weights


def describe_weights(model: str, weights: Weights | None) -> str:
    """Where the first layers come from; "none" for a pretrained model that was searched without its weights."""
    if weights is None:
        return "none: random, by --vgg16-weights none" if load_model(model).pretrained else "random"
    return f"{weights.source}, sha256 {weights.sha256}"
