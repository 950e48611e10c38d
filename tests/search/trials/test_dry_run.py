"""What a dry run advises."""

from dataclasses import replace

import pytest

from models._registry import load_model
from search.trials.dry_run import cheaper

HOURS = 3600.0


@pytest.mark.parametrize(
    ("name", "device", "hours", "frozen", "advised"),
    [
        ("vgg16", "cpu", 2.0, 2, True),
        ("vgg16", "cpu", 0.5, 2, False),
        ("vgg16", "cuda", 2.0, 2, False),
        ("vgg16", "cpu", 2.0, 5, False),
        ("cnn", "cpu", 2.0, None, False),
    ],
)
def test_a_long_search_of_pretrained_layers_without_a_gpu_is_advised_to_leave_them_as_they_are(
    name: str, device: str, hours: float, frozen: int | None, advised: bool
) -> None:
    model = load_model(name)
    if frozen is not None:
        model = replace(model, default={**model.default, "frozen_blocks": frozen})
    assert ("docs/runs.md" in cheaper(model, device, hours * HOURS)) is advised
