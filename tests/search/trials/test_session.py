"""One launch, up to its trials."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from search.command.settings import parse_launch
from search.command.signals import Signals
from search.comparison import Comparison
from search.trials.session import search


def test_a_time_limit_counts_from_the_command_s_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches that take long to read take of it."""
    ends: list[float | None] = []
    right = Comparison.prepared

    def slow(*arguments: Any, **named: Any) -> Any:
        time.sleep(1.5)
        return right(*arguments, **named)

    def run(*arguments: Any) -> int:
        ends.append(arguments[-1])
        return 0

    monkeypatch.setattr(Comparison, "prepared", slow)
    monkeypatch.setattr("search.trials.session.RaySession", lambda *_: nullcontext())
    monkeypatch.setattr("search.trials.course.run_trials", run)
    place = ["--model", "cnn", "--data", "synthetic:120", "--runs", str(tmp_path / "runs"), "--study", "s"]
    began = time.monotonic()
    assert search(parse_launch([*place, "--timeout", "100"], {}), Signals(go_on="")) == 0
    assert ends[0] == pytest.approx(began + 100, abs=1)
    assert search(parse_launch(place, {}), Signals(go_on="")) == 0
    assert ends[1] is None
