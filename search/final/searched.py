"""What a study was searched with, and the refusal to train its members on anything else."""

from collections.abc import Sequence

from data_utils.split.prepare import Prepared
from models._foreign import import_folders
from models._registry import load_model, source_digest, words_for
from models._weights import Weights
from search.comparison import Comparison, weights_of
from search.errors import UsageError
from search.training.jobs import WorkerContext
from search.training.preprocess import place_of
from studies.records import StudySummary


def context_of(
    comparison: Comparison,
    prepared: Prepared,
    studies: Sequence[StudySummary],
    *,
    device: str,
    threads: int,
    weights: str | None,
) -> WorkerContext:
    """What workers are given to train what studies hold as it was searched.

    Args:
        comparison: of the studies.
        prepared: its data, transformed as it has them.
        studies: one at least.
        device: to train on.
        threads: of a worker, where an earlier version did not store on how many was searched.
        weights: as typed after --vgg16-weights; None for those that were searched with.

    Raises:
        UsageError: the pretrained tensors found now are others.
    """
    terms = comparison.terms()
    assert terms is not None, "there are studies"
    return WorkerContext(
        development=prepared.development.resolve(),
        device=device,
        precision=terms.precision,
        threads=terms.threads or threads,
        layouts={study.model: comparison.layout(load_model(study.model), device) for study in studies},
        objective=str(studies[0].definition["objective"]),
        weights={study.model: weights_of_search(study, weights) for study in studies},
        preprocess=terms.preprocess,
        preprocessed=place_of(prepared, terms.preprocess),
        packages=import_folders(tuple(study.model for study in studies)),
    )


def check_source(study: StudySummary) -> None:
    """Refuses to train members of another model than the trials were of.

    Raises:
        UsageError: the model's file has changed since; studies of earlier versions do not tell.
    """
    known = study.definition.get("source")
    if known is not None and known != source_digest(study.model):
        raise UsageError(
            f"{words_for(study.model)} has changed since study {study.name} was begun: its members would be of another "
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
