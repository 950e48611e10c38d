"""What a recipe means: optimizer, learning rate of each step, weight of each class."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models._spec import Recipe
from search.training._recipe import class_weights, make_optimizer, rate_scale

ROOT = Path(__file__).resolve().parents[3]
RECIPE = Recipe(
    optimizer="adamw",
    learning_rate=0.01,
    weight_decay=1e-3,
    batch_size=16,
    schedule="cosine",
    warmup=0.1,
    label_smoothing=0.05,
    class_weighting=True,
    stain_jitter=0.05,
)


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 1))


def test_class_weights_make_both_classes_count_the_same() -> None:
    weights = class_weights(torch.tensor([1.0, 0.0, 0.0, 0.0]), replace(RECIPE, class_weighting=True))
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert class_weights(torch.tensor([1.0, 0.0]), replace(RECIPE, class_weighting=False)).tolist() == [1, 1]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_rates_rise_to_their_peak_and_fall_as_the_schedule_says(schedule: str) -> None:
    scales = [rate_scale(step, 100, schedule, 0.2) for step in range(100)]
    assert scales[:20] == sorted(scales[:20])
    assert scales[20] == max(scales) == 1
    assert scales[20:] == sorted(scales[20:], reverse=True)
    assert scales[60] == pytest.approx({"constant": 1, "cosine": 0.5, "linear": 0.5}[schedule])
    assert 0 < scales[0] < 0.1
    assert (scales[-1] < 0.02) == (schedule != "constant")


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert rate_scale(0, 10, "cosine", 0.0) == 1


def test_only_weights_of_two_and_more_dimensions_decay() -> None:
    network = small()
    optimizer = make_optimizer([{"params": list(network.parameters()), "lr": 0.1}], replace(RECIPE, weight_decay=0.3))
    decays = {p.ndim >= 2: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {True: 0.3, False: 0.0}


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="'adamw' or 'sgd', not 'lion'"):
        make_optimizer([{"params": list(small().parameters()), "lr": 0.1}], replace(RECIPE, optimizer="lion"))


TRAINS = """
import sys
import torch
from search.training import _recipe

kind = {"ours": _recipe._KIND, "its own": torch.optim._KIND}[sys.argv[1]]
torch.manual_seed(0)
network = torch.nn.Conv2d(3, 4, 3)
arguments = {"lr": 0.1, "fused": True} | ({"momentum": 0.9, "nesterov": True} if kind.__name__ == "SGD" else {})
optimizer = kind([{"params": [network.weight], "weight_decay": 0.1}, {"params": [network.bias]}], **arguments)
for step in range(4):
    optimizer.zero_grad()
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    if step == 1:
        state = optimizer.state_dict()
        optimizer = kind([{"params": [network.weight]}, {"params": [network.bias]}], **arguments)
        optimizer.load_state_dict(state)
print([value.hex() for value in network.weight.flatten().tolist()], "torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_optimizers_train_to_the_same_bits_without_the_compiler_that_pytorch_imports_for_them(kind: str) -> None:
    code = TRAINS.replace("_recipe._KIND", f"_recipe._{kind}").replace("optim._KIND", f"optim.{kind}")
    said = [
        subprocess.run(
            [sys.executable, "-c", code, whose], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
        ).stdout.rpartition(" ")
        for whose in ("ours", "its own")
    ]
    assert said[0][0] == said[1][0]
    assert [imported.strip() for _, _, imported in said] == ["False", "True"]
