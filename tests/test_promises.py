"""SECURITY.md and docs/reliability.md: every promise names tests, and those exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "SECURITY.md", ROOT / "docs" / "reliability.md"]
EXISTING = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
}


def rows(page: Path) -> list[str]:
    """The lines of the table of promises, without its head."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return lines[2:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_holds_a_promise_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")))
    assert len(named) > 20
    assert named - EXISTING == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promise_is_held_by_a_test_or_says_why_not(page: Path) -> None:
    without = [row for row in rows(page) if not re.search(r"`test_\w+`", row.split("|")[-2])]
    assert [row for row in without if "by hand: " not in row] == []


def test_every_fault_and_every_intruder_that_is_tried_stands_in_a_table() -> None:
    tried = [path for folder in ("faults", "hardening") for path in (ROOT / "tests" / folder).glob("test_*.py")]
    tests = {name for path in tried for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    assert len(tests) > 50
    assert [name for name in sorted(tests) if not any(f"`{name}`" in page.read_text() for page in PAGES)] == []
