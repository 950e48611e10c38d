"""Patients like the known ones lie outside as seldom as promised, others are found."""

import numpy as np
import pytest

from studies.statistics.outlying import bound, distances, each_from_the_others, fewest_known


def test_of_patients_like_the_known_ones_one_in_twenty_lies_outside() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(5, 5))
    shares = []
    for _ in range(60):
        known, new = (rng.standard_t(5, size=(count, 5)) @ mixed for count in (40, 60))
        shares.append(np.mean(distances(known, new) > bound(each_from_the_others(known), 0.05)))
    assert 0.025 < np.mean(shares) < 0.065


def test_another_stain_is_outside_also_where_each_measure_is_usual_by_itself() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=200)
    known = np.stack([first, first + rng.normal(0, 0.1, 200), rng.normal(size=200)], axis=1)
    limit = bound(each_from_the_others(known), 0.05)
    far = distances(known, np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 6.0]]))
    assert (far > limit).tolist() == [True, False, True]


def test_a_measure_that_is_the_same_of_all_does_no_harm() -> None:
    known = np.stack([np.arange(30.0), np.full(30, 2.0)], axis=1)
    assert np.isfinite(each_from_the_others(known)).all()


@pytest.mark.parametrize(("rate", "fewest"), [(0.05, 19), (0.1, 9)])
def test_a_bound_takes_as_many_patients_as_its_rate_asks_for(rate: float, fewest: int) -> None:
    assert fewest_known(rate) == fewest
    assert bound(np.arange(float(fewest)), rate) == fewest - 1
    assert bound(np.arange(fewest - 1.0), rate) == np.inf
