"""The baselines: planned where their layers are there, and what they say of real patches."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models._weights import read_weights
from search.final.baselines import (
    BASELINES,
    FROZEN,
    MAJORITY,
    baseline_thresholds,
    frozen_logits,
    planned_baselines,
)
from search.training.frozen import pooled_features
from studies.statistics.metrics import auc


def test_frozen_layers_are_a_baseline_where_they_are_pretrained_and_tell_more_than_chance(shared: Path) -> None:
    weights = read_weights(shared / "weights" / "vgg16_imagenet_features.safetensors")
    assert planned_baselines(weights) == (FROZEN, *BASELINES)
    chosen = np.random.default_rng(0).permutation(5547)[:200]
    pixels = np.load(shared / "data" / "X.npy", mmap_mode="r")[chosen]
    labels = np.load(shared / "data" / "Y.npy")[chosen].astype(np.int64)
    learn, other = pixels[:120], pixels[120:]
    found = frozen_logits(learn, labels[:120], other, weights=weights, device="cpu")
    seen, unseen = (
        pooled_features(some, np.arange(len(some)), weights, "cpu", lambda *_: None) for some in (learn, other)
    )
    centre, scale = seen.mean(axis=0), seen.std(axis=0)
    own = LogisticRegression(C=0.1, max_iter=2000).fit((seen - centre) / scale, labels[:120])
    assert found == pytest.approx(own.decision_function((unseen - centre) / scale), abs=1e-4)
    assert auc(labels[120:], found) > 0.65


def test_without_pretrained_layers_there_is_none_of_them() -> None:
    assert planned_baselines(None) == BASELINES


def test_what_has_learned_is_called_at_the_prevalence_and_the_majority_at_a_half() -> None:
    assert baseline_thresholds((FROZEN, MAJORITY), 0.28) == {FROZEN: 0.28, MAJORITY: 0.5}
