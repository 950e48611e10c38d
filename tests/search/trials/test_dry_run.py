"""What a dry run says that a search takes, and what it advises."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_utils.split.prepare import load_development
from models._registry import load_model
from search.trials import dry_run
from search.trials.dry_run import cheaper, cost
from search.trials.pace import Pace
from search.workers.cluster import Crew
from tests.inside import context_of

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


@pytest.mark.parametrize(
    ("once", "told"),
    [
        (0.0, "about {epoch:.1f} s an epoch; 10 trials of 5 epochs: at most about 0:00:{rounded:02d} "),
        (
            0.1,
            "about {epoch:.1f} s an epoch behind frozen layers, which take about {kept:.0f} s once for all trials; "
            "10 trials of 5 epochs: at most about 0:01:{rounded:02d} ",
        ),
    ],
)
def test_frozen_layers_are_counted_once_in_each_view_and_heads_in_every_epoch(
    once: float, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(tmp_path / "data")
    development = load_development(context.development)
    monkeypatch.setattr(dry_run, "measured", lambda *_: Pace(1000, 0.01, once))
    epoch = 0.01 * (development.part == "train").sum()
    kept = once * 8 * len(development)
    whole = round((kept + 50 * epoch) / 2)
    expected = told.format(epoch=epoch, kept=kept, rounded=whole % 60)
    assert expected in cost(10, 5, development, 5, context, Crew(2, "cpu", 1.0, 0.0, 1, None), load_model("cnn"))
