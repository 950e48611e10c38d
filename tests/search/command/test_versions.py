"""An Optuna or Ray that was not tried is told of in one line; what was tried is what pyproject.toml asks for."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from search.command.versions import TRIED, tell_untried

ROOT = Path(__file__).resolve().parents[3]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **found: str) -> str:
    monkeypatch.setattr("search.command.versions.version", found.__getitem__)
    tell_untried()
    return capsys.readouterr().err


def test_nothing_is_said_of_what_was_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(monkeypatch, capsys, optuna="5.0.0", ray="2.60.1") == ""
    assert said(monkeypatch, capsys, optuna="5.0", ray="2.60.0.post1") == ""
    assert said(monkeypatch, capsys, optuna="5.0.0+local", ray="2.60.0") == ""
    assert "optuna 5.0.0rc1" in said(monkeypatch, capsys, optuna="5.0.0rc1", ray="2.60.0")
    assert "ray 2.60.0.dev0" in said(monkeypatch, capsys, optuna="5.0.0", ray="2.60.0.dev0")


def test_one_line_says_what_was_not_tried_and_how_to_go_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, capsys, optuna="5.1.0", ray="2.60.0") == (
        "warning: not tried with optuna 5.1.0, whose private parts are used: if something fails, go back with "
        'pip install "optuna==5.0.*"\n'
    )
    assert said(monkeypatch, capsys, optuna="5.0.1", ray="2.6.3") == (
        "warning: not tried with ray 2.6.3, whose private parts are used: if something fails, go back with "
        'pip install "ray==2.60.*"\n'
    )
    both = said(monkeypatch, capsys, optuna="6.0.0", ray="2.61.0")
    assert "optuna 6.0.0 and ray 2.61.0" in both
    assert both.endswith('"optuna==5.0.*" "ray==2.60.*"\n')
    assert both.count("\n") == 1


def test_a_package_that_is_missing_is_left_to_its_import(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("search.command.versions.version", missing)
    tell_untried()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "work", "typed"),
    [("launch", "trials.session.search", ["--model", "cnn"]), ("finalize", "final.procedure.finalize", [])],
)
def test_launch_and_finalize_say_it_first(
    command: str, work: str, typed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began = []
    monkeypatch.setattr("search.command.versions.version", {"optuna": "5.0.0", "ray": "2.61.0"}.__getitem__)
    monkeypatch.setattr(f"search.{work}", lambda *_: began.append(capsys.readouterr().err) or 0)
    import_module(f"search.{command}").main([*typed, "--data", "synthetic:100"])
    assert [line.startswith("warning: not tried with ray 2.61.0") for line in began] == [True]


def test_a_forced_version_is_seen_without_importing_it(tmp_path: Path) -> None:
    for name in ("optuna-5.9.0", "ray-2.60.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
        package, _, number = name.partition("-")
        (tmp_path / f"{name}.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: {number}\n")
    code = "import sys; from search.command.versions import tell_untried; tell_untried(); print('ray' in sys.modules)"
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("warning: not tried with optuna 5.9.0, ")
    assert done.stdout == "False\n"


def test_the_bounds_of_the_package_are_the_minor_releases_that_were_tried() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    bounds = {}
    for one in asked:
        found = re.fullmatch(r"(optuna|ray)(?:\[\w+\])?>=([\d.]+),<(\d+)\.(\d+)", one)
        if found:
            name, lowest, major, minor = found.groups()
            assert lowest == f"{major}.{int(minor) - 1}", one
            bounds[name] = lowest
    assert bounds == TRIED


def test_the_pinned_versions_are_among_those_that_were_tried() -> None:
    pinned = dict(re.findall(r"^(optuna|ray)==(\d+\.\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert pinned == TRIED
