"""What a trial's value should be of: which epoch, which weights, how many views. Noise, ranking and cost of each.

    python -m benchmarks.objective --configurations 12 --seeds 3 --fixed width=16,kernel=3

Configurations of cnn, the default and random ones of its space, are trained to their full length on the training
patients less a fold of them, another fold for each seed. A value is of the validation patients, as in a search; what it
should foretell is the score of what is deployed: the weights of the last step, 8 views, on the fold left out, as the
mean over the *other* seeds. The table has, for each kind of value,

- noise: standard deviation of what neither the configuration nor the seed, with its fold, explains of it;
- rank: Spearman's correlation, over configurations, of one seed's value with what it should foretell; mean over seeds;
- rank at the rung: the same of the value after a quarter of the epochs;
- gained: how much better than the mean of all, by what it should foretell, the configuration with the best value is;
- cost: seconds that the looks at the validation patients take, as a share of those of training.

With few configurations a rank correlation is uncertain: between brackets stands its standard error over draws of
configurations. What it should foretell is uncertain as well, so that a value without any noise would not rank at 1:
what it would correlate by is told.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.stats import ConstantInputWarning, spearmanr

from benchmarks._launch import LARGE, chosen_patches, configurations, prepared, refusing, scratch_folder
from benchmarks._networks import FOLDS, auc, begin, left_out, read_parameters, rows_of, two_at_a_time
from benchmarks._report import conditions
from data_utils.colour.augment import VIEWS
from data_utils.split.prepare import load_development
from models._registry import load_model
from models._spec import ParamValue
from search.training.average import Average
from search.training.loop import evaluate, train
from studies.storage.studies import first_rung

FEWEST = 3  # epochs: what the mean of the last three takes
DRAWS = 500  # of configurations, for standard errors
WINDOWS = (0.05, 0.2)  # shares of all steps that weights are averaged over
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """A kind of value: of which weights, in how many views, of which epochs."""

    window: float  # 0 for weights as they are
    views: int
    epochs: str  # "last", "best" or "mean of 3"

    def cells(self) -> list[str]:
        """What it is of, for the table."""
        return [self.epochs, f"{self.window:.0%}" if self.window else "no", str(self.views)]

    def of(self, aucs: Mapping[int, float]) -> float:
        """The value that ends with the latest of these epochs."""
        latest = max(aucs)
        if self.epochs == "best":
            return max(aucs.values())
        chosen = [latest] if self.epochs == "last" else [epoch for epoch in aucs if epoch > latest - 3]
        return float(np.mean([aucs[epoch] for epoch in chosen]))

    def looks(self, epochs: int) -> int:
        """At how many views of every patch it looks in all; what needs no whole course, at the rung and in the end."""
        return self.views * {"last": 2, "mean of 3": 6, "best": epochs}[self.epochs]


KINDS = [
    *(Value(0.0, 1, epochs) for epochs in ("best", "last", "mean of 3")),
    *(Value(window, views, "last") for window in (0.0, *WINDOWS) for views in (2, VIEWS)),
    Value(WINDOWS[0], 1, "last"),
    Value(WINDOWS[0], 2, "best"),
]


@dataclass(frozen=True)
class Run:
    """One network.

    Attributes:
        aucs: window, views and epoch -> AUC on the validation patients.
        deployed: AUC on the fold left out, 8 views, weights of the last step.
        training: seconds of CPU.
        look: seconds of CPU that one view of all validation patients takes.
    """

    aucs: Mapping[tuple[float, int, int], float]
    deployed: float
    training: float
    look: float

    @property
    def epochs(self) -> int:
        """That it was trained for."""
        return max(epoch for *_, epoch in self.aucs)

    def value(self, kind: Value, latest: int) -> float:
        """What a search would have taken for its value after this epoch."""
        of_kind = {
            epoch: score
            for (window, views, epoch), score in self.aucs.items()
            if (window, views) == (kind.window, kind.views) and epoch <= latest
        }
        return kind.of(of_kind)


def trained(folder: Path, epochs: int, params: Mapping[str, ParamValue], seed: int) -> Run:
    """One network, trained and looked at in this process."""
    development = load_development(folder)
    learn, unseen = left_out(development, rows_of(development, "train"), seed)
    seen = rows_of(development, "validation")
    training = begin(development, learn, params, epochs=epochs, seed=seed, precision="auto")
    averages = [Average(training.network, window * epochs * training.steps_per_epoch) for window in WINDOWS]
    training.optimizer.register_step_post_hook(lambda *_: [one.follow() for one in averages])
    sides = dict(zip((0.0, *WINDOWS), (training.network, *(one.network for one in averages)), strict=True))
    aucs: dict[tuple[float, int, int], float] = {}
    began, looking = time.process_time(), 0.0
    for scores in train(training):
        looked = time.process_time()
        for window, network in sides.items():
            views = VIEWS if scores.epoch in (first_rung(epochs), epochs) else 2
            logits = evaluate(network, training.patches, seen, training.compute, views=range(views))
            for some in (some for some in (1, 2, VIEWS) if some <= views):
                aucs[window, some, scores.epoch] = auc(development, seen, logits[:, :some])
        looking += time.process_time() - looked
    seconds = time.process_time() - began - looking
    looked = time.process_time()
    evaluate(training.network, training.patches, seen, training.compute)
    look = time.process_time() - looked
    logits = evaluate(training.network, training.patches, unseen, training.compute, views=range(VIEWS))
    return Run(aucs, auc(development, unseen, logits), seconds, look)


def row(kind: Value, runs: Sequence[Sequence[Run]]) -> list[str]:
    """A line of the table; ``runs`` by configuration, then by seed."""
    deployed = np.array([[run.deployed for run in seeds] for seeds in runs])
    foretold = others(deployed)
    epochs = runs[0][0].epochs
    ends = (epochs, first_rung(epochs))
    end, rung = (np.array([[run.value(kind, at) for run in seeds] for seeds in runs]) for at in ends)
    shares = [kind.looks(epochs) * run.look / run.training for seeds in runs for run in seeds]
    gained = [seed[end[:, place].argmax()] - seed.mean() for place, seed in enumerate(foretold.T)]
    return [
        *kind.cells(),
        f"{noise(end):.4f}",
        _ranks(end, foretold),
        _ranks(rung, foretold),
        f"{np.mean(gained):+.4f}",
        f"{np.median(shares):.0%}",
    ]


def others(scores: Floats) -> Floats:
    """(configurations, seeds) -> for each seed the mean of the other seeds."""
    return (scores.sum(axis=1, keepdims=True) - scores) / (scores.shape[1] - 1)


def noise(scores: Floats) -> float:
    """Of (configurations, seeds): the standard deviation of what neither configuration nor seed explains.

    A seed leaves a fold of its own out, which makes all of its scores better or worse, and no configuration.
    """
    rest = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    configurations, seeds = scores.shape
    return float(np.sqrt(np.square(rest).sum() / ((configurations - 1) * (seeds - 1))))


def ceiling(scores: Floats) -> float:
    """The correlation that a value without any noise has with the mean of all seeds but one."""
    seeds = scores.shape[1]
    error = noise(scores) ** 2
    apart = max(float(scores.mean(axis=1).var(ddof=1)) - error / seeds, 0.0)
    return float(np.sqrt(apart / (apart + error / (seeds - 1)))) if apart else 0.0


def _ranks(values: Floats, foretold: Floats) -> str:
    """Mean over the seeds, and its standard error over draws of configurations."""
    rng, count = np.random.default_rng(0), len(values)
    drawn = [_rank(values[rows], foretold[rows]) for rows in rng.integers(count, size=(DRAWS, count))]
    return f"{_rank(values, foretold):.2f} ({np.nanstd(drawn):.2f})"


def _rank(values: Floats, foretold: Floats) -> float:
    with catch_warnings():
        simplefilter("ignore", ConstantInputWarning)  # of a draw that is one configuration again and again
        found = [spearmanr(one, other).statistic for one, other in zip(values.T, foretold.T, strict=True)]
    return float(np.mean(found))


def main(argv: Sequence[str] | None = None) -> int:
    """Trains all of them, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=12, help="of cnn (default: 12)")
    parser.add_argument("--seeds", type=int, default=3, help=f"networks of each, 2 to {FOLDS} (default: 3)")
    parser.add_argument("--epochs", type=int, help="of each network (default: as search.launch)")
    parser.add_argument("--fixed", default="", help="what is the same in all of them, as width=16,kernel=3")
    parser.add_argument("--data", help=f"patches, as search.launch takes them (default: {LARGE} of $HISTOTUNE_SHARED)")
    asked = parser.parse_args(argv)
    epochs = load_model("cnn").epochs if asked.epochs is None else asked.epochs
    if not 2 <= asked.seeds <= FOLDS or asked.configurations < 3 or epochs < FEWEST:
        parser.error(f"2 to {FOLDS} --seeds, 3 or more --configurations and {FEWEST} or more --epochs were expected")
    try:
        fixed = read_parameters(asked.fixed) if asked.fixed else {}
    except ValueError as error:
        parser.error(str(error))
    chosen = configurations("cnn", asked.configurations, **fixed)
    console = Console()
    console.print("; ".join(conditions()))
    with scratch_folder() as folder:
        source = chosen_patches(asked.data, folder / "patches")
        counts = f"{len(chosen)} configurations, {asked.seeds} seeds, {epochs} epochs"
        console.print(f"{source.words}; {counts}, {asked.fixed or 'all free'}")
        with refusing(parser):
            development = prepared(source, folder / "prepared").development
        jobs = [(development, epochs, params, seed) for params in chosen for seed in range(asked.seeds)]
        flat = two_at_a_time(trained, jobs, console)
    runs = [flat[place : place + asked.seeds] for place in range(0, len(flat), asked.seeds)]
    _print(console, runs)
    return 0


def _print(console: Console, runs: Sequence[Sequence[Run]]) -> None:
    deployed = np.array([[run.deployed for run in seeds] for seeds in runs])
    ranked = np.sort(deployed.mean(axis=1))[::-1]
    console.print(
        f"deployed, on folds left out: {ranked[0]:.4f} to {ranked[-1]:.4f}, default {deployed[0].mean():.4f}, "
        f"median {np.median(ranked):.4f}; {np.mean([run.training for seeds in runs for run in seeds]):.0f} core-s each"
    )
    console.print("by configuration: " + ", ".join(f"{score:.4f}" for score in deployed.mean(axis=1)))
    console.print(
        f"one seed's deployed score with the others': rank {_ranks(deployed, others(deployed))}; a value without noise "
        f"would correlate with them by {ceiling(deployed):.2f}"
    )
    table = Table("epoch", "averaged", "views", "noise", "rank", "at the rung", "gained", "cost", padding=0)
    for kind in KINDS:
        table.add_row(*row(kind, runs))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
