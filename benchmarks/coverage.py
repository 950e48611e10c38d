"""How often the 95 % intervals hold the truth, by simulation: ours over patients against the naive one over patches.

Run as ``python -m benchmarks.coverage [--runs 2000] [--designs 34x24 49x200]``. Patients differ in their share of IDC
(Beta(1, 2.5): mean 29 %, near the public set), in the level of their scores (stain) and in how well their IDC shows.
Two models score the same patches equally well, their noise half shared and each with patients of its own that it finds
hard, so that every true difference is zero and a difference that is found is a false one. The truth is the value on
20,000 further patients. Prints one line a design and interval: share of runs that hold the truth, by our method, by
percentiles of the same draws, and over patches.
"""

import argparse
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from studies.statistics.calibration import calibration_line
from studies.statistics.comparison import delong, delong_interval, exact_mcnemar, paired_difference
from studies.statistics.metrics import METRICS, Estimate, estimate, measure
from studies.statistics.resampling import Floats, Ints, Resampling, resample

DESIGNS = ("20x24", "34x24", "49x200")
THRESHOLD = 0.5
DRAWS = {24: 400, 200: 200}
"""Draws over patients by patches a patient; a report takes 2,000, which changes a coverage by about .002."""
NAIVE_DRAWS = 60
DIFFERENCES = ("auc", "balanced_accuracy", "brier")


@dataclass(frozen=True, eq=False)
class Split:
    """A made-up test split: (N,) labels, patients, and the probabilities of two equally good models."""

    labels: Ints
    patients: np.ndarray
    scores: tuple[Floats, Floats]


def simulate(patients: int, patches: int, rng: np.random.Generator) -> Split:
    """Draws a test split from the population."""
    who = np.repeat(np.arange(patients), patches)
    labels = (rng.random(len(who)) < rng.beta(1, 2.5, patients)[who]).astype(np.int64)
    contrast = rng.normal(2.1, 0.5, patients)
    level = shared_and_own(0.35, patients, rng)
    noise = shared_and_own(1.0, len(who), rng)
    first, second = (
        stats.logistic.cdf(-1.05 + a[who] + contrast[who] * labels + b) for a, b in zip(level, noise, strict=True)
    )
    return Split(labels, who.astype(str), (first, second))


def shared_and_own(spread: float, count: int, rng: np.random.Generator) -> Floats:
    """(2, count) two normal variables of this standard deviation, half of whose variance is common to both."""
    parts = rng.normal(0, spread * np.sqrt(0.5), (3, count))
    both: Floats = parts[:2] + parts[2]
    return both


def truth(rng: np.random.Generator) -> dict[str, float]:
    """Every metric on 20,000 patients of 100 patches."""
    split = simulate(20_000, 100, rng)
    resampling = resample(split.patients, split.labels, 1, 0)
    whole = measure(split.labels, split.scores[0], THRESHOLD, resampling)
    intercept, slope = calibration_line(split.labels, stats.logistic.ppf(split.scores[0]), resampling)
    lines = {"calibration_intercept": intercept.value, "calibration_slope": slope.value}
    return {name: float(whole[name].value if name in whole else lines[name] or 0.0) for name in METRICS}


def intervals(split: Split, resampling: Resampling) -> Iterator[tuple[str, Estimate, Estimate]]:
    """Name, our interval and that of the percentiles; none of the latter where nothing is drawn."""
    first, second = (measure(split.labels, scores, THRESHOLD, resampling) for scores in split.scores)
    for name, sampled in first.items():
        yield name, estimate(sampled, resampling), percentiles(sampled.draws)
    line = calibration_line(split.labels, stats.logistic.ppf(split.scores[0]), resampling)
    for name, one in zip(("calibration_intercept", "calibration_slope"), line, strict=True):
        yield name, one, _NONE
    for name in DIFFERENCES:
        found = paired_difference(name, first[name], second[name], resampling)
        drawn = percentiles(first[name].draws - second[name].draws)
        yield f"difference of {name}", Estimate(found.value, found.low, found.high), drawn


_NONE = Estimate(None, None, None)


def percentiles(draws: Floats) -> Estimate:
    """The middle 95 % of the draws."""
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Estimate(None, float(low), float(high))


def of_patches(split: Split) -> Iterator[tuple[str, bool]]:
    """Tests that take patches for independent: whether they rightly find no difference."""
    difference = delong(split.labels, *split.scores)
    yield "DeLong test of the difference", difference.p is not None and difference.p >= 0.05
    first, second = ((scores >= THRESHOLD) == (split.labels == 1) for scores in split.scores)
    yield "exact McNemar test", (exact_mcnemar(first, second).p or 0.0) >= 0.05


def holds(one: Estimate, value: float) -> float:
    """1 where the interval holds the value, 0 where it does not, NaN where there is none."""
    return float(one.low <= value <= one.high) if one.low is not None and one.high is not None else float("nan")


def one_run(design: tuple[int, int], run: int, true: dict[str, float]) -> dict[str, tuple[float, float, float]]:
    """Interval -> whether ours, that of the percentiles and the naive one hold the truth, in one test split."""
    split = simulate(*design, np.random.default_rng([*design, run]))
    clustered = resample(split.patients, split.labels, DRAWS[design[1]], run)
    naive = resample(np.full(len(split.labels), ""), split.labels, NAIVE_DRAWS, run)
    wanted = {**true, **{f"difference of {name}": 0.0 for name in DIFFERENCES}}
    over_patches = {name: holds(one, wanted[name]) for name, one, _ in intervals(split, naive)}
    nan = float("nan")
    found = {
        name: (holds(ours, wanted[name]), holds(drawn, wanted[name]), over_patches[name])
        for name, ours, drawn in intervals(split, clustered)
    }
    single = delong_interval(split.labels, split.scores[0])
    found["DeLong interval of the AUC"] = (nan, nan, nan if single is None else holds(Estimate(*single), true["auc"]))
    return found | {name: (nan, nan, float(right)) for name, right in of_patches(split)}


def coverage(design: tuple[int, int], runs: int, true: dict[str, float]) -> dict[str, Floats]:
    """Interval -> shares of the runs in which it was defined."""
    all_runs = [one_run(design, run, true) for run in range(runs)]
    with np.errstate(invalid="ignore"):
        return {name: _mean(np.array([run[name] for run in all_runs])) for name in all_runs[0]}


def _mean(values: Floats) -> Floats:
    defined = np.isfinite(values)
    return np.where(defined, values, 0.0).sum(axis=0) / np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the conditions and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--designs", nargs="+", default=DESIGNS, choices=DESIGNS)
    asked = parser.parse_args(argv)
    true = truth(np.random.default_rng(0))
    print(f"{asked.runs} runs, {DRAWS} draws over patients, {NAIVE_DRAWS} over patches; numpy {np.__version__}")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print("truth:", {name: round(value, 4) for name, value in true.items()})
    print(f"Monte-Carlo standard error of a coverage of .95: {np.sqrt(0.95 * 0.05 / asked.runs):.4f}", flush=True)
    for design in asked.designs:
        begun = time.perf_counter()
        patients, patches = (int(part) for part in design.split("x"))
        found = coverage((patients, patches), asked.runs, true)
        print(f"\n{patients} patients x {patches} patches ({time.perf_counter() - begun:.0f} s)")
        print(f"{'interval':<34} ours    percentile  naive over patches")
        for name, shares in found.items():
            print(f"{name:<34} " + "  ".join(f"{share:<9.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
