"""Obuchowski's variance of the AUC against his formula, by all pairs of patches."""

import numpy as np
import pytest

from studies.statistics.obuchowski import obuchowski
from studies.statistics.resampling import resample

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 2, 120)
FAIR = 1 / (1 + np.exp(-(1.2 * LABELS - 0.6 + RNG.normal(0, 1, 120))))


def test_obuchowski_s_variance_equals_his_formula_by_all_pairs() -> None:
    labels, who = LABELS, np.arange(120) % 8
    scores = np.round(FAIR, 2)
    wins = (scores[labels == 1][:, None] > scores[labels == 0]) + 0.5 * (
        scores[labels == 1][:, None] == scores[labels == 0]
    )
    area, m, n = wins.mean(), *wins.shape
    above = np.array(
        [wins.mean(1)[who[labels == 1] == k].sum() - area * np.sum(who[labels == 1] == k) for k in range(8)]
    )
    below = np.array(
        [wins.mean(0)[who[labels == 0] == k].sum() - area * np.sum(who[labels == 0] == k) for k in range(8)]
    )
    variance = 8 / 7 * (np.sum(above**2) / m**2 + np.sum(below**2) / n**2 + 2 * np.sum(above * below) / (m * n))
    value, error = obuchowski(labels, resample(who.astype(str), labels, 0, 0), scores)
    assert (value, error) == pytest.approx((area, np.sqrt(variance)))
