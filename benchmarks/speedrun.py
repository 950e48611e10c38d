"""A speedrun: core-seconds of training until a single network has the validation AUC that its default has.

    python -m benchmarks.speedrun --seeds 5 width=32 epochs=16 depth=1,epochs=8
    python -m benchmarks.speedrun --seeds 3 --out-of-fold --precision auto width=32,epochs=12 width=24
    python -m benchmarks.speedrun --model vgg16 --fixed input_size=96,stain_jitter=0 frozen_blocks=5 frozen_blocks=4

The default and each way, which names what is different, train on the same patients with the same seeds, fp32, one
thread each, two networks at a time; what is ``--fixed`` is the same in all. An AUC is what a search takes for the value
of a trial: the last epoch, averaged weights, two views. The table has, for each, its mean over the seeds, that less the
default's, seed by seed, with the standard error, and how many times as fast it was.

A way counts where its AUC is as good. By one draw of validation patients two ways were, that were not so by all of them
(LOG.md): with ``--out-of-fold`` a seed trains five networks, each without a fold of the development patients, and its
AUC is the mean of theirs on that fold, of what is deployed: the last weights, eight views. What is to become a default
is asked so. The folds are the same for all seeds, so that a standard error is of initial weights and order alone.

What frozen layers make of a patch is kept for all that have the same ones, and computed before what is timed.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._launch import LARGE, chosen_patches, prepared, refusing, scratch_folder
from benchmarks._networks import FOLDS, auc, begin, keeping, left_out, read_parameters, rows_of, two_at_a_time
from benchmarks._report import conditions
from data_utils.colour.augment import VIEWS
from data_utils.split.prepare import load_development
from models._registry import load_model, model_names
from models._spec import ParamValue
from search.training.loop import evaluate, train
from studies.measure import NOW


@dataclass(frozen=True)
class Way:
    """One way to train a model: what is different from its default configuration, and for how long."""

    name: str
    model: str
    params: Mapping[str, ParamValue]
    epochs: int

    @classmethod
    def read(cls, text: str, model: str, fixed: Mapping[str, ParamValue]) -> "Way":
        """From ``width=16,epochs=8``; the default of what is fixed from "".

        Raises:
            ValueError: it is not of this form, or the model has no such parameter; the message says what was found.
        """
        found = dict(fixed) | (read_parameters(text, ["epochs"], model) if text else {})
        epochs = int(found.pop("epochs", load_model(model).epochs))
        return cls(text or "default", model, found, epochs)


@dataclass(frozen=True)
class Run:
    """One network, or one of each fold: CPU seconds of the training of one alone, and its AUC in the end."""

    seconds: float
    auc: float


def trained(development: Path, way: Way, seed: int, fold: int | None, precision: str) -> Run:
    """One network, trained in this process: on the training patients, or on those of all folds but one."""
    loaded = load_development(development)
    if fold is None:
        learn, score = (rows_of(loaded, part) for part in ("train", "validation"))
        window, views = NOW.window, NOW.views
    else:
        learn, score = left_out(loaded, np.arange(len(loaded)), fold)
        seed, window, views = FOLDS * seed + fold, 0.0, VIEWS
    begun = begin(
        loaded,
        learn,
        way.params,
        epochs=way.epochs,
        seed=seed,
        precision=precision,
        window=window,
        model=way.model,
    )
    with keeping(begun, way.model, way.params, development.parent / "kept") as training:
        began = time.process_time()
        for _ in train(training):
            pass
        seconds = time.process_time() - began
        logits = evaluate(
            training.measured,
            training.patches,
            score,
            training.compute,
            views=range(views),
            features=training.features,
        )
    return Run(seconds, auc(loaded, score, logits))


def of_seed(runs: Sequence[Run]) -> Run:
    """Of its folds, or the one that there is."""
    return Run(mean(run.seconds for run in runs), mean(run.auc for run in runs))


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
    parser = _flags()
    asked = parser.parse_args(argv)
    if asked.seeds < 1 or not all(asked.ways):
        parser.error("1 or more --seeds, and of each way what is different, as width=16, were expected")
    try:
        fixed = read_parameters(asked.fixed, model=asked.model) if asked.fixed else {}
        ways = [Way.read(text, asked.model, fixed) for text in ("", *asked.ways)]
    except ValueError as error:
        parser.error(str(error))
    console = Console()
    console.print("; ".join(conditions()))
    with scratch_folder() as folder:
        source = chosen_patches(asked.data, folder / "patches")
        folds = range(FOLDS) if asked.out_of_fold else [None]
        how = f"{FOLDS} folds of development" if asked.out_of_fold else "validation patients"
        console.print(f"{source.words}; {asked.seeds} seeds, {how}, {asked.precision}")
        console.print(f"{asked.model}, {asked.fixed or 'its default configuration'}")
        with refusing(parser):
            development = prepared(source, folder / "prepared").development
        jobs = [
            (development, way, seed, fold, asked.precision)
            for seed in range(asked.seeds)
            for way in ways
            for fold in folds
        ]
        runs = two_at_a_time(trained, jobs, console)
    console.print(_table(ways, runs, len(folds)))
    return 0


def _table(ways: Sequence[Way], runs: Sequence[Run], folds: int) -> Table:
    """A row a way, of runs that lie by seed, then way, then fold."""
    table = Table("way", "epochs", "core-s", "AUC", "less the default's", "as fast")
    seeds = [of_seed(runs[place : place + folds]) for place in range(0, len(runs), folds)]
    sides = [seeds[place :: len(ways)] for place in range(len(ways))]
    for way, side in zip(ways, sides, strict=True):
        table.add_row(*row(way, side, sides[0]))
    return table


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="+", metavar="WAY", help="what is different, as width=16,epochs=8")
    parser.add_argument("--model", default="cnn", choices=model_names(), help="(default: cnn)")
    parser.add_argument(
        "--fixed", default="", help="what is the same in the default and all ways, as width=16,kernel=3"
    )
    parser.add_argument("--seeds", type=int, default=5, help="networks of each (default: 5)")
    parser.add_argument("--out-of-fold", action="store_true", help="by five folds of all development patients")
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=("auto", "bf16", "fp32"),
        help="as search.launch takes it (default: fp32)",
    )
    parser.add_argument("--data", help=f"patches, as search.launch takes them (default: {LARGE} of $HISTOTUNE_SHARED)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
