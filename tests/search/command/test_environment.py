"""On what a run was made."""

import re
import shutil
from pathlib import Path

import pytest

from search.command import environment as module

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HISTOTUNE_COMMIT", raising=False)


def test_a_checkout_knows_its_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", module._commit())


@pytest.mark.usefixtures("without_git")
def test_a_container_knows_the_commit_that_it_was_built_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTOTUNE_COMMIT", "0123abcd-dirty")
    assert module._commit() == "0123abcd-dirty"


@pytest.mark.usefixtures("without_git")
def test_without_any_commit_sources_are_told_from_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in ("search", "models", "data_utils", "studies"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    here = module._commit()
    assert re.fullmatch(r"no git here; sources [0-9a-f]{12}", here)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "search" / "command" / "environment.py"))
    assert module._commit() == here
    (tmp_path / "models" / "cnn.py").write_text("another")
    assert module._commit() != here
