"""What only one command at a time may do in the folder of a comparison."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from search.command.alone import alone
from search.command.settings import LaunchSettings, parse_launch
from search.command.signals import Signals
from search.comparison import LOGS, Comparison, Division
from search.errors import UsageError
from search.trials.session import search

HOLD = "import sys, time; from pathlib import Path; from search.command.alone import alone\n"
HOLD += "with alone(Path(sys.argv[1]), lambda: None):\n    print('held', flush=True); time.sleep(600)"


@contextmanager
def held(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process is at it."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def settings(folder: Path) -> LaunchSettings:
    place = ("--runs", str(folder), "--study", "s", "--storage", f"sqlite:///{folder}/studies.db")
    return parse_launch(["--model", "cnn", "--data", "synthetic:200", *place], {})


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    waits = []
    with held(tmp_path / "logs" / "x") as process:

        def otherwise() -> None:
            waits.append(1)
            process.kill()

        with alone(tmp_path / "logs" / "x", otherwise):
            assert waits


def test_what_is_raised_meanwhile_ends_the_waiting(tmp_path: Path) -> None:
    def otherwise() -> None:
        raise KeyboardInterrupt

    with held(tmp_path / "x"), pytest.raises(KeyboardInterrupt), alone(tmp_path / "x", otherwise):
        pytest.fail("it was not alone")


def test_patches_that_another_command_reads_are_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = settings(tmp_path)
    comparison = Comparison.open(asked.common, begin=True)
    with held(comparison.folder / LOGS / ".reading") as other:
        timer = Timer(1.0, other.kill)
        timer.start()
        prepared = comparison.prepared("synthetic:200", Division.asked(asked))
        timer.join()
    assert capsys.readouterr().out.count("waiting: another command is reading the patches of s") == 1
    assert prepared.development.is_dir()


def test_a_second_finalize_is_refused(tmp_path: Path) -> None:
    comparison = Comparison.open(settings(tmp_path).common, begin=True)
    with (
        held(comparison.folder / LOGS / ".finalizing"),
        pytest.raises(UsageError, match="another command is finalizing s: wait for its end, or end it"),
        comparison.finalized_alone(),
    ):
        pytest.fail("two would retrain the same members")


def test_a_launch_is_on_record_before_it_reads_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else search.clean would take them from it."""
    found = []

    def prepared(comparison: Comparison, *_: object, **__: object) -> None:
        found.extend(comparison.ledger.open_launches("s"))
        raise KeyboardInterrupt

    monkeypatch.setattr(Comparison, "prepared", prepared)
    with pytest.raises(KeyboardInterrupt):
        search(settings(tmp_path), Signals(""))
    assert len(found) == 1
