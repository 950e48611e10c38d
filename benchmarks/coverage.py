"""How often the 95 % intervals hold the truth, and how wide they are, by simulation.

Run as ``python -m benchmarks.coverage [--runs 300] [--patients 5 8 12] [--designs equal skewed tied dominant]
[--ours]``. A made-up test split has so many patients; 15 % of them have no IDC, the others a share of Beta(.8, 1.6).
They differ in the level of their scores (stain) and in how well their IDC shows. Two models score the same patches
equally well; half of the variance of each effect and of the noise is common to both and the other half each model's
own, so that each has patients whom it finds hard, every true difference is zero, and a difference that is found is a
false one.

equal: 40 patches a patient. skewed: 10 to 150, most of them few. tied: as many, and more IDC where there are more
patches. dominant: one patient has 80 % of all patches. The truth is the value on 20,000 further patients.

Prints one line an interval and number of patients: share of runs that hold the truth, and median width, of our
interval; of what was ours before (draws of patients, t on the effective patients of the rarer class); of Obuchowski's
1997; of the percentiles of the draws and of BCa; and how often there is an interval. ``--ours`` takes no draws and
prints the first alone, on the same splits, in a tenth of the time.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from studies.statistics.calibration import calibration_line
from studies.statistics.comparison import Difference, delong, difference, exact_mcnemar, paired_difference
from studies.statistics.intervals import Spread, freedom, on_the_logit_scale, too_few
from studies.statistics.metrics import Estimate, Sampled, estimate, measure
from studies.statistics.obuchowski import obuchowski
from studies.statistics.resampling import Floats, Ints, Resampling, resample

DESIGNS = ("equal", "skewed", "tied", "dominant")
PATIENTS = (5, 8, 12, 20, 34, 50)
THRESHOLD = 0.5
OF_THE_TRUTH = 20_000
"""Patients whose value is the truth."""
DRAWS = 200
"""Draws of patients for the intervals that ours is compared to; 2,000 change a coverage by about .004."""
DIFFERENCES = ("auc", "balanced_accuracy", "brier")
COLUMNS = ("ours", "before", "Obuchowski", "percentiles", "BCa")
"""In the order of the figures of a line."""


@dataclass(frozen=True, eq=False)
class Split:
    """A made-up test split: (N,) labels, patients, and the logits of two equally good models."""

    labels: Ints
    patients: Ints
    logits: tuple[Floats, Floats]


class Draws(Resampling):
    """Each draw in the place of a patient taken away: ``measure`` then gives every statistic on every draw."""

    @property
    def reduced(self) -> Floats:
        """(draws, patients)."""
        return self.weights.astype(np.float64)

    @classmethod
    def of(cls, other: Resampling) -> "Draws":
        """The draws of another."""
        return cls(**vars(other))

    def sum_reduced(self, per_patch: npt.NDArray[np.generic]) -> Floats:
        """(N, ...) -> (draws, ...)."""
        return self.sum(per_patch)


# --- the made-up patients -------------------------------------------------------------------------------------------


def simulate(design: str, patients: int, rng: np.random.Generator) -> Split:
    """Draws a test split from the population."""
    place = rng.normal(size=patients)  # in the order of patches, of who has most
    sizes = sizes_of(design, place)
    shares = shares_of(design, place, rng)
    who = np.repeat(np.arange(patients), sizes)
    labels = (rng.random(len(who)) < shares[who]).astype(np.int64)
    level, contrast = shared_and_own(0.35, patients, rng), 2.1 + shared_and_own(0.5, patients, rng)
    noise = shared_and_own(1.0, len(who), rng)
    first, second = (-1.05 + a[who] + b[who] * labels + c for a, b, c in zip(level, contrast, noise, strict=True))
    return Split(labels, who, (first, second))


def sizes_of(design: str, place: Floats) -> Ints:
    """(patients,) patches of each."""
    if design in ("skewed", "tied"):
        return np.exp(np.log(10) + stats.norm.cdf(place) * np.log(15)).astype(np.int64)
    sizes = np.full(len(place), 20 if design == "dominant" else 40)
    if design == "dominant":
        sizes[0] = 4 * sizes[1:].sum()
    return sizes


def shares_of(design: str, place: Floats, rng: np.random.Generator) -> Floats:
    """(patients,) share of IDC among the patches of each."""
    mixed = 0.8 * place + 0.6 * rng.normal(size=len(place)) if design == "tied" else rng.normal(size=len(place))
    shares: Floats = stats.beta.ppf(stats.norm.cdf(mixed), 0.8, 1.6)
    shares[rng.random(len(place)) < 0.15] = 0.0
    return shares


def shared_and_own(spread: float, count: int, rng: np.random.Generator) -> Floats:
    """(2, count) two normal variables of this standard deviation, half of whose variance is common to both."""
    parts = rng.normal(0, spread * np.sqrt(0.5), (3, count))
    both: Floats = parts[:2] + parts[2]
    return both


def truth(design: str, rng: np.random.Generator) -> dict[str, float]:
    """Every metric on all patients of the truth; who dominates a split is a patient like any other."""
    split = simulate("equal" if design == "dominant" else design, OF_THE_TRUTH, rng)
    whole = Draws.of(resample(split.patients.astype(str), split.labels, 1, 0))
    measured = measure(split.labels, split.logits[0], THRESHOLD, whole)
    lines = calibration_line(split.labels, split.logits[0], whole)
    found = {name: each.value for name, each in measured.items()}
    found |= {name: line.value or 0.0 for name, line in zip(LINES, lines, strict=True)}
    return found | {f"difference of {name}": 0.0 for name in DIFFERENCES}


LINES = ("calibration_intercept", "calibration_slope")


# --- the intervals --------------------------------------------------------------------------------------------------

Interval = tuple[float, float] | None


def intervals(split: Split, draws: int, seed: int) -> Iterator[tuple[str, tuple[Interval, ...]]]:
    """Name, and the interval of each of ``COLUMNS``; None where there is none, and of all but ours without draws."""
    resampling = resample(split.patients.astype(str), split.labels, draws, seed)
    ours = [measure(split.labels, each, THRESHOLD, resampling) for each in split.logits]
    drawn = [measure(split.labels, each, THRESHOLD, Draws.of(resampling)) for each in split.logits] if draws else []
    for name, sampled in ours[0].items():
        compared = beside(name, split, resampling, sampled, [each[name] for each in drawn[:1]])
        yield name, (ends(estimate(sampled, resampling)), *compared)
    lines = calibration_line(split.labels, split.logits[0], resampling)
    for name, line in zip(LINES, lines, strict=True):
        yield name, (ends(line), None, None, None, None)
    for name in DIFFERENCES:
        compared = beside(
            name, split, resampling, difference(*(each[name] for each in ours)), [each[name] for each in drawn]
        )
        found = ends(paired_difference(name, ours[0][name], ours[1][name], resampling))
        yield f"difference of {name}", (found, *compared)


def beside(
    name: str, split: Split, resampling: Resampling, whole: Sampled, drawn: Sequence[Sampled]
) -> tuple[Interval, ...]:
    """All but the first of ``COLUMNS``, of a score, or of the difference of two; None of each without draws."""
    if not drawn:
        return (None,) * (len(COLUMNS) - 1)
    one = drawn[0] if len(drawn) == 1 else difference(*drawn)
    opinion = second_opinion(split.labels, resampling, whole, split.logits[: len(drawn)]) if name == "auc" else None
    return before(one, resampling), opinion, *of_draws(one, whole)


def ends(one: Estimate | Difference) -> Interval:
    """Both ends, where there are any."""
    return None if one.low is None or one.high is None else (one.low, one.high)


def before(drawn: Sampled, resampling: Resampling) -> Interval:
    """What was ours until the draws gave way: their spread, t on the effective patients of the rarer class."""
    value, count = drawn.value, max(2.0, resampling.effective)
    if drawn.scale in ("rate", "logit") and value in (0.0, 1.0):
        tail = 1 - 0.025 ** (1 / resampling.patients)
        return (0.0, tail) if value == 0.0 else (1 - tail, 1.0)
    there, back = SCALES.get(drawn.scale, SCALES["plain"])
    least = min(0.5 / (len(resampling.clusters) + 1), value / 2, (1 - value) / 2)
    draws = drawn.reduced[np.isfinite(drawn.reduced)]
    spread = np.std(there(np.clip(draws, least, 1 - least) if there is special.logit else draws), ddof=1)
    half = stats.t.ppf(0.975, count - 1) * spread * np.sqrt(count / (count - 1))
    low, high = back(there(np.array(value)) - half), back(there(np.array(value)) + half)
    return float(low), float(high)


Scale = tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]
SCALES: dict[str, Scale] = {
    "logit": (special.logit, special.expit),
    "rate": (special.logit, special.expit),
    "log": (np.log, np.exp),
    "plain": (np.positive, np.positive),
}
"""There and back."""


def second_opinion(labels: Ints, resampling: Resampling, sampled: Sampled, scores: Sequence[Floats]) -> Interval:
    """By Obuchowski's variance, with our degrees of freedom."""
    value, error = obuchowski(labels, resampling, *scores)
    if too_few(sampled.bases) or not error > 0:
        return None
    found = Spread(error, freedom(sampled.bases))
    return on_the_logit_scale(value, found) if len(scores) == 1 else (value - found.half, value + found.half)


def of_draws(drawn: Sampled, whole: Sampled) -> tuple[Interval, Interval]:
    """The middle 95 % of the draws, and BCa (Efron 1987), whose acceleration is that of our jackknife."""
    draws = drawn.reduced[np.isfinite(drawn.reduced)]
    shift = whole.value - whole.reduced
    if len(draws) < 2 or not np.any(shift):
        return None, None
    below = (np.mean(draws < drawn.value) + np.mean(draws <= drawn.value)) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / len(draws), 1 - 1 / len(draws)))
    speed = -np.sum(shift**3) / (6 * np.sum(shift**2) ** 1.5)
    ends = bias + stats.norm.ppf([0.025, 0.975])
    shares = [[0.025, 0.975], stats.norm.cdf(bias + ends / (1 - speed * ends))]
    (low, high), (lower, higher) = np.quantile(draws, np.clip(shares, 0, 1))
    return (float(low), float(high)), (float(lower), float(higher))


def of_patches(split: Split) -> Iterator[tuple[str, bool]]:
    """Tests that take patches for independent: whether they rightly find no difference."""
    found = delong(split.labels, *split.logits)
    yield "DeLong test of the difference", found.p is None or found.p >= 0.05
    first, second = ((logits >= 0) == (split.labels == 1) for logits in split.logits)
    yield "exact McNemar test", (exact_mcnemar(first, second).p or 0.0) >= 0.05


# --- runs -----------------------------------------------------------------------------------------------------------


def one_run(design: str, patients: int, run: int, true: dict[str, float], draws: int) -> dict[str, Floats]:
    """Interval -> (COLUMNS, 2) whether each holds the truth and its width, NaN where there is none."""
    split = simulate(design, patients, np.random.default_rng([DESIGNS.index(design), patients, run]))
    if len(np.unique(split.labels)) < 2:
        return {}
    found = {
        name: np.array(
            [[np.nan] * 2 if one is None else [one[0] <= true[name] <= one[1], one[1] - one[0]] for one in each]
        )
        for name, each in intervals(split, draws, run)
    }
    nothing = np.full((len(COLUMNS), 2), np.nan)
    for name, right in of_patches(split):
        found[name] = nothing.copy()
        found[name][0, 0] = right
    return found


def coverage(
    design: str, patients: int, runs: int, true: dict[str, float], draws: int
) -> dict[str, tuple[Floats, float]]:
    """Interval -> (COLUMNS, 2) shares of the runs that hold the truth and median widths; how often ours is there."""
    every = [one_run(design, patients, run, true, draws) for run in range(runs)]
    names = dict.fromkeys(name for run in every for name in run)
    return {name: _summary([run[name] for run in every if name in run], runs) for name in names}


def _summary(found: Sequence[Floats], runs: int) -> tuple[Floats, float]:
    stacked = np.stack(found)  # (runs, COLUMNS, 2)
    there = np.isfinite(stacked[:, :, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column may be empty throughout
        figures = np.stack([np.nanmean(stacked[:, :, 0], axis=0), np.nanmedian(stacked[:, :, 1], axis=0)], axis=1)
    return figures, float(there[:, 0].sum() / runs)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the conditions and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--patients", type=int, nargs="+", default=PATIENTS)
    parser.add_argument("--designs", nargs="+", default=DESIGNS, choices=DESIGNS)
    parser.add_argument("--ours", action="store_true")
    asked = parser.parse_args(argv)
    draws = 0 if asked.ours else DRAWS
    print(f"{asked.runs} runs, {draws} draws of patients; numpy {np.__version__}")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"Monte-Carlo standard error of a coverage of .95: {np.sqrt(0.95 * 0.05 / asked.runs):.4f}")
    for design in asked.designs:
        true = truth(design, np.random.default_rng(0))
        print(f"\n{design}; truth:", {name: round(value, 4) for name, value in true.items()})
        for patients in asked.patients:
            begun = time.perf_counter()
            found = coverage(design, patients, asked.runs, true, draws)
            print(f"\n{design}, {patients} patients ({time.perf_counter() - begun:.0f} s): coverage/width")
            print(f"{'interval':<34}" + "".join(f"{name:<13}" for name in COLUMNS) + "given")
            for name, (figures, given) in found.items():
                cells = ("–" if np.isnan(share) else f"{share:.3f}/{width:.3f}" for share, width in figures)
                print(f"{name:<34}" + "".join(f"{cell:<13}" for cell in cells) + f"{given:.2f}", flush=True)


if __name__ == "__main__":
    main()
