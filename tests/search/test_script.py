"""``histotune COMMAND``, from a folder where modules of the user's own have the names of our packages.

The script stands as pip writes it; that pip writes it is not tried here.
"""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from tree import Tree, copy_tree

from search.command.settings import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = "raise SystemExit('a module of the user was imported')\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """As pip writes it, of what pyproject.toml names."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert list(declared) == ["histotune"]
    module, _, function = declared["histotune"].partition(":")
    assert callable(getattr(import_module(module), function))
    path = tmp_path / "bin" / "histotune"
    path.parent.mkdir()
    path.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    return path


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A user's folder with a ``models/`` and more of their own."""
    folder = tmp_path / "here"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "__init__.py").write_text(FOREIGN)
    for name in ("search", "data_utils", "studies"):
        (folder / f"{name}.py").write_text(FOREIGN)
    return folder


def run(*command: object, at: Path, packages: Path = ROOT, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=at,
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def test_the_script_lists_every_command_and_names_itself(script: Path, here: Path) -> None:
    told = run(script, "--help", at=here)
    assert (told.returncode, told.stderr) == (0, "")
    named = [line.split()[0] for line in told.stdout.splitlines() if line.startswith("  ")]
    assert named == [*COMMANDS, "match", "fetch"]
    assert run(script, "--version", at=here).stdout.startswith("HistoTune ")
    for command in ("launch", "match"):
        assert f"usage: histotune {command}" in run(script, command, "--help", at=here).stdout


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (("launch", "--trails", "5"), "histotune launch: --trails is not an option, did you mean --trials?"),
        (("match", "--pathces", "5"), "histotune match: --pathces is not an option, did you mean --patches?"),
        (("train",), "histotune: 'train' is no command, did you mean launch?; there are explore, launch, "),
        ((), "histotune: a command is needed; there are explore, launch, "),
        (("status", "--runs", "x"), "there is no database x/studies.db yet"),
    ],
)
def test_what_is_typed_wrongly_is_one_line(script: Path, here: Path, typed: tuple[str, ...], line: str) -> None:
    told = run(script, *typed, at=here)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert told.stderr.startswith(line)


def test_a_search_runs_where_the_user_has_modules_of_the_same_names(script: Path, here: Path, tmp_path: Path) -> None:
    """Its workers and all that it starts find our packages as well."""
    tree: Tree = copy_tree(tmp_path / "tree", tmp_path / "runs")
    place = ("--runs", tree.runs, "--study", "s")
    asked = ("--model", "tiny", "--data", "synthetic:300", "--trials", "1", "--epochs", "1", "--workers", "1")
    done = run(script, "launch", *asked, *place, at=here, packages=tree.folder, seconds=300)
    assert done.returncode == 0, done.stderr
    assert "1 COMPLETE" in done.stdout
    assert f"next: histotune finalize --study s --runs {tree.runs}" in done.stdout
    done = run(script, "finalize", *place, "--workers", "1", at=here, packages=tree.folder, seconds=300)
    assert done.returncode == 0, done.stderr
    assert (tree.runs / "s" / "report.html").is_file()


@pytest.mark.parametrize("name", ["models", "data_utils", "studies"])
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_python_m_names_the_module_that_stands_in_the_way(tmp_path: Path, name: str, file: str) -> None:
    foreign = tmp_path / file.format(name)
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text(FOREIGN)
    told = run("-m", "search.status", at=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        f"{foreign} stands in the way of {ROOT / name}: rename it, go to another folder, or type histotune in place of "
        "python -m search.\n"
    )
    told = run("-c", "import search", at=tmp_path)
    assert told.returncode == 1
    assert f"ImportError: {foreign} stands in the way" in told.stderr


def test_a_folder_of_that_name_without_modules_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.bin").write_bytes(b"0")
    told = run("-m", "search.status", "--runs", "x", at=tmp_path)
    assert told.stderr.startswith("there is no database x/studies.db yet")
