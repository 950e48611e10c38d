"""What preprocessing and stain jitter are worth: the default cnn and colour alone, out of fold by patient.

Arms: pixels as they are, standardised, Reinhard, Macenko (each without stain jitter), and stain jitter of 0.05 and 0.2
on pixels as they are. Everything else is the default configuration of cnn, trained to the end of its schedule and
scored by the mean logit of the 8 views. A fold's reference is fitted on that fold's training patients alone. Folds and
initial weights of a seed are the same in all arms, so that every difference is paired. Patches without a patient, and
copies, are left out.

    python -m benchmarks.preprocessing [--epochs 8] [--folds 3] [--seeds 3] [--patches N] [--processes 2]

A row of the table: AUC of the pooled out-of-fold scores, mean and range over the seeds; AUC minus that of pixels as
they are, mean over the seeds, with a 95 % interval over patients (paired, as in the report; the seeds are
those that were run, so that their spread is not in it); balanced accuracy where as many patches are called as have IDC;
AUC of a logistic regression on colour histograms, which tells how much colour an arm leaves, and its difference;
seconds of one core, transforming, training and scoring. Five intervals are looked at side by side, unadjusted.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from optuna.trial import FixedTrial
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks._launch import patches, scratch_folder
from benchmarks._report import conditions
from data_utils.colour.augment import VIEWS
from data_utils.colour.preprocessing import fit
from data_utils.quality.cleaning import clean
from data_utils.readers.patches import PatchSet, read_patches
from models._registry import load_model
from search.final.baselines import COLOUR, baseline_logits
from search.training.device import Compute, choose_precision, layout_on, set_up
from search.training.device_patches import DevicePatches
from search.training.loop import Training, evaluate, train
from search.training.seeds import derive_seed
from studies.statistics.calibration import sigmoid
from studies.statistics.comparison import Difference, paired_difference
from studies.statistics.metrics import Sampled, at_threshold, ranking
from studies.statistics.resampling import Floats, Ints, Resampling, resample

MODEL, DEVICE, STATISTICS_SEED = "cnn", "cpu", 0


@dataclass(frozen=True)
class Arm:
    """What is compared: a preprocessing and a strength of stain jitter."""

    name: str
    kind: str = "none"
    jitter: float = 0.0


NONE = Arm("none")
ARMS = (
    NONE,
    Arm("standardise", "standardise"),
    Arm("Reinhard", "reinhard"),
    Arm("Macenko", "macenko"),
    Arm("HED jitter 0.05", jitter=0.05),
    Arm("HED jitter 0.2", jitter=0.2),
)


@dataclass(frozen=True)
class Job:
    """One network: an arm, a seed, and a fold that is held out."""

    arm: Arm
    seed: int
    fold: int
    folds: int
    epochs: int
    layout: str
    folder: Path


@dataclass(frozen=True, eq=False)
class Scores:
    """What a job found of its held-out rows.

    Attributes:
        rows: (n,).
        network: (n,) mean logits over the views.
        colour: (n,) logits of the regression on colour histograms.
        seconds: of one core.
    """

    rows: Ints
    network: Floats
    colour: Floats
    seconds: float


@dataclass(frozen=True)
class Row:
    """An arm in the table; of each score the mean over the seeds, and its difference to ``NONE``."""

    arm: Arm
    aucs: tuple[float, ...]
    balanced_accuracies: tuple[float, ...]
    colour: float
    auc_difference: Difference
    colour_difference: Difference
    seconds: float


def write(source: str, folder: Path) -> PatchSet:
    """Cleaned patches, also as arrays in the folder for all processes to map."""
    kept = clean(read_patches(source), into=folder / "kept.npy", exclude=("no_patient",))
    assert kept.labels is not None
    assert kept.patients is not None
    for name, column in (("X", kept.pixels), ("Y", kept.labels), ("patients", kept.patients)):
        np.save(folder / f"{name}.npy", column, allow_pickle=False)
    return kept


@cache
def read(folder: Path) -> tuple[npt.NDArray[np.uint8], Ints, npt.NDArray[np.str_]]:
    """Pixels (mapped), labels and patients, once a process."""
    set_up(DEVICE, 1)
    pixels = np.load(folder / "X.npy", mmap_mode="r", allow_pickle=False)
    labels, patients = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("Y", "patients"))
    return pixels, labels, patients


def compute_in(layout: str) -> Compute:
    """On this CPU, in the precision that a search would choose."""
    return Compute(DEVICE, choose_precision("auto", DEVICE), layout)


def configuration(jitter: float) -> FixedTrial:
    """The default of the model, but for the jitter."""
    return FixedTrial({**load_model(MODEL).default, "stain_jitter": jitter})


def run(job: Job) -> Scores:
    """Fits, transforms, trains and scores, in a process of its own."""
    pixels, labels, patients = read(job.folder)
    splitter = StratifiedGroupKFold(job.folds, shuffle=True, random_state=job.seed)
    learn, held_out = list(splitter.split(labels, labels, patients))[job.fold]
    began = time.perf_counter()
    seen = fit(job.arm.kind, pixels, learn).apply(pixels)
    logits = network_logits(job, seen, labels, learn, held_out)
    seconds = time.perf_counter() - began
    colour = baseline_logits(seen[learn], labels[learn], seen[held_out])[COLOUR]
    return Scores(held_out, logits, colour, seconds)


def network_logits(job: Job, pixels: npt.NDArray[np.uint8], labels: Ints, learn: Ints, held_out: Ints) -> Floats:
    """(n,) of the held-out rows, by a network that learnt on the others."""
    model, on_device, compute = load_model(MODEL), DevicePatches.load(pixels, labels, DEVICE), compute_in(job.layout)
    training = Training.begin(
        model,
        model.suggest(configuration(job.arm.jitter)),
        None,
        on_device,
        learn,
        epochs=job.epochs,
        seed=derive_seed(MODEL, job.seed, job.fold),
        compute=compute,
    )
    for _ in train(training):
        pass
    mean: Floats = evaluate(training.network, on_device, held_out, compute, views=range(VIEWS)).mean(axis=1)
    return mean


def run_all(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Scores]]:
    """Every job with what it found, as they end."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(run, job): job for job in jobs}
        for number, done in enumerate(as_completed(waiting), start=1):
            job = waiting[done]
            print(f"{number} of {len(jobs)}: {job.arm.name}, seed {job.seed}, fold {job.fold}", file=sys.stderr)
            yield job, done.result()


def sampled(logits: Sequence[Floats], labels: Ints, resampling: Resampling) -> tuple[Sampled, list[dict[str, float]]]:
    """AUC as the mean over the seeds with what its interval rests on; and AUC and balanced accuracy of each seed."""
    found = []
    for each in logits:
        probabilities = sigmoid(each)
        cut = float(np.quantile(probabilities, 1 - labels.mean()))  # as many are called as there are
        found.append(ranking(labels, each, resampling) | at_threshold(labels, probabilities, cut, resampling))
    aucs = [seed["auc"] for seed in found]
    reduced = np.mean([one.reduced for one in aucs], axis=0)
    mean = Sampled(float(np.mean([one.value for one in aucs])), reduced, aucs[0].bases)
    names = ("auc", "balanced_accuracy")
    return mean, [{name: seed[name].value for name in names} for seed in found]


def rows_of(found: Sequence[tuple[Job, Scores]], kept: PatchSet) -> list[Row]:
    """The table, an arm a row."""
    labels, patients = kept.labels, kept.patients
    assert labels is not None
    assert patients is not None
    resampling = resample(patients, labels, draws=0, seed=STATISTICS_SEED)
    network = {arm: sampled(pooled(found, arm, "network", len(labels)), labels, resampling) for arm in ARMS}
    colour = {arm: sampled(pooled(found, arm, "colour", len(labels)), labels, resampling)[0] for arm in ARMS}
    return [
        Row(
            arm=arm,
            aucs=tuple(seed["auc"] for seed in network[arm][1]),
            balanced_accuracies=tuple(seed["balanced_accuracy"] for seed in network[arm][1]),
            colour=colour[arm].value,
            auc_difference=paired_difference("auc", network[arm][0], network[NONE][0], resampling),
            colour_difference=paired_difference("colour", colour[arm], colour[NONE], resampling),
            seconds=sum(scores.seconds for job, scores in found if job.arm == arm),
        )
        for arm in ARMS
    ]


def pooled(found: Sequence[tuple[Job, Scores]], arm: Arm, score: str, count: int) -> list[Floats]:
    """(count,) out-of-fold logits of each seed."""
    seeds: dict[int, Floats] = {}
    for job, scores in found:
        if job.arm == arm:
            seeds.setdefault(job.seed, np.full(count, np.nan))[scores.rows] = getattr(scores, score)
    return [seeds[seed] for seed in sorted(seeds)]


def table(rows: Sequence[Row]) -> str:
    """As Markdown, for LOG.md."""
    lines = [
        "| arm | AUC (range over seeds) | minus none | balanced accuracy | colour alone | minus none | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        spread = f"{min(row.aucs):.4f} to {max(row.aucs):.4f}"
        cells = (
            row.arm.name,
            f"{np.mean(row.aucs):.4f} ({spread})",
            difference(row, row.auc_difference),
            f"{np.mean(row.balanced_accuracies):.4f}",
            *(("", "") if row.arm.jitter else (f"{row.colour:.4f}", difference(row, row.colour_difference))),
            f"{row.seconds:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(row: Row, found: Difference) -> str:
    """With its interval; nothing for the arm that all are compared with."""
    if row.arm == NONE:
        return ""
    if found.low is None or found.high is None:
        return "no interval"
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the conditions and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("epochs", 8), ("folds", 3), ("seeds", 3), ("processes", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--patches", type=int, default=None, help="of whole patients; all by default")
    asked = parser.parse_args(argv)
    for line in conditions():
        print(line)
    with scratch_folder() as folder:
        source = patches(asked.patches, folder / "part")
        kept = write(source.data, folder)
        layout = layout_on(DEVICE, load_model(MODEL))
        compute = compute_in(layout)
        print(
            f"{source.words}, {len(kept)} of {len(np.unique(kept.patients))} patients; {MODEL}, {asked.epochs} epochs, "
            f"{asked.folds} folds, {asked.seeds} seeds; {compute.precision}, {compute.layout}, one thread in each of "
            f"{asked.processes} processes",
            flush=True,
        )
        jobs = [
            Job(arm, seed, fold, asked.folds, asked.epochs, layout, folder)
            for seed in range(asked.seeds)
            for fold in range(asked.folds)
            for arm in ARMS
        ]
        began = time.perf_counter()
        found = list(run_all(jobs, asked.processes))
        print(f"{len(jobs)} networks in {time.perf_counter() - began:.0f} s\n\n{table(rows_of(found, kept))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
