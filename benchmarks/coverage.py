"""How often the 95 % intervals hold the truth, by simulation: ours over patients against the naive one over patches.

Run as ``python -m benchmarks.coverage [--runs 2000]``. Patients differ in their share of IDC (Beta(1, 2.5): mean
29 %, near the public set), in the level of their scores (stain) and in how well their IDC shows. The truth is the value
on 20,000 further patients. Prints one line a design and metric: share of runs whose interval holds the truth.
"""

import argparse
import platform
import time
from collections.abc import Sequence

import numpy as np
from scipy import stats

from studies.resampling import Ints, Resampling, resample
from studies.statistics import Sampled, at_threshold, estimate, ranking

METRICS = ("auc", "average_precision", "balanced_accuracy", "sensitivity", "specificity", "f1")
DESIGNS = ((20, 24), (34, 24), (49, 200))
THRESHOLD = 0.5
DRAWS = 400
NAIVE_DRAWS = 100


def simulate(patients: int, patches: int, rng: np.random.Generator) -> tuple[Ints, np.ndarray, np.ndarray]:
    """Labels, probabilities and patients of made-up test patches."""
    who = np.repeat(np.arange(patients), patches)
    labels = (rng.random(len(who)) < rng.beta(1, 2.5, patients)[who]).astype(np.int64)
    level, contrast = rng.normal(0, 0.35, patients), rng.normal(2.1, 0.5, patients)
    logits = -1.05 + level[who] + contrast[who] * labels + rng.normal(0, 1, len(who))
    return labels, stats.logistic.cdf(logits), who.astype(str)


def measured(labels: Ints, probabilities: np.ndarray, resampling: Resampling) -> dict[str, Sampled]:
    """The metrics whose coverage is asked for."""
    return ranking(labels, probabilities, resampling) | at_threshold(labels, probabilities, THRESHOLD, resampling)


def truth(rng: np.random.Generator) -> dict[str, float]:
    """The metrics on 20,000 patients of 100 patches."""
    labels, probabilities, who = simulate(20_000, 100, rng)
    whole = measured(labels, probabilities, resample(who, labels, 1, 0))
    return {name: whole[name].value for name in METRICS}


def holds(sampled: Sampled, resampling: Resampling, value: float) -> bool:
    """Whether the 95 % interval holds the value."""
    one = estimate(sampled, resampling)
    return one.low is not None and one.high is not None and one.low <= value <= one.high


def coverage(patients: int, patches: int, runs: int, true: dict[str, float]) -> dict[str, list[float]]:
    """Metric -> coverage over patients, percentile interval over patients, naive over patches."""
    hits = {name: np.zeros(3) for name in METRICS}
    for run in range(runs):
        rng = np.random.default_rng([patients, patches, run])
        labels, probabilities, who = simulate(patients, patches, rng)
        clustered = resample(who, labels, DRAWS, run)
        naive = resample(np.full(len(who), ""), labels, NAIVE_DRAWS, run)
        ours, theirs = (measured(labels, probabilities, one) for one in (clustered, naive))
        for name in METRICS:
            low, high = np.nanpercentile(ours[name].draws, [2.5, 97.5])
            inside = (holds(ours[name], clustered, true[name]), low <= true[name] <= high)
            hits[name] += (*inside, holds(theirs[name], naive, true[name]))
    return {name: [float(share) for share in counts / runs] for name, counts in hits.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the conditions and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args(argv).runs
    true = truth(np.random.default_rng(0))
    print(f"{runs} runs, {DRAWS} draws over patients, {NAIVE_DRAWS} over patches; numpy {np.__version__}")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print("truth:", {name: round(value, 4) for name, value in true.items()})
    print(f"Monte-Carlo standard error of a coverage of .95: {np.sqrt(0.95 * 0.05 / runs):.4f}")
    for patients, patches in DESIGNS:
        begun = time.perf_counter()
        found = coverage(patients, patches, runs, true)
        print(f"\n{patients} patients x {patches} patches ({time.perf_counter() - begun:.0f} s)")
        print(f"{'metric':<20} logit+t  percentile  naive over patches")
        for name, (ours, percentile, naive) in found.items():
            print(f"{name:<20} {ours:.3f}    {percentile:.3f}       {naive:.3f}", flush=True)


if __name__ == "__main__":
    main()
