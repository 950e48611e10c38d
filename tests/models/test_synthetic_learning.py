"""Made-up patches are worth learning: a network finds in them what colour does not show."""

from pathlib import Path

import numpy as np
import torch
from optuna.trial import FixedTrial
from sklearn.metrics import roc_auc_score
from torch import nn

from data_utils.split.prepare import load_development, prepare
from models._registry import load_model
from search.training.device import Compute
from search.training.device_patches import DevicePatches
from search.training.loop import Training, evaluate, train


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


def test_after_twenty_steps_batch_normalisation_judges_by_what_it_saw() -> None:
    """With statistics that lag, each fold's member has an offset of its own, and pooled out-of-fold scores mislead."""
    model = load_model("cnn")
    torch.manual_seed(0)
    network = model.build(model.suggest(FixedTrial({**model.default, "normalisation": "batch"})), None).train()
    images = torch.rand(16, 3, 50, 50)
    seen: dict[nn.Module, torch.Tensor] = {}
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.register_forward_pre_hook(lambda norm, inputs: seen.update({norm: inputs[0].mean(dim=(0, 2, 3))}))
    with torch.no_grad():
        for _ in range(20):
            network(images)
    assert norms
    for layer in norms:
        torch.testing.assert_close(layer.running_mean, seen[layer], rtol=0.01, atol=1e-3)
