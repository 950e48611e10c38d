"""One launch, up to its trials."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from data_utils.readers.patches import read_patches
from data_utils.split.draw import parts
from data_utils.split.lock import SplitLock
from models._registry import load_model
from search.command.settings import parse_launch
from search.command.signals import Signals
from search.comparison import Comparison
from search.trials.looks import remember
from search.trials.session import search
from studies.ledger.ledger import Ledger


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


def test_a_search_by_its_prior_believes_in_the_model_s_own_default_whatever_its_space_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.trials import course

    believed: list[Any] = []
    right = course.make_sampler

    def made(*arguments: Any) -> Any:
        believed.append(arguments[3] if len(arguments) > 3 else None)
        return right(*arguments)

    monkeypatch.setattr("search.trials.session.RaySession", lambda *_: nullcontext())
    monkeypatch.setattr("search.trials.course.make_sampler", made)
    monkeypatch.setattr("search.trials.course.tell_end", lambda *told: [told[-1][0].next_job() for _ in range(2)])
    place = ["--model", "cnn", "--data", "synthetic:120", "--runs", str(tmp_path / "runs"), "--study", "s"]
    asked = [*place, "--sampler", "prior", "--set", "depth=3,width=32/48"]
    assert search(parse_launch(asked, {}), Signals(go_on="")) == 0
    assert believed == [None, *2 * [load_model("cnn").default]]  # the first of them only opens the study


def test_a_look_before_the_lock_is_on_record_once_whatever_cuts_a_launch_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was recorded behind the lock, by the launch that had drawn it: one that was killed in between lost it."""
    runs = tmp_path / "runs"
    remember(runs / "s", read_patches("synthetic:120"))
    monkeypatch.setattr("search.trials.session.RaySession", lambda *_: nullcontext())
    monkeypatch.setattr("search.trials.course.run_trials", lambda *_: 0)
    asked = parse_launch(["--model", "cnn", "--data", "synthetic:120", "--runs", str(runs), "--study", "s"], {})
    right = Ledger.keep_lock
    for cut_off_after in (False, True):

        def cut(*given: Any, after: bool = cut_off_after) -> str:
            if after:
                right(*given)
            raise KeyboardInterrupt

        monkeypatch.setattr(Ledger, "keep_lock", cut)
        with pytest.raises(KeyboardInterrupt):
            search(asked, Signals(go_on=""))
        comparison = Comparison.open(asked.common)
        assert (comparison.ledger.lock("s") is not None) == cut_off_after
    monkeypatch.setattr(Ledger, "keep_lock", right)
    for _ in range(2):
        assert search(asked, Signals(go_on="")) == 0
    (look,) = comparison.ledger.looks("s")
    lock = SplitLock.read(runs / "s" / "lock.json")
    assert lock is not None
    assert look.patches == int((parts(lock, read_patches("synthetic:120")) == "test").sum())
