"""``search.launch`` on tyro 1.0, a third of its flags: see README.md for how it is run."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from data_utils._command import one_of
from models._registry import model_names
from search._arguments import gpu_share, positive, selection, storage_url, whole


def flag(metavar: str, kind: Callable[[str], Any]) -> Any:
    """One flag; ``kind`` is a reader of ``search._arguments``."""

    def read(typed: list[str]) -> Any:
        try:
            return kind(typed[0])
        except ArgumentTypeError as error:  # else a traceback; what is raised stands in a box of several lines
            raise ValueError(str(error)) from None

    return PrimitiveConstructorSpec(1, metavar, read, lambda _: True, lambda value: [str(value)])


@dataclass
class Launch:
    """Search for the best configuration of each model: many trials in parallel workers, weak ones pruned early."""

    model: Annotated[Any, flag("NAME", selection(model_names()))] = None
    """cnn, vgg16; several with commas (needed)"""
    trials: Annotated[int, flag("N", whole(1, 1_000_000))] = 50
    """finished trials that each study holds in the end"""
    epochs: Annotated[int, flag("N", whole(1, 10_000))] = 12
    """the most a trial trains"""
    sampler: Annotated[str, flag("NAME", one_of("tpe", "random", "gp"))] = "tpe"
    """how configurations are chosen"""
    timeout: Annotated[float | None, flag("SECONDS", positive)] = None
    """end the search in order after this time"""
    trial_timeout: Annotated[float | None, flag("SECONDS", positive)] = None
    """fail a trial after this time"""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """show the space and what it would take, write nothing"""
    storage: Annotated[str | None, flag("URL", storage_url)] = None
    """database of the studies"""
    runs: Path = Path("runs")
    """folder of results"""
    gpus_per_worker: Annotated[Any, flag("F", gpu_share)] = None
    """share of a GPU for each worker"""


if __name__ == "__main__":
    sys.stdout.write(f"{tyro.cli(Launch, prog='python -m search.launch')}\n")
