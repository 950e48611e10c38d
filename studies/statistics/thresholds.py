"""The threshold for calling a patch IDC: chosen out of fold, and judged on patients by whom it was not chosen."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.statistics.metrics import Estimate
from studies.statistics.resampling import Floats, Ints, Resampling, resample

_CANDIDATES = 512
_COUNTS = 20_000_000  # patients x candidates held at once: 160 MB, twice


@dataclass(frozen=True)
class Threshold:
    """A threshold on the probability, with a 95 % interval over patients, and why it is that number."""

    chosen: Estimate
    rule: str


def choose_threshold(
    probabilities: Floats, labels: Ints, patients: npt.NDArray[np.str_], *, draws: int = 2000, seed: int = 0
) -> Threshold:
    """The prevalence of the development patches, or the threshold with the best balanced accuracy where that gains.

    The prevalence best survives the step from single members to their mean. Whether another one gains cannot be read
    from the patients that chose it: on them the best of many always looks better. So it is chosen anew in each draw of
    patients and judged by those that the draw left out; it takes the place of the prevalence where its mean gain there
    is more than one standard error.

    Args:
        probabilities: (N,) out of fold, after temperature.
        labels: (N,) 1 is IDC.
        patients: (N,) "" where unknown.
        draws: bootstrap draws.
        seed: of these draws.
    """
    refuse_one_class(labels)
    prevalence = float(np.mean(labels))
    resampling = resample(patients, labels, draws, seed)
    counts = _Counts.of(probabilities, labels, resampling, prevalence)
    best = counts.best(np.ones((1, resampling.patients)))[0]
    chosen, gains, shares = _over_draws(counts, resampling)
    judged = gains[np.isfinite(gains)]
    if not resampling.enough or len(judged) < 2:
        few = "too few patients have both kinds of patches for another threshold to be judged"
        return Threshold(Estimate(prevalence, None, None), f"development prevalence: {few}")
    gain, spread = float(judged.mean()), float(judged.std(ddof=1) * np.sqrt(_LEFT_OUT))
    found = _within(counts.thresholds[best], counts.thresholds[chosen])
    left_out = "patients by whom it was not chosen" if resampling.known else "patches by which it was not chosen"
    words = f"on {left_out}, {'' if gain > spread else 'not '}more than one standard error"
    gained = f"{gain:.4f} of balanced accuracy {words} ({spread:.4f})"
    if gain > spread:
        return Threshold(
            found, f"best balanced accuracy out of fold: gains {gained} over the prevalence {prevalence:.3f}"
        )
    other = f"the best threshold out of fold, {found.value:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})"
    return Threshold(_within(prevalence, shares), f"development prevalence: {other}, gains {gained}")


_LEFT_OUT = np.exp(-1)
"""Share of the patients that a draw leaves out: a gain on these alone varies more than one on all of them."""


def refuse_one_class(labels: Ints) -> None:
    """Nothing can be fitted to patches of one class.

    Raises:
        ValueError: they are.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError("temperature and threshold need patches of both classes; found one class only")


@dataclass(frozen=True, eq=False)
class _Counts:
    """Patches of each patient that candidates call IDC.

    Attributes:
        thresholds: (T,) ascending, the prevalence among them.
        usual: place of the prevalence.
        hits, alarms: (patients, T) with and without IDC, at or above each threshold.
        idc, rest: (patients,) all of them.
    """

    thresholds: Floats
    usual: int
    hits: Floats
    alarms: Floats
    idc: Floats
    rest: Floats

    @classmethod
    def of(cls, probabilities: Floats, labels: Ints, resampling: Resampling, prevalence: float) -> "_Counts":
        thresholds = _candidates(probabilities, prevalence, max(32, min(_CANDIDATES, _COUNTS // resampling.patients)))
        reached = np.searchsorted(thresholds, probabilities, side="right")  # (N,) how many thresholds call it IDC
        shape = (resampling.patients, len(thresholds) + 1)
        place = np.ravel_multi_index((resampling.clusters, reached), shape)
        hits, alarms = (
            np.bincount(place[labels == label], minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
            for label in (1, 0)
        )
        at_least = [np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] for counts in (hits, alarms)]
        usual = int(np.searchsorted(thresholds, prevalence))
        return cls(thresholds, usual, *(each[:, 1:] for each in at_least), *(each[:, 0] for each in at_least))

    def balanced_accuracy(self, weights: Floats) -> Floats:
        """(B, patients) how often each counts -> (B, T); NaN where they hold one class only."""
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity = weights @ self.hits / (weights @ self.idc)[:, None]
            alarms = weights @ self.alarms / (weights @ self.rest)[:, None]
        return (1 + sensitivity - alarms) / 2

    def best(self, weights: Floats) -> Ints:
        """(B,) place of the best threshold; of equally good ones that which is next to the prevalence."""
        found = np.nan_to_num(self.balanced_accuracy(weights), nan=-1.0)
        tied = found >= found.max(axis=1, keepdims=True) - 1e-12
        away = np.abs(np.arange(len(self.thresholds)) - self.usual)
        nearest: Ints = np.argmin(np.where(tied, away, len(away)), axis=1)
        return nearest


def _candidates(probabilities: Floats, prevalence: float, most: int) -> Floats:
    """(T,) half-way between neighbours of what was predicted, at equally many patches, and the prevalence."""
    distinct = np.unique(probabilities)
    if len(distinct) > most:
        distinct = np.unique(np.quantile(probabilities, np.linspace(0, 1, most)))
    return np.unique(np.append((distinct[1:] + distinct[:-1]) / 2, prevalence))


def _over_draws(counts: _Counts, resampling: Resampling) -> tuple[Ints, Floats, Floats]:
    """By draw: place of the best threshold, its gain on the patients left out, and the prevalence."""
    chosen, gains, shares = [], [], []
    for block in resampling.blocks():
        drawn = block.astype(np.float64)
        best = counts.best(drawn)
        judged = counts.balanced_accuracy((block == 0).astype(np.float64))
        chosen.append(best)
        gains.append(judged[np.arange(len(best)), best] - judged[:, counts.usual])
        shares.append(drawn @ counts.idc / (drawn @ (counts.idc + counts.rest)))
    return np.concatenate(chosen), np.concatenate(gains), np.concatenate(shares)


def _within(value: float, draws: Floats) -> Estimate:
    """A number with the middle 95 % of its draws, widened to hold it."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))
