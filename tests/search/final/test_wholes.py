"""Patients as wholes: others of the same kind pass, and what moves all patches a little is seen."""

import numpy as np
import pytest

from search.final.wholes import FEWEST, Sums, Wholes, fit_wholes, stored_wholes

RATES = np.array([0.01])


def drawn(rng: np.random.Generator, patients: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Patients differ with variance 1, patches of one with variance 9; 2 to 40 of each."""
    counts = rng.integers(2, 41, patients)
    names = np.repeat([f"p{one:04d}" for one in range(patients)], counts)
    values = np.repeat(rng.normal(shift, 1, patients), counts) + rng.normal(0, 3, counts.sum())
    return values[:, None], names


def share(wholes: Wholes, rng: np.random.Generator, shift: float = 0.0) -> float:
    sums = Sums()
    sums.add(*drawn(rng, 2000, shift))
    _, means, counts = sums.means()
    return float(wholes.beyond(means, counts, RATES).mean())


def test_both_variances_are_found_and_patients_of_the_same_kind_pass() -> None:
    rng = np.random.default_rng(0)
    wholes = fit_wholes(*drawn(rng, 400))
    assert wholes is not None
    assert wholes.between == pytest.approx([1.0], rel=0.25)
    assert wholes.within == pytest.approx([9.0], rel=0.1)
    assert 0.004 < share(wholes, rng) < 0.02
    assert share(wholes, rng, shift=4.0) > 0.6


def test_few_patients_make_wide_bounds() -> None:
    rng = np.random.default_rng(1)
    found = [fit_wholes(*drawn(rng, 8)) for _ in range(40)]
    assert 0.003 < np.mean([share(one, rng) for one in found if one is not None]) < 0.03
    assert fit_wholes(*drawn(rng, FEWEST - 1)) is None
    assert fit_wholes(np.zeros((20, 1)), np.full(20, "")) is None, "unknown patients are one"


@pytest.mark.parametrize(("patients", "patches"), [(5, 2), (10, 2), (20, 5), (50, 5)])
def test_of_few_patches_it_is_not_concluded_that_patients_are_alike(patients: int, patches: int) -> None:
    """Patients do not differ at all, so that the variance of patients is found as 0 in half of all draws."""
    rng = np.random.default_rng(3)
    counts, beyond = np.array([500.0]), []
    for _ in range(200):
        names = np.repeat(np.arange(patients).astype(str), patches)
        wholes = fit_wholes(rng.normal(0, 3, (len(names), 1)), names)
        assert wholes is not None
        beyond.append(wholes.beyond(rng.normal(0, 3, (500, 1)).mean(axis=0)[None], counts, RATES)[0, 0])
    assert np.mean(beyond) <= 0.02


def test_pieces_add_up_and_what_was_stored_comes_back() -> None:
    values, names = drawn(np.random.default_rng(2), 12)
    whole, pieces = Sums(), Sums()
    whole.add(values, names)
    for first in range(0, len(values), 7):
        pieces.add(values[first : first + 7], names[first : first + 7])
    for one, other in zip(whole.means(), pieces.means(), strict=True):
        assert list(one) == list(other) if isinstance(one, list) else np.allclose(one, other)
    wholes = fit_wholes(values, names)
    assert wholes is not None
    again = stored_wholes(wholes.arrays())
    assert again is not None
    assert all(np.array_equal(getattr(again, name), value) for name, value in vars(wholes).items())
    assert stored_wholes({}) is None
