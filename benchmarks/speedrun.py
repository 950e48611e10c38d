"""A speedrun: core-seconds of training until a single cnn has the validation AUC that its default has in 12 epochs.

    python -m benchmarks.speedrun --seeds 5 width=16 width=16,epochs=16 depth=1,epochs=8

The default and each way, which names what is different, train on the same patients with the same seeds, fp32, one
thread each, two networks at a time. An AUC is what a search takes for the value of a trial: the last epoch, averaged
weights, two views. The table has, for each, its mean over the seeds, that less the default's, seed by seed, with the
standard error, and how many times as fast it was. A way counts where its AUC is as good; out of fold it may still be
worse (LOG.md).
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import nan, sqrt
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._launch import Source, patches, prepared, scratch_folder, shared
from benchmarks._report import conditions
from data_utils.split.prepare import load_development
from models._registry import load_model
from models._spec import ParamValue
from search.training.device import Compute, layout_on, set_up
from search.training.device_patches import DevicePatches
from search.training.loop import Training, evaluate, train
from search.training.scores import validation_scores
from studies.measure import NOW

EPOCHS = 12
REAL = "idc_patches.zip"


@dataclass(frozen=True)
class Way:
    """One way to train a cnn: what is different from its default configuration, and for how long."""

    name: str
    params: Mapping[str, ParamValue]
    epochs: int

    @classmethod
    def read(cls, text: str) -> "Way":
        """From ``width=16,epochs=8``.

        Raises:
            ValueError: it is not of this form, or cnn has no such parameter; the message says what was found.
        """
        default = load_model("cnn").default
        params: dict[str, ParamValue] = {}
        epochs = EPOCHS
        for part in text.split(","):
            name, _, value = part.partition("=")
            try:
                if name == "epochs":
                    epochs = int(value)
                else:
                    kind = type(default[name])
                    params[name] = value == "True" if kind is bool else kind(value)
            except (KeyError, ValueError):
                raise ValueError(f"'{part}' is no NAME=VALUE of epochs, {', '.join(default)}") from None
        return cls(text, params, epochs)


@dataclass(frozen=True)
class Run:
    """One network: CPU seconds of its training alone, and the validation AUC in the end."""

    seconds: float
    auc: float


def trained(development: Path, way: Way, seed: int) -> Run:
    """One network, trained in this process."""
    set_up("cpu", threads=1)
    model = load_model("cnn")
    loaded = load_development(development)
    assert loaded.labels is not None
    learn, score = (np.flatnonzero(loaded.part == part) for part in ("train", "validation"))
    compute = Compute("cpu", "fp32", layout_on("cpu", model))
    training = Training.begin(
        model,
        model.configuration({**model.default, **way.params}),
        None,
        DevicePatches.load(loaded.pixels, loaded.labels, "cpu"),
        learn,
        epochs=way.epochs,
        seed=seed,
        compute=compute,
        window=NOW.window,
    )
    began = time.process_time()
    for _ in train(training):
        pass
    seconds = time.process_time() - began
    logits = evaluate(training.measured, training.patches, score, compute, views=range(NOW.views))
    return Run(seconds, validation_scores(loaded.labels[score], logits.mean(axis=1))["auc"])


def row(way: Way, runs: Sequence[Run], default: Sequence[Run]) -> list[str]:
    """A line of the table; both sides seed by seed."""
    seconds, before = (mean(run.seconds for run in side) for side in (runs, default))
    less = [run.auc - beside.auc for run, beside in zip(runs, default, strict=True)]
    error = stdev(less) / sqrt(len(less)) if len(less) > 1 else nan
    auc = mean(run.auc for run in runs)
    return [
        way.name,
        str(way.epochs),
        f"{seconds:.0f}",
        f"{auc:.4f}",
        f"{mean(less):+.4f} ± {error:.4f}",
        f"{before / seconds:.2f} x",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Trains all of them, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="+", metavar="WAY", help="what is different, as width=16,epochs=8")
    parser.add_argument("--seeds", type=int, default=5, help="networks of each (default: 5)")
    parser.add_argument("--data", help=f"patches, as search.launch takes them (default: {REAL} of $HISTOTUNE_SHARED)")
    asked = parser.parse_args(argv)
    try:
        ways = [Way("default", {}, EPOCHS), *map(Way.read, asked.ways)]
    except ValueError as error:
        parser.error(str(error))
    console = Console()
    console.print("; ".join(conditions()))
    with scratch_folder() as folder:
        source = _source(asked.data, folder / "patches")
        console.print(f"{source.words}; {asked.seeds} seeds")
        development = prepared(source, folder / "prepared").development
        jobs = [(development, way, seed) for seed in range(asked.seeds) for way in ways]
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            runs = list(pool.map(trained, *zip(*jobs, strict=True)))
    table = Table("way", "epochs", "core-s", "AUC", "less the default's", "as fast")
    sides = [runs[place :: len(ways)] for place in range(len(ways))]
    for way, side in zip(ways, sides, strict=True):
        table.add_row(*row(way, side, sides[0]))
    console.print(table)
    return 0


def _source(data: str | None, folder: Path) -> Source:
    real = shared() / "data" / REAL
    if data is None and not real.is_file():
        return patches(None, folder)
    return Source(data or str(real), data or REAL)


if __name__ == "__main__":
    sys.exit(main())
