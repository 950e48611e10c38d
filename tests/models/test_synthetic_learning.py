"""Made-up patches are worth learning: a network finds in them what colour does not show."""

from pathlib import Path

import numpy as np
from optuna.trial import FixedTrial
from sklearn.metrics import roc_auc_score

from data_utils.prepare import load_development, prepare
from models._registry import load_model
from search._device import Compute
from search.training import DevicePatches, Training, evaluate, train


def test_the_default_cnn_reaches_an_auc_of_090_within_5_epochs(tmp_path: Path) -> None:
    prepared = prepare("synthetic:600", tmp_path / "data", name="s", fractions=(70, 15, 15), seed=0, lock=None)
    development = load_development(prepared.development)
    model = load_model("cnn")
    assert development.labels is not None
    patches = DevicePatches.load(development.pixels, development.labels, "cpu")
    validation = np.flatnonzero(development.part == "validation")
    training = Training.begin(
        model,
        model.suggest(FixedTrial(dict(model.default))),
        None,
        patches,
        np.flatnonzero(development.part == "train"),
        epochs=5,
        seed=0,
        compute=Compute(),
    )
    best = max(
        roc_auc_score(development.labels[validation], evaluate(training.network, patches, validation, Compute())[:, 0])
        for _ in train(training)
    )
    assert best >= 0.90
