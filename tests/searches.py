"""The search of one study as a launch makes it, without Ray."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from models._registry import load_model
from models._spec import ParamValue
from search.comparison import define
from search.trials.launches import Presence
from search.trials.study_search import StudySearch
from studies.ledger.ledger import Ledger
from studies.measure import NOW, Measure
from studies.storage.studies import create_or_resume, make_pruner, make_sampler


def searching(
    storage: RDBStorage,
    presence: Presence,
    folder: Path,
    *,
    model: str = "cnn",
    wanted: int = 3,
    epochs: int = 3,
    pruner: str = "none",
    seed: int = 1,
    sampler: str = "random",
    name: str = "idc",
    too_large: Callable[[Mapping[str, ParamValue]], str | None] = lambda _: None,
    measure: Measure = NOW,
    flat: Callable[[Sequence[FrozenTrial], int], str | None] = lambda *_: None,
) -> StudySearch:
    """The study ``NAME-MODEL``, made or resumed."""
    loaded = load_model(model)
    definition = define(
        loaded,
        None,
        lock_digest="a" * 64,
        epochs=3,
        objective="auc",
        precision="fp32",
        layout="contiguous",
        threads=1,
        pruner=pruner,
    )
    study = create_or_resume(
        storage, f"{name}-{model}", definition, sampler=make_sampler("random", 0), pruner=make_pruner(pruner, 3)
    )
    return StudySearch(
        study,
        loaded,
        storage=storage,
        ledger=Ledger(storage.engine),
        presence=presence,
        make_sampler=lambda seed: make_sampler(sampler, seed),
        wanted=wanted,
        epochs=epochs,
        objective="auc",
        seed=seed,
        checkpoints=folder,
        too_large=too_large,
        measure=measure,
        flat=flat,
    )
