"""A worker without Ray: what it is given, in the process of the test."""

from pathlib import Path

from data_utils.split.prepare import prepare
from models._registry import load_model
from search.training.jobs import Job, WorkerContext

PARAMS = {**load_model("cnn").default, "depth": 1, "width": 16}


def context_of(folder: Path) -> WorkerContext:
    """A worker's context on made-up patches, which are prepared in ``folder``."""
    prepared = prepare(
        "synthetic:120", folder, name="inside", fractions=(70, 15, 15), seed=0, exclude=(), lists=None, lock=None
    )
    return WorkerContext(
        development=prepared.development,
        device="cpu",
        precision="fp32",
        threads=1,
        layouts={"cnn": load_model("cnn").layout},
        objective="auc",
        weights={"cnn": None},
    )


def job_for(checkpoint: Path, epochs: int = 2, **params: object) -> Job:
    """A short job of the smallest cnn."""
    return Job(
        label="cnn 7",
        model="cnn",
        number=7,
        params={**PARAMS, **params},  # type: ignore[dict-item]
        seed=1,
        epochs=epochs,
        last_epoch=epochs,
        checkpoint=checkpoint,
    )
