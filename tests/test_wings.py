"""Arrows between wings run down, there are no circles, and what opens the sealed rows is protected."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tree import PACKAGES, ROOT

NOBODY = "no contract"
BROKEN = {
    ("search/command/signals.py", "import search.final.procedure"): "search: arrows between wings run down",
    ("search/training/loop.py", "from search.command.terminal import say"): "search: arrows between wings run down",
    ("search/hall.py", ""): "search: arrows between wings run down",  # a file that no layer names
    ("studies/ledger/ledger.py", "import studies.findings.verdict"): "studies: arrows between wings run down",
    ("data_utils/readers/patches.py", "import data_utils.split.lock"): "data_utils: arrows between wings run down",
    ("search/training/device_patches.py", "import search.training.features"): "no circle between files or wings",
    ("soak/_feeding.py", "import soak.inputs"): "no circle between files or wings",
    ("search/final/procedure.py", "from data_utils.split import holdout"): (
        "only search.final.opening may open the sealed rows"
    ),
    ("search/training/loop.py", "from data_utils.split import cache"): "caches are read where they are made and opened",
    ("search/upkeep/checks.py", "from search.final.opening import open_sealed"): (
        "only search.final.procedure may open the test split"
    ),
    ("search/training/loop.py", "import optuna"): "training knows neither Optuna, Ray, SQL nor Plotly",
    ("search/final/procedure.py", "import search.comparison"): NOBODY,
}
"""A file and a line added to it -> the contract that it breaks."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to be built on."""
    folder = tmp_path_factory.mktemp("house")
    for package in (*PACKAGES, "soak"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(("place", "contract"), BROKEN.items(), ids=lambda part: part if isinstance(part, str) else "")
def test_an_import_that_runs_up_is_found(house: Path, place: tuple[str, str], contract: str) -> None:
    name, line = place
    file = house / name
    before = file.read_text() if file.exists() else None
    try:
        file.write_text(f"{before or ''}\n{line}\n")
        broken = broken_in(house)
        assert contract in broken if contract != NOBODY else broken == []
    finally:
        file.unlink() if before is None else file.write_text(before)


def test_no_folder_of_a_package_escapes_the_contracts() -> None:
    """import-linter passes over a folder without ``__init__.py``, and over packages that it is not told of."""
    folders = {file.parent for package in (*PACKAGES, "soak") for file in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    there = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert there - {"benchmarks", "tests"} == set(told["root_packages"])


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_is_installed_uses_none_that_is_not(package: str) -> None:
    pattern = re.compile(r"^\s*(?:from|import)\s+(?:benchmarks|tests|soak)\b", re.MULTILINE)
    files = (ROOT / package).rglob("*.py")
    assert [file for file in files if pattern.search(file.read_text(encoding="utf-8"))] == []


def broken_in(house: Path) -> list[str]:
    """The contracts that import-linter finds broken."""
    linter = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run([sys.executable, "-c", linter], cwd=house, capture_output=True, text=True, check=False)
    broken = re.findall(r"^(.*) BROKEN$", done.stdout, re.MULTILINE)
    assert done.returncode == (1 if broken else 0), done.stdout + done.stderr
    return broken


def test_a_file_with_an_underscore_is_used_in_its_own_folder_alone() -> None:
    """Models have a meaning of their own for it: every file without one is searchable."""
    private = re.compile(
        r"from ((?:search|studies|data_utils)[\w.]*?)(?:\.(_[a-z]\w*) import| import (_[a-z]\w*)$)", re.M
    )
    wrong = [
        f"{path.relative_to(ROOT)}: {folder}.{dotted or named}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for folder, dotted, named in private.findall(path.read_text())
        if ROOT / folder.replace(".", "/") != path.parent
    ]
    assert wrong == []


def test_every_wing_says_in_one_sentence_what_lives_there() -> None:
    says = {
        folder.relative_to(ROOT): (folder / "__init__.py").read_text().strip()
        for package in PACKAGES
        for folder in (ROOT / package).iterdir()
        if folder.is_dir() and folder.name not in ("__pycache__", "templates")
    }
    assert len(says) == 19
    assert [wing for wing, text in says.items() if not re.fullmatch(r'"""[^\n"]+\."""', text)] == []
