"""For ``make test-newest``: what to install, and how what was installed differs from constraints.txt."""

import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OF_PIP = {"pip", "setuptools", "histotune"}
"""Not ours to pin by what is newest here: a virtual environment brings the first two."""


def wanted(pyproject: str) -> list[str]:
    """The dependencies without their bounds above."""
    asked: list[str] = tomllib.loads(pyproject)["project"]["dependencies"]
    return [re.sub(r",<[^;]*", "", one) for one in asked]


def moved(constraints: str, installed: dict[str, str]) -> list[str]:
    """A line for each package whose version is not the pinned one, or that is not pinned at all."""
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", constraints, re.MULTILINE))
    return [
        f"{name}=={there}  # pinned: {pinned.get(name, 'not at all')}"
        for name, there in sorted(installed.items())
        if pinned.get(name) != there and name not in OF_PIP
    ]


def _installed() -> dict[str, str]:
    return {re.sub(r"[-_.]+", "-", one.name).lower(): one.version for one in distributions()}


if __name__ == "__main__":
    if sys.argv[1:] == ["wanted"]:
        lines = wanted((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    else:
        lines = moved((ROOT / "constraints.txt").read_text(encoding="utf-8"), _installed())
        lines = ["Other than in constraints.txt:", *lines] if lines else ["All as in constraints.txt."]
    sys.stdout.writelines(f"{line}\n" for line in lines)
