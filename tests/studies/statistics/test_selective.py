"""What is kept when the least certain patches are left open: the definitions, one patch after the other."""

import numpy as np
import pytest

from search.applied.abstaining import Abstaining
from studies.statistics.metrics import estimate
from studies.statistics.resampling import Floats, Ints, Resampling, resample
from studies.statistics.selective import (
    area_under_risk,
    certainty,
    is_right,
    most_certain,
    of_kept,
    risk_coverage,
)


@pytest.fixture(scope="module")
def test_split() -> tuple[Ints, Floats, Resampling]:
    """Labels, probabilities in steps, so that some are equally certain, and their patients."""
    rng = np.random.default_rng(3)
    patients = np.repeat([f"p{k:02d}" for k in range(25)], 16)
    labels = (rng.random(400) < 0.35).astype(np.int64)
    shared = rng.normal(0, 0.6, 25).repeat(16)
    scores = 1 / (1 + np.exp(-(2.2 * (labels - 0.5) + shared + rng.normal(0, 1, 400))))
    return labels, np.round(scores, 2), resample(patients, labels, 200, 0)


def test_the_area_is_the_mean_error_rate_over_all_patches_as_cuts(
    test_split: tuple[Ints, Floats, Resampling],
) -> None:
    labels, probabilities, resampling = test_split
    sure, wrong = certainty(probabilities), ~is_right(probabilities, labels)
    risks = [wrong[sure >= one].mean() for one in sure]
    found = area_under_risk(labels, probabilities, resampling)
    assert found.value == pytest.approx(np.mean(risks))
    without = resampling.clusters != 7
    weights = np.where(without, 1.0, 0.1)
    reduced = [np.average(wrong[sure >= one], weights=weights[sure >= one]) for one in sure]
    assert found.reduced[7] == pytest.approx(np.average(reduced, weights=weights))
    shown = estimate(found, resampling)
    assert shown.low is not None
    assert shown.high is not None
    assert shown.low < found.value < shown.high < wrong.mean()


def test_certainty_that_tells_nothing_has_the_error_rate_for_its_area(
    test_split: tuple[Ints, Floats, Resampling],
) -> None:
    labels, _, resampling = test_split
    alike = np.full(len(labels), 0.2)
    assert area_under_risk(labels, alike, resampling).value == pytest.approx(labels.mean())
    assert most_certain(alike, 0.5).all(), "none is more certain than another"


def test_all_are_kept_at_full_coverage_and_the_most_certain_below(test_split: tuple[Ints, Floats, Resampling]) -> None:
    labels, probabilities, resampling = test_split
    everyone = most_certain(probabilities, 1.0)
    assert everyone.all()
    called = probabilities >= 0.5
    found = of_kept(labels, probabilities, everyone, resampling)
    assert found["accuracy"].value == pytest.approx((called == labels).mean())
    assert found["sensitivity"].value == pytest.approx(called[labels == 1].mean())
    kept = most_certain(probabilities, 0.5)
    assert 200 <= kept.sum() < 215
    assert certainty(probabilities)[kept].min() > certainty(probabilities)[~kept].max()
    half = of_kept(labels, probabilities, kept, resampling)
    assert half["accuracy"].value == pytest.approx((called == labels)[kept].mean())
    assert half["balanced_accuracy"].value == pytest.approx(
        np.mean([(called == labels)[kept & (labels == label)].mean() for label in (0, 1)])
    )
    assert half["accuracy"].value > found["accuracy"].value


def test_the_curve_ends_in_the_error_rate_and_has_bands(test_split: tuple[Ints, Floats, Resampling]) -> None:
    labels, probabilities, resampling = test_split
    curve = risk_coverage(labels, probabilities, resampling)
    wrong = ~is_right(probabilities, labels)
    assert (curve[0].x, curve[-1].x) == (0.05, 1.0)
    assert curve[-1].y.value == pytest.approx(wrong.mean())
    halfway = next(point for point in curve if point.x == 0.5)
    assert halfway.y.value == pytest.approx(wrong[most_certain(probabilities, 0.5)].mean())
    assert halfway.y.low is not None
    assert halfway.y.high is not None
    assert halfway.y.low < halfway.y.high


@pytest.mark.parametrize("error", [0.5, 0.62, 0.9])
def test_what_abstain_calls_is_what_is_most_certain_and_as_it_calls_it(
    error: float, test_split: tuple[Ints, Floats, Resampling]
) -> None:
    _, probabilities, _ = test_split
    sets = np.array(Abstaining(0.1, error, 30).sets(probabilities))
    kept = most_certain(probabilities, np.mean(sets != "0 1"))
    assert np.array_equal(kept, sets != "0 1")
    ones = np.ones(len(sets), np.int64)
    assert np.array_equal(is_right(probabilities, ones)[kept], (sets == "1")[kept])
