"""The site has every page and every wing, and fails where a link is broken; its picture is of its source."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDED = (
    "*.md",
    "docs/*.md",
    "docs/conf.py",
    "docs/*.svg",
    "docs/*.png",
    "docs/*.css",
    "docs/*.ipynb",
    "LICENSE",
    "CITATION.cff",
)


def load_conf(path: Path) -> ModuleType:
    """What Sphinx reads, without Sphinx."""
    spec = importlib.util.spec_from_file_location("conf", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    return load_conf(ROOT / "docs" / "conf.py")


def test_the_navigation_names_every_page_once(conf: ModuleType) -> None:
    pages = [path for pattern in ("*.md", "docs/*.md") for path in ROOT.glob(pattern)]
    named = [page for pages in conf.CONTENTS.values() for page in pages]
    assert sorted(named) == sorted(
        str(page.relative_to(ROOT).with_suffix("")) for page in pages if page.stem != "README"
    )


def test_every_wing_has_its_page_and_every_file_without_an_underscore_is_on_one(conf: ModuleType) -> None:
    shown = {f"{place}.{module}" for place, modules in conf.wings() for module in modules}
    files = {path for package in conf.PACKAGES for path in (ROOT / package).rglob("*.py") if path.stem[0] != "_"}
    assert shown == {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    assert all(f"docs/api/{place}\n" in conf.navigation() for place, _ in conf.wings())


def test_the_picture_was_drawn_from_the_source_beside_it(conf: ModuleType) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = conf.page("docs/architecture", text)
    assert "```mermaid" in text
    assert "```mermaid" not in shown
    assert "architecture.svg" in shown
    with pytest.raises(ValueError, match="was drawn from another source"):
        conf.page("docs/architecture", text.replace("flowchart TB\n", "flowchart LR\n"))


def test_the_picture_asks_for_nothing_from_elsewhere(conf: ModuleType) -> None:
    drawn = conf.PICTURE.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[\w./-]+", drawn)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/1999/xhtml",
    }
    assert "@import" not in drawn


def test_every_wing_stands_in_the_picture_of_the_architecture(conf: ModuleType) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [place for place, _ in conf.wings() if place.rpartition(".")[2] not in text]
    assert missing == []


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="make docs installs Sphinx")
def test_a_broken_link_and_a_forgotten_page_fail_the_build(tmp_path: Path) -> None:
    for pattern in NEEDED:
        for path in ROOT.glob(pattern):
            place = tmp_path / path.relative_to(ROOT)
            place.parent.mkdir(exist_ok=True)
            shutil.copy(path, place)
    settings = tmp_path / "docs" / "conf.py"  # without docstrings, which are those of the checkout
    settings.write_text(re.sub(r"^PACKAGES = .*$", "PACKAGES = ()", settings.read_text(), flags=re.MULTILINE))
    assert built(tmp_path) == (0, [])
    page = tmp_path / "docs" / "lock.md"
    page.write_text(page.read_text() + "\n[gone](gone.md) and [no such heading](own-data.md#gone)\n")
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten\n")
    code, problems = built(tmp_path)
    assert code == 1
    assert len([problem for problem in problems if "docs/lock.md" in problem and "gone" in problem]) == 2
    assert any("docs/forgotten.md" in problem for problem in problems)


def built(folder: Path) -> tuple[int, list[str]]:
    """The exit code of a build as `make docs` does it, and its warnings."""
    command = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    asked = next(line for line in command.splitlines() if " -m sphinx " in line).split(" -m sphinx ")[1]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *asked.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [line for line in done.stderr.splitlines() if "WARNING" in line]
