"""What people expect to find beside code says the same as the code: citation, hooks before a commit, CI of a host."""

import re
import subprocess
from pathlib import Path

import yaml

import search

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_names_this_version_licence_and_title() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == search.__version__
    assert (ROOT / "LICENSE").read_text().startswith(f"{citation['license']} License\n")
    assert citation["authors"][0]["name"] in (ROOT / "LICENSE").read_text()


def test_the_hooks_are_the_ruff_and_mypy_of_make_lint() -> None:
    lint = subprocess.run(
        ["make", "-n", "lint", "VENV=.venv"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    hooks = repository["hooks"]
    assert repository["repo"] == "local", "tools of another place have other versions than constraints.txt"
    assert [hook["entry"] for hook in hooks] == [line for line in lint if re.match(r"\.venv/bin/(ruff|mypy)", line)]
    assert len(hooks) == 3
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)


def test_ci_calls_one_script_on_every_python_of_the_constraints() -> None:
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    tried = re.search(r"for Python (.*)\.$", (ROOT / "constraints.txt").read_text().splitlines()[0])
    assert tried is not None
    assert job["strategy"]["matrix"]["python"] == re.findall(r"\d\.\d+", tried[1])
