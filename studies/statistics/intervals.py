"""From a statistic, and its values with most of each patient taken away, to a standard error and a 95 % interval.

The statistic is computed anew with nine tenths of one patient's patches taken away (by weight), of one patient after
the other: a jackknife, perturbed after Fay (Judkins 1990, Journal of Official Statistics 6, 223-239), so that no class
ever runs out of patches and every fit exists. A patient with the part h of a rate's patches then counts for
1 / (1 - .9 h) of its residual: no more than by a whole jackknife, and up to h = .98 no less than by "CR2"
of Bell & McCaffrey 2002 (Survey Methodology 28, 169-181), with which a variance over a few unequal patients is right on
average. The degrees of freedom of that variance are Satterthwaite's, as there and in Pustejovsky & Tipton 2018
(doi:10.1080/07350015.2016.1247004).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from studies.statistics.resampling import TAKEN, Base, Floats

Bases = Sequence[Base]
"""What a statistic rests on, such as both classes of an AUC."""

FEWEST_OF_A_CLASS = 3
"""Below this number of patients a statistic has no interval: of two, each tells of the other alone."""
_NOTHING = 1e-12  # a standard error below it is rounding
_ONE = {"patients": "patient", "patches": "patch"}


@dataclass(frozen=True)
class Spread:
    """How sure a value is.

    Attributes:
        error: its standard error over patients.
        freedom: degrees of freedom of that error.
    """

    error: float
    freedom: float

    @property
    def half(self) -> float:
        """Half the width of a 95 % interval that is not on another scale."""
        return float(stats.t.ppf(0.975, self.freedom)) * self.error


def spread(value: float, reduced: Floats, bases: Bases, least: float = 0.0) -> Spread:
    """The standard error of a statistic with its degrees of freedom.

    Args:
        value: on all patches.
        reduced: (patients,) with ``TAKEN`` of each patient taken away.
        bases: what it rests on.
        least: the standard error if patches were independent; patients who happen to agree better than that do not
            make a rate surer.
    """
    error = max(least, float(np.sqrt(np.sum((reduced - value) ** 2))) / TAKEN)
    return Spread(error if error > _NOTHING else 0.0, freedom(bases))


def freedom(bases: Bases) -> float:
    """Degrees of freedom of a variance over patients, at least 1.

    Twice its squared mean over its variance (Satterthwaite), as if all patches of a patient were right or wrong
    together; where a statistic rests on both classes, as much of its variance is taken to come from either.
    """
    form = sum((_quadratic_form(base.clusters) for base in bases), start=np.zeros((1, 1)))
    return max(1.0, float(np.trace(form) ** 2 / np.sum(form**2)))


def _quadratic_form(base: Floats) -> Floats:
    """(patients, patients) covariance of the patients' changes to a mean over ``base`` patches; its trace is 1."""
    own = base / base.sum()
    variances = base**2
    crossed = np.outer(own, variances)
    form = np.diag(variances) - crossed - crossed.T + np.outer(own, own) * variances.sum()
    lifted = 1 / (1 - TAKEN * own)
    form = form * np.outer(lifted, lifted)
    whole: Floats = form / max(np.trace(form), _NOTHING)
    return whole


def too_few(bases: Bases, unit: str = "patients") -> str | None:
    """Why there can be no interval, in words; None where there are patients (or whatever ``unit`` is) enough."""
    count = min(base.count for base in bases)
    if count >= FEWEST_OF_A_CLASS:
        return None
    return f"it rests on {count} {_ONE[unit] if count == 1 else unit}; an interval takes {FEWEST_OF_A_CLASS}"


# --- intervals of what lies between 0 and 1 -------------------------------------------------------------------------


def on_the_logit_scale(value: float, found: Spread) -> tuple[float, float]:
    """Value and half a width on the logit scale, by the delta method."""
    centre, half = special.logit(value), found.half / (value * (1 - value))
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def of_a_rate(value: float, found: Spread) -> tuple[float, float]:
    """Wilson's score interval (1927) for as many independent patches as would have this standard error."""
    count, t = value * (1 - value) / found.error**2, found.half / found.error
    centre = (value + t**2 / (2 * count)) / (1 + t**2 / count)
    half = t * np.sqrt(value * (1 - value) / count + (t / (2 * count)) ** 2) / (1 + t**2 / count)
    return float(centre - half), float(centre + half)


def at_the_edge(value: float, bases: Bases) -> tuple[float, float]:
    """The exact interval (Clopper & Pearson 1934) of a value of 0 or 1, each patient a single observation.

    Nothing varies here that would tell how alike the patches of a patient are, so that they are held for the same.
    Patients of unequal size count for as many equal ones as tell as much (Kish 1965), of the class with fewer.
    """
    tail = 1 - 0.025 ** (1 / min(base.effective for base in bases))
    return (0.0, tail) if value == 0.0 else (1 - tail, 1.0)
