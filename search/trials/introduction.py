"""What a launch says before it begins: its patches, their split, and what will train on them."""

from pathlib import Path

from data_utils.split.prepare import Prepared
from models._registry import load_model
from models._weights import Weights
from search.comparison import Comparison
from search.training.jobs import WorkerContext
from search.workers.cluster import Crew


def introduction(comparison: Comparison, prepared: Prepared, crew: Crew, context: WorkerContext, log: Path) -> str:
    """What the terminal says before the first trial."""
    parts = ", ".join(f"{patches} {part} ({idc} IDC)" for part, _, patches, idc in prepared.parts)
    ids = "" if prepared.lock.by == "patient" else "; no patient ids, so patients may overlap between the parts"
    left_out = "".join(f"; left out: {count} {reason}" for reason, count in prepared.exclusions)
    notes = "".join(f"{note}\n" for note in filter(None, (*prepared.notes, prepared.few_folds)))
    lists = f"; split by {prepared.lock.lists}" if prepared.lock.lists else ""
    slow = context.precision == "bf16" and crew.device not in crew.machines.bf16
    precision = f"{context.precision}{' as the comparison was begun, slow on this hardware' if slow else ''}"
    begins = "".join(f"{name} begins from {_beginning(weights)}\n" for name, weights in _pretrained(context))
    return (
        f"{comparison.name}: {prepared.source}, {parts}{ids}{left_out}{lists}\n{notes}{begins}"
        f"lock {prepared.lock.digest[:12]}, {crew}, {precision}; log: {log}"
    )


def _pretrained(context: WorkerContext) -> list[tuple[str, Weights | None]]:
    """The models that are meant to begin from pretrained layers, and what they begin from."""
    return [(name, weights) for name, weights in context.weights.items() if load_model(name).pretrained]


def _beginning(weights: Weights | None) -> str:
    return "random weights, by choice" if weights is None else f"{weights.source}, sha256 {weights.sha256[:12]}"
