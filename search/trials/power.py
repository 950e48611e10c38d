"""What difference the test patients will be able to show, from development patients: no test row is read."""

import numpy as np

from data_utils.quality.histograms import colour_histograms, mean_colour
from data_utils.quality.suspects import out_of_fold
from data_utils.readers.patchset import Ints, known
from data_utils.split.prepare import DevelopmentSet
from studies.statistics.comparison import LARGEST, Difference, detectable, paired_difference
from studies.statistics.metrics import PRIMARY, Sampled, ranking
from studies.statistics.resampling import FEWEST_PATIENTS, GROUPS, MOST_PATIENTS, Floats, resample

_MOST = 10_000  # development patches that are scored


def can_show(development: DevelopmentSet, test_patients: int, test_patches: int) -> str:
    """The smallest difference of AUC that is found with 80 % power, in words.

    Two simple scores of colour stand for two models: one knows every histogram, the other the mean colour alone. How
    much their difference varies from patient to patient is measured out of fold, and carried over to the test patients,
    of whom only the number is known.

    Args:
        development: its patches.
        test_patients: 0 where patients are unknown.
        test_patches: all of them.
    """
    if development.patients is not None and test_patients < FEWEST_PATIENTS:
        return (
            f"{test_patients} test patients are too few for any interval; give more patients, or --split more of them"
        )
    count, unit = (test_patches, "patches") if development.patients is None else (test_patients, "patients")
    measured = _difference(development)
    if measured is None:
        few = "too few development patients have both classes"
        return f"what difference {count} test {unit} can show cannot be told: {few}"
    difference, patients = measured
    most = GROUPS if development.patients is None else MOST_PATIENTS
    found = detectable(_carried(difference, count / patients, min(count, most) / min(patients, most)))
    assert found is not None
    by = f"80 % power, two-sided 5 %; as two scores of colour differ on {patients} development {unit}"
    bound = "" if development.patients is not None else "; patients are unknown, so it takes more in truth"
    if found > LARGEST:
        return f"{count} test {unit} cannot show even the largest difference of AUC ({by}{bound}): --split more of them"
    return f"{count} test {unit} can show a difference of AUC of {found:.3f} or more ({by}{bound})"


def _carried(difference: Difference, ratio: float, clusters: float) -> Difference:
    """The same difference over ``ratio`` times as many patients, who make up ``clusters`` times as many groups."""
    assert difference.standard_error is not None
    assert difference.freedom is not None
    freedom = max(1.0, (difference.freedom + 1) * clusters - 1)
    spread = difference.standard_error / float(np.sqrt(ratio))
    return Difference(difference.statistic, difference.value, standard_error=spread, freedom=freedom)


def _difference(development: DevelopmentSet) -> tuple[Difference, int] | None:
    """Of the AUCs of both scores, with its spread over patients, and how many these are."""
    rows = _some(len(development.pixels))
    labels = known(development)[rows]
    patients = np.full(len(rows), "") if development.patients is None else development.patients[rows]
    groups = np.arange(len(rows)) if development.patients is None else np.unique(patients, return_inverse=True)[1]
    pixels = development.pixels[rows]
    resampling = resample(patients, labels, draws=0, seed=0)

    def auc_of(values: Floats) -> Sampled | None:
        scored = out_of_fold(values, labels, groups, seed=0)
        return None if scored is None else ranking(labels, scored.logits, resampling)["auc"]

    first, second = auc_of(colour_histograms(pixels)), auc_of(mean_colour(pixels))
    if first is None or second is None:
        return None
    difference = paired_difference(PRIMARY, first, second, resampling)
    return (difference, len(np.unique(groups))) if difference.freedom is not None else None


def _some(count: int) -> Ints:
    """Rows that are looked at: all, or as many as are quickly scored, drawn with a fixed seed."""
    if count <= _MOST:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, _MOST, replace=False))
